"""Which files have a floor of coverage."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests import floor

CONTRACTS = tomllib.loads((floor.ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_what_the_contracts_call_pure_has_the_floor():
    """Packages with all their files, and modules: of the domain and of what the operator decides."""
    patterns = floor.pure(CONTRACTS)
    assert {f"{floor.ROOT}/dyff/entities/*", f"{floor.ROOT}/dyff/admission/*", f"{floor.ROOT}/dyff/operator/plan.py"} <= set(patterns)
    for each in patterns:
        assert list(Path("/").glob(each[1:])), each


def test_a_contract_or_module_that_was_renamed_is_reported():
    """The floor does not silently hold for less than before."""
    with pytest.raises(ValueError, match="has no contract 'The domain is pure'"):
        floor.pure([each for each in CONTRACTS if "domain" not in each["name"]])
    wrong = [{**each, "source_modules": ["dyff.entitys"]} for each in CONTRACTS]
    with pytest.raises(ValueError, match=r"names dyff\.entitys, which does not exist"):
        floor.pure(wrong)

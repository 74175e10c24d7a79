"""The table of the operator's kinds: the error names the file that is missing, or wrong."""

from __future__ import annotations

import sys

import msgspec
import pytest

from dyff.entities import registry
from dyff.kernel import errors
from dyff.operator import kinds
from dyff.operator.kinds import table

GADGET = msgspec.structs.replace(registry.RESOURCE_BY_KIND["Model"], kind="Gadget")
MODULE = "dyff.operator.kinds.gadget"
WANTED, DECIDE = "def wanted(name, resource): ...\n", "def decide(observed, now, setup): ...\n"


@pytest.fixture
def resources(tmp_path, monkeypatch):
    """A custom resource more, whose file can be in a folder of its own."""
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "RESOURCES", (*registry.RESOURCES, GADGET))
    yield monkeypatch
    sys.modules.pop(MODULE, None)
    vars(kinds).pop("gadget", None)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "the custom resource Gadget needs dyff/operator/kinds/gadget.py, with `wanted` and `decide`"),
        (WANTED, "dyff/operator/kinds/gadget.py must have the function `decide`, which plans the custom resource Gadget"),
        (f"{DECIDE}wanted = ()", "dyff/operator/kinds/gadget.py must have the function `wanted`"),
    ],
)
def test_a_custom_resource_without_plans_is_refused_at_the_start(code, words, resources, tmp_path):
    """Not when the first of its objects is created."""
    if code is not None:
        (tmp_path / "gadget.py").write_text(code)
    with pytest.raises(errors.Incomplete) as caught:
        table._rows()
    assert words in str(caught.value)


def test_a_custom_resource_with_plans_has_a_row(resources, tmp_path):
    """Nothing else is needed for the operator to run it."""
    (tmp_path / "gadget.py").write_text(WANTED + DECIDE)
    (row,) = [each for each in table._rows() if each.kind.kind == "Gadget"]
    assert (row.wanted.__module__, row.decide.__module__) == (MODULE, MODULE)


def test_a_file_that_cannot_be_imported_is_not_called_missing(resources, tmp_path):
    """The error is that of what it imports."""
    (tmp_path / "gadget.py").write_text("import nothing_of_this_name")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        table._rows()


def test_plans_for_nothing_are_named(resources, tmp_path):
    """As when the row of a kind has lost its custom resource."""
    (tmp_path / "gadget.py").write_text(WANTED + DECIDE)
    resources.setattr(registry, "RESOURCES", tuple(each for each in registry.RESOURCES if each is not GADGET))
    with pytest.raises(errors.Incomplete, match=r"dyff/operator/kinds/gadget\.py belongs to no custom resource: set `run` or `resource`"):
        table._rows()

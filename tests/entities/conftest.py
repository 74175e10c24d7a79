from __future__ import annotations

import pytest

from dyff.entities import folding
from tests.entities import history


@pytest.fixture(params=sorted(folding.FOLDS), ids="version-{}".format)
def every_version(request, monkeypatch):
    """The test runs once for each version of the fold."""
    monkeypatch.setattr(history, "VERSION", request.param)
    return request.param

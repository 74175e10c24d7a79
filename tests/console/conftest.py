"""A world with an API, of which a browser can be a client."""

from __future__ import annotations

from tests.api.conftest import api as api
from tests.api.conftest import world as world

"""Which format a scraper asks for. Pure: a header is whatever a client sends, and few values of it mean something."""

from __future__ import annotations

OPENMETRICS = "application/openmetrics-text"
TEXT = "text/plain"
VERSION = "1.0.0"
"""Of both formats; the text format also has the older 0.0.4, which is the usual answer."""

_ESCAPINGS = frozenset({"allow-utf-8", "underscores", "dots", "values"})


def preferred(accept: str | None) -> str:
    """An `Accept` that names one format which prometheus-client has, and nothing else; empty for the text format 0.0.4.

    The first format of `accept` that is known counts. What is not valid in it is passed over.
    """
    for each in (accept or "").split(","):
        name, *options = (part.strip() for part in each.split(";"))
        chosen = {key.strip().lower(): value.strip().strip('"').lower() for key, _, value in (part.partition("=") for part in options)}
        if _is_refused(chosen.get("q", "")) or chosen.get("version", VERSION if name.lower() == OPENMETRICS else "") != VERSION:
            continue
        if name.lower() in (OPENMETRICS, TEXT):
            escaping = chosen.get("escaping", "")
            return f"{name.lower()};version={VERSION}" + (f";escaping={escaping}" if escaping in _ESCAPINGS else "")
    return ""


def _is_refused(quality: str) -> bool:
    """Whether the weight of a format is zero; one that is no number is none."""
    try:
        return float(quality) == 0
    except ValueError:
        return False

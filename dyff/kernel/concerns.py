"""What an engine's error concerns. Each adapter has one table from the engine's codes to these rows.

A code that no table has is `LATER`: it is shown, and the call is repeated with growing delays. Nothing that an engine answers may end
a role that has served, since the next call can be answered otherwise.
"""

from __future__ import annotations

import enum

import msgspec


class Concern(enum.StrEnum):
    """`REQUEST`: this request can never succeed. `OBJECT`: this one thing (a key, a document, a topic); all others are served.
    `LATER`: it passes by itself. `OPERATOR`: it lasts until someone changes a setting or a permission; it is tried again nevertheless.
    """

    REQUEST = "this request"
    OBJECT = "this object"
    LATER = "try later"
    OPERATOR = "an operator must act"


class Row(msgspec.Struct, frozen=True):
    """What an error concerns. `advice`: what it means and what helps, as the end of a sentence; empty if waiting is all."""

    concern: Concern
    advice: str = ""


UNKNOWN = Row(Concern.LATER, "an answer that this release does not know; it is tried again")
"""Of a code that no table has."""

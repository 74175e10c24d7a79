"""A port of the tests, with hands in it."""

from __future__ import annotations


class Instead:
    """What is given here is called instead, everything else goes through to the real one."""

    def __init__(self, real, **calls):
        self._real = real
        self.__dict__.update(calls)

    def __getattr__(self, name):
        return getattr(self._real, name)

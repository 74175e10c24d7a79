"""What the notebook calculates."""

from __future__ import annotations

from collections.abc import Iterable


def mean_length(texts: Iterable[str], shortest: int = 1) -> float:
    """Return the mean length of the words of all texts; 0 if there are none. `shortest`: words with fewer letters do not count."""
    lengths = [len(word) for text in texts for word in text.split() if len(word) >= shortest]
    return sum(lengths) / len(lengths) if lengths else 0.0

"""The part of the method that needs no data: run it with pytest."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "module"))

from word_length import mean_length


def test_the_mean_of_all_words():
    """Words of all texts count the same."""
    assert mean_length(["one three", "five"]) == 4.0


def test_short_words_do_not_count():
    """A word needs at least so many letters."""
    assert mean_length(["a word"], shortest=2) == 4.0


def test_no_words():
    """An empty answer has the length 0."""
    assert mean_length([""]) == 0.0

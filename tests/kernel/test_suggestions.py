"""Did you mean: what is suggested, and how much work that is at most."""

from __future__ import annotations

import difflib
import random

import pytest

from dyff.kernel import errors, suggestions

FIELDS = ["account", "artifacts", "dataset", "inferenceService", "inferenceSession", "name", "replications", "workersPerReplica"]


class Counting(difflib.SequenceMatcher):
    """Counts the comparisons that can be quadratic, and the pairs of characters in them."""

    looks = comparisons = pairs = 0
    longest = 0
    a: str
    b: str

    def real_quick_ratio(self):
        Counting.looks += 1
        Counting.longest = max(Counting.longest, len(self.a), len(self.b))
        return super().real_quick_ratio()

    def ratio(self):
        Counting.comparisons += 1
        Counting.pairs += len(self.a) * len(self.b)
        return super().ratio()


@pytest.fixture
def counting(monkeypatch):
    """The counts of one test."""
    Counting.looks = Counting.comparisons = Counting.pairs = Counting.longest = 0
    monkeypatch.setattr(difflib, "SequenceMatcher", Counting)
    return Counting


@pytest.mark.parametrize(
    ("name", "want"), [("acount", "account"), ("Dataset", "dataset"), ("inferenceSevice", "inferenceService"), ("xyz", None), ("", None)]
)
def test_the_nearest_name(name, want):
    """A name that is misspelt leads to the one that is meant, any other name to none."""
    assert suggestions.nearest(name, FIELDS) == want


def test_it_finds_what_difflib_finds():
    """Within the bounds the answer is that of difflib's own search through all candidates."""
    chance = random.Random(3)
    for _ in range(300):
        letters = "abcd" if chance.random() < 0.5 else "abcdefghijklmnop"
        known = ["".join(chance.choices(letters, k=chance.randint(1, 12))) for _ in range(chance.randint(0, 30))]
        name = "".join(chance.choices(letters, k=chance.randint(1, 12)))
        assert [suggestions.nearest(name, known)] == [next(iter(difflib.get_close_matches(name, known, n=1)), None)]


def test_a_hint_names_what_is_known_if_nothing_is_near():
    """The sentence ends with a question, or with all that could have been meant."""
    assert suggestions.hint("nam", ["name", "other"]) == "did you mean 'name'?"
    assert suggestions.hint("xyz", ["name", "other"]) == "known here are name, other"


def alike(length, count):
    """Names that have the same letters in another order, which is what difflib takes longest for."""
    chance, letters = random.Random(5), list("ab" * (length // 2))
    for _ in range(count):
        chance.shuffle(letters)
        yield "".join(letters)


@pytest.mark.parametrize(("name_chars", "known_chars"), [(10_000_000, 900), (10_000_000, 100), (900, 900), (100, 900)])
def test_what_is_too_long_is_not_compared(counting, name_chars, known_chars):
    """10,000 similar candidates of 900 characters, or a name of 10 MB, cost no comparison."""
    assert suggestions.nearest("ab" * (name_chars // 2), alike(known_chars, 10_000)) is None
    assert (counting.looks, counting.comparisons, counting.longest) == (0, 0, 0)


@pytest.mark.parametrize("chars", [10, 100, suggestions.MAX_CHARS])
def test_the_work_is_bounded(counting, chars):
    """However many candidates there are and however similar, few are looked at and fewer compared."""
    suggestions.nearest("ab" * (chars // 2), alike(chars, 10_000))
    assert counting.looks <= suggestions.MAX_CANDIDATES
    assert 0 < counting.pairs <= suggestions.MAX_PAIRS
    assert counting.longest <= suggestions.MAX_CHARS


def test_a_thousand_files_with_similar_names_are_all_considered(counting):
    """Those that may be nearest are compared first, so that the right one is found with a small part of the comparisons."""
    folder = "a/folder/with/a/name/of/ordinary/length"
    known = [f"{folder}/part-{number:05}-of-01000.parquet" for number in range(1000)]
    assert suggestions.nearest(f"{folder}/part-00777-of-01000.parqet", known) == known[777]
    assert counting.comparisons < 100


def test_errors_name_only_the_beginning_of_a_field():
    """A field's name may come from outside: it is shortened in an error, wherever in the path it is."""
    error = errors.InvalidFields(errors.Problem(("body", 3, "x" * 10_000_000, "[key]"), "is not known"))
    assert error.problems[0].loc == ("body", 3, "x" * suggestions.SHOWN_CHARS, "[key]")
    assert len(error.message) < 200

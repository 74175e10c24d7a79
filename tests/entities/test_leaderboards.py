"""How a leaderboard looks in a terminal: ranks that ties share, and what is not ranked."""

from __future__ import annotations

from dyff.entities import leaderboards
from dyff.entities.leaderboards import AgainstReference, NotRanked, RankedSystem, Ranks


def system(letter, **changes):
    given = {"id": letter * 32, "measurement": letter * 32, "name": f"system {letter}", "quantity": 0.5, "quantityString": "0.5"}
    return RankedSystem(**{**given, **changes})


def test_ties_share_their_ranks():
    """A line for each system: its ranks, its score and how it compares with the reference; then what is not ranked, and notes."""
    against = AgainstReference(verdict="no difference shown", difference=-0.125, p=0.2, pCorrected=0.4, n=40, test="McNemar, exact")
    found = leaderboards.Leaderboard(
        method="m" * 32, dataset="d" * 32, score="right", title="Right <b>", reference="a" * 32,
        systems=[
            system("a", ranks=Ranks(first=1, last=2)), system("b", ranks=Ranks(first=1, last=3), against=against, name="B\x1b[1m"),
            system("c", ranks=Ranks(first=3, last=3)),
        ],
        notRanked=[NotRanked(name="other", measurement="e" * 32, why="different judge")], notes=["few items"],
    )  # fmt: skip
    assert str(found).split("\n") == [
        "Right <b> (right), 3 systems",
        "    1-2  system a  0.5  the reference",
        "    1-3  B\\x1b[1m  0.5  -0.125, p = 0.4: no difference shown",
        "      3  system c  0.5",
        "  not ranked: other: different judge",
        "  few items",
    ]
    assert repr(found) == str(found)
    assert "&lt;b&gt;" in found._repr_html_()


def test_nothing_to_rank():
    """Without a direction, a system has no ranks; without systems there is only the title."""
    found = leaderboards.Leaderboard(method="m", dataset="d", score="words", title="Words")
    assert str(found) == "Words (words), 0 systems"
    one = leaderboards.Leaderboard(method="m", dataset="d", score="words", title="Words", systems=[system("a")])
    assert str(one).split("\n")[1] == "         system a  0.5"

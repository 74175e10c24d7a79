"""How a comparison looks in a terminal: each system, and of each pair what is shown and what is not."""

from __future__ import annotations

from dyff.entities import analyses, comparisons, uncertainties

OUTCOMES = analyses.Outcomes(items=40, verdicts=40, errors=0, notScored=0)


def system(letter, **changes):
    interval = uncertainties.Uncertainty(low=0.5, high=0.75)
    given = {"id": letter * 32, "measurement": letter * 32, "name": f"system {letter}", "quantity": 0.625, "quantityString": "0.625"}
    return comparisons.ComparedSystem(**{**given, "uncertainty": interval, **changes})


def pair(a, b, *, clusters=None, low=-0.25, together=1, **changes):
    estimate = analyses.Estimate(level=0.95, n=40, method="t", outcomes=OUTCOMES, low=low, high=0.125, clusters=clusters)
    test = comparisons.DifferenceTest(p=0.01, pCorrected=0.03, comparisons=together, method="McNemar, exact", smallest=0.001, exact=True)
    side = comparisons.ComparedSide(mean=0.5, outcomes=OUTCOMES)
    given = {"a": a * 32, "b": b * 32, "verdict": "", "difference": -0.0625, "estimate": estimate, "test": test, "ofA": side, "ofB": side}
    return comparisons.ComparedPair(**{**given, **changes})


def compared(systems, pairs, **changes):
    given = {"score": "right", "title": "Right answers", "method": "m" * 32, "methodName": "m", "valence": "positive", "unit": None}
    return comparisons.Comparisons(systems=systems, pairs=pairs, **{**given, **changes})


def test_two_systems():
    """The better one, with the difference, its interval, p and how many pairs."""
    found = compared([system("a"), system("b", name="B\x1b[1m")], [pair("a", "b", better="a" * 32, higher="a" * 32, detectable=0.25)])
    assert str(found).split("\n") == [
        "Right answers (right), more is better",
        "  A  system a  0.625 (95 % interval 0.5 to 0.75)",
        "  B  B\\x1b[1m  0.625 (95 % interval 0.5 to 0.75)",
        "  B - A = -0.0625 (95 % interval -0.25 to 0.125), p = 0.03: A is better",
        "    40 pairs; McNemar, exact",
    ]
    assert repr(found) == str(found)
    assert found.name("b" * 32) == "B\x1b[1m"


def test_no_difference():
    """It ranks nothing, and says what could have been found. Clusters, corrections, notes and missing intervals are said, too."""
    tie = pair("a", "b", clusters=8, together=3, low=None, detectable=0.25, notes=["few"])
    found = compared([system("a", uncertainty=uncertainties.Uncertainty()), system("b")], [tie], valence="neutral", title="<b>")
    assert str(found).split("\n")[1:] == [
        "  A  system a  0.625 (no interval)",
        "  B  system b  0.625 (95 % interval 0.5 to 0.75)",
        "  B - A = -0.0625 (no interval), p = 0.03: no difference shown",
        "    40 pairs in 8 clusters; McNemar, exact, Holm's correction for 3 comparisons",
        "    a difference of 0.25 would have been found in 80 % of such studies",
        "    few",
    ]
    assert "&lt;b&gt; (right), neither more nor less is better" in found._repr_html_()
    assert not tie.shown


def test_verdicts_with_names():
    """Of a neutral score, the higher one is named; of a tie, none."""
    assert comparisons.words(pair("a", "b", higher="b" * 32), "one", "two") == "two is higher"
    assert comparisons.words(pair("a", "b", higher="b" * 32, better="a" * 32), "one", "two") == "one is better"
    assert comparisons.words(pair("a", "b"), "one", "two") == "no difference shown"

"""Tables of the pure parts of a dossier and its page."""

from __future__ import annotations

import pytest

from dyff.api.dossiers import details, dossier, precision, runs, sorting
from dyff.api.pages import charts, documents, intervals, words
from dyff.entities import analyses, comparisons, dossiers, uncertainties
from dyff.entities.exports.evidence import Gathered
from tests.narrowing import sure

ALL = {"low": 1, "high": 3.0, "level": 0.95, "n": 5, "clusters": 2.0, "method": "t", "outcomes": {"errors": 0, "notScored": 1}}
EVERYTHING = uncertainties.Uncertainty(low=1.0, high=3.0, level=0.95, n=5, clusters=2, errors=0, unscored=1, method="t")
UNCERTAIN = {
    "everything": (ALL, EVERYTHING),
    "nothing": ({"refs": {}}, uncertainties.Uncertainty()),
    "no object": ([1], uncertainties.Uncertainty()),
    "half an interval is none": ({"low": 1}, uncertainties.Uncertainty()),
    "an interval without the score in it is none": ({"low": 2.5, "high": 3}, uncertainties.Uncertainty()),
    "nor is one that is upside down": ({"low": 3, "high": 1}, uncertainties.Uncertainty()),
    "what is no number is left out": ({"low": "1", "high": True, "n": "5", "level": 95, "clusters": None}, uncertainties.Uncertainty()),
    "nor is infinity one": (
        {"low": float("-inf"), "high": float("nan"), "n": -1, "outcomes": {"errors": 0.5}, "clusters": 1e300},
        uncertainties.Uncertainty(),
    ),
    "a huge whole number": ({"low": -(10**400), "high": 3}, uncertainties.Uncertainty()),
    "a long name is cut": ({"method": "m" * 999}, uncertainties.Uncertainty(method="m" * 200)),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_what_a_score_says_of_its_precision(name):
    """The case's name is the rule; the quantity is 2."""
    given, want = UNCERTAIN[name]
    assert precision.uncertainty(given, 2.0) == want


def a_score(quantity=0.5, **fields):
    given = {"name": "s", "title": "S", "summary": "x", "text": "y", "quantityString": "z", **fields}
    return dossiers.ShownScore(quantity=quantity, **given)


def between(low, high):
    return uncertainties.Uncertainty(low=low, high=high)


LINES = {
    "without bounds and interval there is none": (a_score(), None),
    "between its bounds": (a_score(minimum=0, maximum=2), intervals.Line(0, 2, 25.0)),
    "with its interval": (a_score(minimum=0, maximum=1, uncertainty=between(0.4, 0.7)), intervals.Line(0, 1, 50.0, 40.0, 70.0)),
    "an interval beyond the bounds is cut": (
        a_score(minimum=0, maximum=1, uncertainty=between(-1, 1.5)), intervals.Line(0, 1, 50.0, 0.0, 100.0),
    ),
    "without bounds around the interval": (a_score(uncertainty=between(0, 1)), intervals.Line(-0.5, 1.5, 50.0, 25.0, 75.0, bounded=False)),
    "a score beyond its bounds has none": (a_score(3, minimum=0, maximum=1), None),
    "bounds without room have none": (a_score(1, minimum=1, maximum=1), None),
    "bounds too far apart have none": (a_score(0, minimum=-1e308, maximum=1e308), None),
    "an interval without width and without bounds has none": (a_score(uncertainty=between(0.5, 0.5)), None),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_where_a_score_is_on_its_line(name):
    """The case's name is the rule."""
    score, want = LINES[name]
    assert intervals.line(score) == want


POLICIES = {
    (): "complete, unique and as declared",
    ("missingOutputPolicy",): "unique and as declared; an item may have no output",
    ("duplicateOutputPolicy",): "complete and as declared; an item may have several outputs",
    ("missingOutputPolicy", "duplicateOutputPolicy"): "as declared; an item may have no output, or several",
}


@pytest.mark.parametrize("ignored", POLICIES)
def test_outputs_are_called_what_was_verified(ignored):
    """Exactly what the policies of the evaluation let the verification show, and nothing if it is not complete."""
    client = dict.fromkeys(ignored, "Ignore")
    assert details.verified({"status": "Complete", "client": client}) == POLICIES[ignored]
    assert details.verified({"status": "Deleted", "client": client}) is None


def test_variables_of_a_service_are_not_among_its_details():
    """A secret that an account wrote as a variable stays out of what can be public."""
    service = {"runner": {"kind": "mock", "env": [{"name": "KEY", "value": "hush"}], "args": ["--fast"]}}
    found = details.of("InferenceService", service)
    assert "hush" not in str(found)
    assert found["Arguments"] == '["--fast"]'


def seen(number, status="Complete", account="a", **labels):
    return runs.Seen(f"{number:032x}", account, status, f"2026-01-0{number}", labels)


def test_reproductions_are_counted_as_runs_and_compared():
    """They are among all runs; of those of this case the equal scores are counted, and of one that is not complete nothing is."""
    case = {"id": "c", "scores": [{"name": "s", "quantity": 0.5}, {"name": "t", "quantity": 1}, {"name": None}]}
    again = tuple(
        runs.Seen(f"{n}", "b", status, None, {}, of, (runs.Quantity("s", 0.5), runs.Quantity("t", 2.0), runs.Quantity("u", 1.0)))
        for n, (status, of) in enumerate((("Complete", "c"), ("Failed", "c"), ("Complete", "other")))
    )
    tally = runs.Tally(runs.Sort("SafetyCase", "cases", ()), (seen(1), *again))
    counted = runs.counted(tally, [seen(1).id], "a")
    assert (counted.shown, counted.total, counted.reproductions) == (1, 4, 3)
    found = runs.reproductions(case, [tally])
    assert [(each.id, each.scores, each.equal) for each in found] == [("0", 2, 1), ("1", 0, 0)]
    assert [words.repeated(each) for each in found] == ["1 of 2 scores exactly equal", "no scores to compare: Failed"]


def test_runs_are_counted_by_their_ends():
    """Of all, those of the case, the unpublished ones, those of other accounts, and the first one."""
    public = {"dyff.io/access": "public"}
    all_of_them = (seen(1, **public), seen(2, "Failed"), seen(3, "Deleted"), seen(4, "Admitted", "b"), seen(5, "Terminated"))
    found = runs.counted(runs.Tally(runs.Sort("Evaluation", "evaluations", ()), all_of_them, is_all=False), [seen(1).id], "a")
    assert found == dossiers.Runs(
        kind="Evaluation", what="evaluations", shown=1, total=5, atLeast=True, unpublished=4, otherAccounts=1, first="2026-01-01",
        outcomes=dossiers.Endings(complete=1, failed=2, deleted=1, unfinished=1),
    )  # fmt: skip
    assert words.share(found) == "1 of at least 5"


@pytest.mark.parametrize("broken", [{}, {"scope": None}, {"method": {"inputs": ["x", {}]}, "inputs": ["x"], "data": ["x", {"value": "%"}]}])
def test_a_case_that_does_not_fit_its_kind_has_a_dossier(broken):
    """What a later or older release stored in another form is left out."""
    case = {"id": "0" * 32, "account": "a", "kind": "SafetyCase", "status": "Complete", **broken}
    found = dossier.of(Gathered(case), runs.Counted(), dossier.Places("/p", "/d"))
    assert (found.restsOn, found.scores, found.warnings) == ([], [], [])
    with pytest.raises(StopIteration) as end:
        next(sorting.steps(Gathered(case)))
    assert end.value.value == runs.Counted()


def test_what_is_empty_of_a_claim_is_missing():
    """White space is no text, and a relationship that does not exist is none."""
    found = dossier.claim({"claim": " \n", "scope": "x", "relationship": "friends", "limits": 5})
    assert found == dossiers.Claim(scope="x", missing=["claim", "assumptions", "limits", "evaluators", "relationship"])


@pytest.mark.parametrize(("given", "want"), [(0.12345, "0.1235"), (3.0, "3"), (12345.0, "12\u202f345"), (1e-9, "1e-09"), (2e12, "2e+12")])
def test_numbers_are_short(given, want):
    """Four significant digits."""
    assert words.number(given) == want


@pytest.mark.parametrize(
    ("written", "want"),
    [
        ("0.5", None), ("0.500", None), ("50 %", None), ("50.0% of items", None), ("+5.0e-1", None), ("0.1", "0.5"), ("0.0010", "0.5"),
        ("5 %", "0.5"), ("0.51", "0.5"), ("good", "0.5"), ("", "0.5"), ("1e9999", "0.5"), ("1", None), ("٠.١", "0.5"),
    ],
)  # fmt: skip
def test_a_score_that_is_written_as_another_number_is_also_shown_exactly(written, want):
    """A method's format can write anything; readers see the number that is stored."""
    assert words.exact(a_score(quantityString=written)) == want


def test_what_is_not_seen_is_marked():
    """Controls and marks that turn the direction of text; line breaks, tabs, other scripts and their joiners stay."""
    assert words.seen("a\x00\x1b[31m\x85\u202ecba\u2069") == "a\ufffd\ufffd[31m\ufffd\ufffdcba\ufffd"
    kept = "a\tb\nשלום 👩\u200d🔬 \u200f \xa0"
    assert (words.seen(kept), words.seen(5)) == (kept, 5)


def test_a_time_that_is_none_is_shown_as_it_is():
    """UTC to the second, or what was stored."""
    assert [words.moment(each) for each in ("2026-01-01T01:00:00+01:00", "long ago", None)] == ["2026-01-01 00:00:00 UTC", "long ago", "–"]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
async def test_tags_that_connect_are_replaced_however_they_arrive(size):
    """In any case of letters and cut anywhere; nothing else is changed, and no byte order mark comes first."""
    given = b"\xff\xfe<IFrame src=x></iframe><fr<frameset><LINK rel=preconnect><linkage><if a<b><"
    pieces = [given[start : start + size] for start in range(0, len(given), size)]

    async def stream():
        for each in pieces:
            yield each

    found = b"".join([each async for each in documents.served(stream())])
    assert found == b"\n\xff\xfe<x-IFrame src=x></iframe><fr<x-frameset><x-LINK rel=preconnect><x-linkage><if a<b><"


def a_pair(difference, low, high, *, higher=None, better=None, p=0.01):
    outcomes = analyses.Outcomes(items=9, verdicts=9, errors=0, notScored=0)
    estimate = analyses.Estimate(level=0.95, n=9, method="t", outcomes=outcomes, low=low, high=high)
    test = comparisons.DifferenceTest(p=p, pCorrected=p, comparisons=1, method="t", smallest=0.001, exact=True)
    side = comparisons.ComparedSide(mean=0.5, outcomes=outcomes)
    given = {"a": "a", "b": "b", "verdict": "", "difference": difference, "estimate": estimate, "test": test, "ofA": side, "ofB": side}
    return comparisons.ComparedPair(**given, higher=higher, better=better)


def others_of(*values, pairs=(), **bounds):
    systems = [
        comparisons.ComparedSystem(
            id=str(place), measurement=str(place), name=name, quantity=at, quantityString=str(at), uncertainty=between(low, high)
        )
        for place, (name, at, low, high) in enumerate(values)
    ]
    return dossiers.OtherSystems(title="T", systems=systems, pairs=list(pairs), **bounds)


OWN, OTHER = ("own", 0.5, 0.4, 0.6), ("a name that is longer than a telephone is wide", 0.75, None, None)


def test_the_chart_of_scores():
    """Between the bounds of the score, or with room around what there is; the system of the page is marked; names are whole."""
    found = sure(charts.scores(others_of(OWN, OTHER, pairs=[a_pair(0.25, 0.1, 0.4)], minimum=0.0, maximum=1.0)))
    assert (found.first, found.last, found.zero) == (0, 1, None)
    assert found.marks == (
        charts.Mark("own", 50, 40, 60, is_own=True),
        charts.Mark("a name that is longer than a telephone is wide", 75, None, None),
    )
    assert found.marks[0].width == 20
    assert found.marks[1].width == 0.6
    assert found.text == "T. own: 0.5; a name that is longer than a telephone is wide: 0.75"
    free = sure(charts.scores(others_of(OWN, OTHER, pairs=[a_pair(0.25, 0.1, 0.4)], minimum=0.45, maximum=0.7)))
    assert (free.first, free.last) == (pytest.approx(0.372), pytest.approx(0.778))
    equal = sure(charts.scores(others_of(("x", 3, None, None), ("y", 3, None, None), pairs=[a_pair(0, None, None)])))
    assert (equal.first, equal.last) == (2, 4)


@pytest.mark.parametrize(("high", "last"), [(0.4, 0.5), (0.5, 0.5), (1.1, 2), (7, 10), (0.013, 0.02), (0, 1)])
def test_the_chart_of_differences(high, last):
    """0 is in the middle, and the ends are round numbers."""
    found = sure(charts.differences(others_of(OWN, OTHER, pairs=[a_pair(0, 0, high, higher="b")])))
    assert (found.first, found.last, found.zero) == (-last, last, 50)
    assert (found.marks[0].label, found.marks[0].at, found.marks[0].result) == (OTHER[0], 50, "higher")


def test_without_others_there_are_no_charts():
    """One system alone, and none."""
    assert charts.scores(others_of(OWN)) is None
    assert charts.differences(others_of()) is None


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (0.4239, 0.67, "0.4239 to 0.6700"), (0, 0.5, "0.0 to 0.5"), (1, 3, "1 to 3"), (-0.5, 0.25, "-0.50 to 0.25"),
        (0.1, 12345, "0.1 to 12\u202f345"),
        (1e-9, 0.5, "1e-09 to 0.5"),
    ],
)  # fmt: skip
def test_both_ends_of_an_interval_have_as_many_decimal_places(low, high, want):
    """Where neither is very large or very small."""
    assert " to ".join(words.ends(low, high)) == want


@pytest.mark.parametrize(
    ("text", "low", "high", "want"),
    [
        ("0.0", 0.003, 0.09, "0.01667"), ("0.02", 0.003, 0.09, None), ("2 %", 0.003, 0.09, None), ("2%", 0.003, 0.018, "0.01667"),
        ("0.0", None, None, None), ("0.0167", 0.003, 0.09, None),
    ],
)  # fmt: skip
def test_a_score_that_its_format_rounds_out_of_its_interval_is_given_more_exactly(text, low, high, want):
    """A share of 1 of 60 that is written as 0.0 would look like none."""
    assert words.exact(a_score(1 / 60, quantityString=text, uncertainty=between(low, high))) == want


def test_clusters_are_counted_only_where_items_share_them():
    """As many clusters as items say nothing."""
    assert words.counts(uncertainties.Uncertainty(n=60, clusters=60)) == ["60 items with a verdict"]
    assert words.counts(uncertainties.Uncertainty(n=60, clusters=9)) == ["60 items with a verdict", "in 9 clusters"]


def test_kinds_are_called_by_words():
    """Not by the names of code."""
    assert [words.kind(each) for each in ("InferenceService", "Dataset")] == ["Inference service", "Dataset"]


def test_words_of_differences():
    """The result is that of the other system; signs are there, and p has a bound."""
    assert words.result(a_pair(1, 0, 2)) == "no difference shown"
    assert words.result(a_pair(1, 0, 2, higher="b", better="b")) == "better"
    assert words.result(a_pair(1, 0, 2, higher="b", better="a")) == "worse"
    assert words.result(a_pair(1, 0, 2, higher="a")) == "lower"
    assert words.difference(a_pair(-0.5, -1, 0.25)) == "−0.5, 95 % interval −1.00 to +0.25"
    assert words.difference(a_pair(0, None, None)) == "0, no interval"
    assert [words.probability(each) for each in (0.00001, 0.0123, 1)] == ["below 0.0001", "0.012", "1"]

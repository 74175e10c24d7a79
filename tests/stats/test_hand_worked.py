"""Cases that were worked by hand, from textbooks and papers, with their source."""

from __future__ import annotations

import pytest

from dyff import stats
from tests.narrowing import sure
from tests.stats.reading import ends, width

MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Darwin's differences between crossed and self-fertilized maize, in eighths of an inch (Fisher, The Design of Experiments, 1935)."""


def test_a_mean_of_five():
    """Mean 3, standard deviation 1.5811, t of 4 degrees of freedom 2.7764: 3 ± 1.9632."""
    found = stats.mean([1, 2, 3, 4, 5])
    assert (found.value, found.low, found.high) == (3, pytest.approx(1.0368, abs=1e-4), pytest.approx(4.9632, abs=1e-4))
    assert (found.n, found.degrees_of_freedom, found.method) == (5, 4, "t")


def test_darwins_maize_by_t():
    """Fisher, section 17: t is 2.148, so the 95 % interval of the mean 20.93 just excludes 0."""
    found = stats.paired_difference(MAIZE, [0] * 15)
    assert found.value == pytest.approx(20.933, abs=1e-3)
    assert found.value / sure(found.standard_error) == pytest.approx(2.148, abs=1e-3)
    assert found.excludes(0)
    assert 0 < ends(found)[0] < 0.1


def test_darwins_maize_by_permutation():
    """Fisher, section 21: 863 of the 32,768 choices of signs give a sum of at least 314; both directions, so 1,726."""
    found = stats.permutation(MAIZE, [0] * 15)
    assert (found.p, found.exact, found.seed) == (1726 / 32768, True, None)


def test_five_pairs_cannot_show_much():
    """With 5 pairs, all in one direction, p is 2 of 32: nothing smaller is possible."""
    found = stats.permutation([2, 3, 4, 5, 6], [1, 1, 1, 1, 1])
    assert found.p == found.smallest == 2 / 32


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_newcombes_proportions(successes, n, low, high):
    """Newcombe, Statistics in Medicine 17 (1998) 857, table I: Wilson's for the first two, Clopper's and Pearson's for the others."""
    found = stats.proportion([True] * successes + [False] * (n - successes))
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_clusters_of_one_size():
    """The means of four pairs are 1, 2, 3 and 6: their t interval is that of the mean by cluster. Item by item it is too narrow."""
    values, clusters = [0, 2, 1, 3, 2, 4, 5, 7], list("aabbccdd")
    by_cluster, of_means, naive = stats.mean(values, cluster=clusters), stats.mean([1, 2, 3, 6]), stats.mean(values)
    assert (by_cluster.low, by_cluster.high) == (pytest.approx(of_means.low), pytest.approx(of_means.high))
    assert width(naive) < width(by_cluster)
    assert (by_cluster.n, by_cluster.clusters, by_cluster.degrees_of_freedom) == (8, 4, 3)


def test_clusters_of_different_sizes():
    """Values 1, 1, 1 | 0 | 0: mean 0.6, sums of deviations 1.2, -0.6, -0.6, so the variance is 3/2 · 2.16 / 25."""
    assert stats.mean([1, 1, 1, 0, 0], cluster=list("aaabc")).standard_error == pytest.approx((1.5 * 2.16) ** 0.5 / 5)


def test_items_that_repeat_their_cluster_count_once():
    """Ten copies of each of 40 items tell as much as the 40: Korn and Graubard's effective sample size."""
    verdicts = [True] * 30 + [False] * 10
    copies = stats.proportion([each for each in verdicts for _ in range(10)], cluster=[n // 10 for n in range(400)])
    alone = stats.proportion(verdicts)
    assert width(copies) == pytest.approx(width(alone), rel=0.05)
    assert "Korn and Graubard" in copies.method


def test_all_right_in_clusters():
    """Nothing differs, so each of 4 clusters counts as one item: the exact lower end is 0.025 ** (1/4)."""
    found = stats.proportion([True] * 20, cluster=[n // 5 for n in range(20)])
    assert (found.low, found.high) == (pytest.approx(0.025**0.25), 1.0)


SPATIAL = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]


def test_efrons_bootstrap():
    """Efron and Tibshirani, An Introduction to the Bootstrap (1993), table 14.2: for the variance, 90 % BCa is 115.8 to 259.6."""
    found = stats.bootstrap(SPATIAL, lambda values: float(values.var()), level=0.9, draws=4000)
    assert found.value == pytest.approx(171.5, abs=0.05)
    assert (found.low, found.high) == (pytest.approx(115.8, abs=5), pytest.approx(259.6, abs=8))


def test_mcnemar_by_hand():
    """10 against 2: 2 · (1 + 12 + 66) of 4,096."""
    found = stats.mcnemar([1] * 10 + [0] * 2 + [1] * 5, [0] * 10 + [1] * 2 + [1] * 5)
    assert found.p == pytest.approx(158 / 4096)
    assert found.notes == ("only the first is right on 10 items, only the second on 2",)


NEUHAUS = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]


def test_benjaminis_and_hochbergs_example():
    """Their paper (1995), section 3.2: at 0.05, the step-wise Bonferroni finds three of fifteen, theirs four."""
    assert sum(each <= 0.05 for each in stats.holm(NEUHAUS)) == 3
    assert sum(each <= 0.05 for each in stats.benjamini_hochberg(NEUHAUS)) == 4


def test_holm_by_hand():
    """0.005 · 4, 0.01 · 3, 0.03 · 2, and 0.04, which cannot be less than the one before."""
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_number_of_items():
    """For half a standard deviation with 80 % power, a paired t test needs 34 (R: power.t.test gives 33.4)."""
    assert stats.items_needed(0.5, standard_deviation=1) == 34
    assert stats.power(0.5, standard_deviation=1, n=34) > 0.8 > stats.power(0.5, standard_deviation=1, n=33)


def test_what_could_have_been_detected():
    """It is the difference for which the same data have the wanted power."""
    found = stats.paired_difference(MAIZE, [0] * 15)
    least = sure(stats.detectable(found, power=0.9))
    assert stats.power(least, standard_deviation=sure(found.standard_error) * 15**0.5, n=15) == pytest.approx(0.9)


CALCIUM = [3.28, 3.09, 3.03, 3.03, 3.52, 3.48, 3.38, 3.38, 2.88, 2.80, 2.81, 2.76, 3.34, 3.38, 3.23, 3.26]


def test_the_calcium_of_turnips():
    """Snedecor and Cochran, Statistical Methods, section 13.3: mean squares 0.2961 and 0.0066, so 0.0724 between leaves."""
    found = stats.variance_components(CALCIUM, [n // 4 for n in range(16)])
    assert (found.within, found.between) == (pytest.approx(0.0066, abs=5e-5), pytest.approx(0.0724, abs=5e-5))
    assert found.standard_error(items=4, replications=4) == pytest.approx((0.2961 / 16) ** 0.5, abs=1e-4)


def test_replications_of_different_numbers():
    """1, 3 | 2 | 4, 6, 8: within (2 + 0 + 8) / 3; n0 = (6 - 14/6) / 2; the means 2, 2 and 6 around 4."""
    found = stats.variance_components([1, 3, 2, 4, 6, 8], list("aabccc"))
    within, among, size = 10 / 3, (2 * 4 + 4 + 3 * 4) / 2, (6 - 14 / 6) / 2
    assert (found.within, found.between) == (pytest.approx(within), pytest.approx((among - within) / size))


def test_pass_at_k_by_hand():
    """2 of 5 pass: two answers miss with 3/10, so 0.7. Of 4 of 5, two answers cannot miss. Of none, they do."""
    found = stats.pass_at_k([2, 4, 0], 2, samples_each=5)
    assert found.value == pytest.approx((0.7 + 1 + 0) / 3)
    assert found.low == 0.0
    assert stats.pass_at_k([2, 4, 0], 1, samples_each=5).value == pytest.approx(6 / 15)


def test_kappa_by_hand():
    """20 and 15 of 50 agree, 5 and 10 do not: 0.7 observed, 0.5 by chance, so 0.4."""
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = stats.cohen_kappa(a, b)
    assert found.value == pytest.approx(0.4)
    assert ends(found)[0] < 0.4 < ends(found)[1]


KRIPPENDORFF = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_example(scale, alpha):
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D: four observers, twelve units, some not rated."""
    rows = [row.split() for row in KRIPPENDORFF.strip().splitlines()]
    ratings = [(None if each == "." else int(each), item, rater) for rater, row in enumerate(rows) for item, each in enumerate(row)]
    values, items, raters = (list(column) for column in zip(*ratings, strict=True))
    found = stats.krippendorff_alpha(values, items, rater=raters, scale=scale)
    assert found.value == pytest.approx(alpha, abs=5e-4)
    assert (found.n, found.outcomes.not_scored) == (11, 1)


def test_a_judge_is_corrected_by_hand():
    """The judge says 0.75 of eight items, and 0.25 too much of four: 0.5, with the variance 0.2143/8 + 0.25/4."""
    judge = [1, 0, 1, 1, *[1, 1, 0, 1, 0, 1, 1, 1]]
    people = [1, 0, 0, 1] + [None] * 8
    found = stats.judge_corrected_mean(judge, people, tuned=False)
    assert found.estimate.value == pytest.approx(0.5)
    assert found.estimate.standard_error == pytest.approx((6 * 2 / 8 / 7 / 8 + 0.25 / 4) ** 0.5)
    assert (found.labelled, found.bias, found.judge, found.weight) == (4, 0.25, 0.75, 1.0)


def test_a_judge_without_a_clue_is_left_out():
    """Its weight is 0 when it is no better than chance or always says the same, and then only people count."""
    people = [1.0, 0.0, 0.0, 1.0, 1.0]
    found = stats.judge_corrected_mean([1.0] * 5 + [1.0] * 5, people + [None] * 5)
    assert (found.weight, found.estimate.value) == (0.0, 0.6)

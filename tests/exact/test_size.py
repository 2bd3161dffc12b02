"""Ensemble sizes: reference numbers, the Gaussian law itself, large k, and errors."""

import math
from functools import partial

import mpmath
import numpy as np
import pytest

from widelimit import exact
from widelimit.exact._tail import log_any, log_binomials, log_sum, log_tail

NAMES = {
    "bound_single_s2": {"method": "bound"},
    "exact_single_s2": {"method": "exact"},
    "bound_all": {"method": "bound", "inputs": "all"},
    "exact_all": {"method": "exact", "inputs": "all"},
    "last_exact_single_s2": {"method": "exact", "regime": "last"},
    "last_exact_all": {"method": "exact", "inputs": "all", "regime": "last"},
    "mid_single": {"method": "exact", "threshold": "midpoint"},
    "mid_all": {"method": "exact", "inputs": "all", "threshold": "midpoint"},
}


@pytest.mark.parametrize("name", NAMES)
def test_reference_numbers(golden, name):
    for row in golden("permutations.json")["N"]:
        assert exact.ensemble_size(row["k"], row["delta"], **NAMES[name]) == row[name]


def test_exact_size_is_the_least_that_suffices():
    chance = partial(exact.failure_probability, 6)
    size = exact.ensemble_size(6, 0.05, method="exact")
    assert chance(size).max() <= 0.05 < chance(size - 1).max()


def test_failure_probability_is_that_of_the_limit():
    """Drawn from the Gaussian process: 20,000 averages of 60 networks at one input."""
    task, x, size = exact.Permutation(5, (4, 3, 2, 1, 0)), np.array([1, 0, 1, 0, 0], bool), 60
    spread = np.sqrt(task.variance(x) / size)
    averages = task.mean(x) + spread * np.random.default_rng(0).standard_normal((20_000, 5))
    failed = (task.round(averages, np.broadcast_to(x, averages.shape)) != task.truth(x)).any(-1)
    expected = exact.failure_probability(5, size)[1]
    assert abs(failed.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(failed))


def test_all_inputs_by_formula_are_all_inputs_one_by_one():
    task, x = exact.Permutation(5, range(5)), exact.all_inputs(5)
    for threshold in ("zero", "midpoint"):
        counted = exact.ensemble_size(5, 0.1, inputs="all", method="exact", threshold=threshold)
        assert exact.size_at(task, x, 0.1, threshold=threshold) == counted


def test_bound_covers_the_exact_count():
    for k in (2, 5, 40):
        for how in ({"inputs": "one"}, {"inputs": "all"}, {"inputs": "all", "threshold": "midpoint"}):
            assert exact.ensemble_size(k, 0.1, **how) >= exact.ensemble_size(k, 0.1, method="exact", **how)


def test_many_inputs_are_a_smaller_delta():
    assert exact.ensemble_size(9, 0.1, inputs=1000) == exact.ensemble_size(9, 1e-4)


def test_growth_for_thousands_of_bits():
    sizes = [[exact.ensemble_size(k, 0.1, inputs=which) for k in (1000, 4000)] for which in ("one", "all")]
    one, every = (math.log(large / small, 4) for small, large in sizes)
    assert one == pytest.approx(1 + math.log(math.log(4000) / math.log(1000), 4), abs=0.05)  # k log k
    assert every == pytest.approx(2, abs=0.03)  # k²
    assert exact.ensemble_size(4000, 0.1, inputs="all", method="exact") < sizes[1][1]


def test_an_antithetic_pair_suffices():
    assert exact.ensemble_size(30, 1e-9, inputs="all", antithetic=True) == 2


@pytest.mark.parametrize("z", [-3.0, 0.0, 1.0, 19.9, 20.1, 37.0, 200.0])
def test_tail_probability(z):
    expected = float(mpmath.log(mpmath.erfc(mpmath.mpf(z) / mpmath.sqrt(2)) / 2))
    assert float(log_tail(np.array(z))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("log_q", [-2.0, -36.0, -41.0, -900.0])
def test_probability_of_any_of_many_events(log_q):
    with mpmath.workdps(500):
        q = mpmath.exp(log_q)
        expected = float(mpmath.log(1 - (1 - q) ** 7 * (1 - q / 2) ** 3))
    log_qs = np.array([[log_q, log_q - math.log(2)]])
    assert log_any(log_qs, np.log([[7.0, 3.0]]))[0] == pytest.approx(expected, rel=1e-11)


def test_binomials_beyond_floating_point():
    assert log_sum(log_binomials(3000, np.arange(3001))) == pytest.approx(3000 * math.log(2), rel=1e-12)


@pytest.mark.parametrize("delta", [0, 1, -0.1, 2, float("nan")])
def test_delta_is_a_probability(delta):
    with pytest.raises(ValueError, match="`delta` is the probability of failure allowed"):
        exact.ensemble_size(5, delta)


@pytest.mark.parametrize("k", [1, 0, -3, True])
def test_k_is_two_or_more(k):
    with pytest.raises(ValueError, match="`k` must be a whole number, at least 2"):
        exact.ensemble_size(k, 0.1)


@pytest.mark.parametrize(
    "choice", [{"inputs": "some"}, {"method": "guess"}, {"threshold": "half"}, {"regime": "first"}]
)
def test_unknown_choices(choice):
    with pytest.raises(ValueError, match=f"`{next(iter(choice))}` must be"):
        exact.ensemble_size(5, 0.1, **choice)


def test_no_size_where_a_mean_has_the_wrong_sign():
    rules = exact.Rules.of([("1???", "1"), ("?1??", "0"), ("??1?", "0"), ("???1", "0")] + [("0000", "1")] * 40)
    with pytest.raises(ValueError, match="no ensemble suffices"):
        exact.size_at(rules, rules.match(np.ones((1, 4), bool)), 0.1)

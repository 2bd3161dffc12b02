"""The statistics on draws whose law is known: a kernel entry L + b/n + c/n² with noise that falls as n^{-1/2}."""

import numpy as np
import pytest
from scipy import stats

from widelimit.finite import Estimate, _statistics

WIDTHS = (128, 256, 512, 1024)


def synthetic(rng, *, limit, bias=5.0, spread=2.0, error=0.005, draws=None):
    """Draws at each width of entries that are skewed, correlated, and biased by 1/n."""
    samples = []
    for n in WIDTHS:
        sigma = spread / n**0.5
        count = draws or int((sigma / error) ** 2)
        shared, own = (rng.chisquare(n / 8, (count, k)) / (n / 8) - 1 for k in (1, len(limit)))
        noise = sigma * (shared + own) / np.sqrt(2) * np.sqrt(n / 16)
        samples.append(limit * (1 + bias / n + (bias / n) ** 2 + noise))
    return samples


def scores(samples, limit):
    moments = [_statistics.moments(sample, 1e-12) for sample in samples]
    infinite = _statistics.extrapolate(WIDTHS, moments, np.abs(limit).max())
    return _statistics.normal_score((infinite.value - limit) / infinite.error, infinite.freedom)


def test_scores_of_a_right_limit_are_standard_normal():
    rng, limit = np.random.default_rng(0), np.array([1.0, 0.7, 0.3])
    z = np.array([scores(synthetic(rng, limit=limit, error=0.01), limit) for _ in range(300)])
    assert abs(z.mean()) < 0.15
    assert 0.9 < z.std() < 1.1


def test_right_limits_pass_and_limits_off_by_3_percent_fail():
    rng, limit = np.random.default_rng(1), np.linspace(0.2, 1.0, 10)
    bound = _statistics.threshold(10)
    right, wrong = [], []
    for _ in range(100):
        samples = synthetic(rng, limit=limit)
        right.append(np.abs(scores(samples, limit)).max() <= bound)
        wrong.append(np.abs(scores(samples, 1.03 * limit)).max() <= bound)
    assert sum(right) >= 98
    assert sum(wrong) == 0


def test_extrapolation_is_exact_without_noise():
    x = np.asarray(WIDTHS, float)
    samples = [_statistics.Moments(100, np.array([2 + 3 / n]), np.array([1e-9])) for n in x]
    infinite = _statistics.extrapolate(WIDTHS, samples, 2.0)
    np.testing.assert_allclose(infinite.value, 2.0, rtol=1e-6)
    np.testing.assert_allclose(infinite.bias, 3 / 128, rtol=1e-3)


def test_curvature_is_allowed_for():
    """A second-order bias far above the noise does not condemn a right limit."""
    bias = 40.0
    means = [np.array([1 + bias / n + (bias / n) ** 2]) for n in WIDTHS]
    infinite = _statistics.extrapolate(WIDTHS, [_statistics.Moments(1000, m, np.array([1e-5])) for m in means], 1.0)
    assert abs(infinite.value[0] - 1) < 2 * infinite.error[0]


@pytest.mark.parametrize("freedom", [31, 63, 1000])
def test_normal_score_keeps_the_tail_of_student(freedom):
    t = np.array([-6.0, -1.0, 0.0, 0.5, 3.0, 5.0])
    exact = -stats.norm.ppf(stats.t.sf(t, freedom))
    score = _statistics.normal_score(t, np.full_like(t, freedom))
    np.testing.assert_allclose(score, exact, rtol=2e-3, atol=1e-9)


@pytest.mark.parametrize("entries", [1, 20, 1000])
def test_threshold_is_bonferroni_at_three_sigma(entries):
    np.testing.assert_allclose(stats.norm.sf(_statistics.threshold(entries)) * entries, stats.norm.sf(3), rtol=1e-9)


def test_spread_is_the_standard_deviation():
    draws = np.random.default_rng(0).normal([1.0, 5.0], [0.3, 0.4], (4000, 2))
    estimate = _statistics.spread(draws, 2.0)
    assert abs(estimate.value - np.sqrt((0.09 + 0.16) / 2) / 2) < 4 * estimate.error
    assert estimate.error < 0.01


def test_bias_has_its_noise_taken_out():
    rng, limit = np.random.default_rng(0), np.ones(6)
    for offset in (0.0, 0.1):
        squares = [_statistics.bias(rng.normal(1 + offset, 0.5, (50, 6)), limit, 1.0) for _ in range(400)]
        values, errors = np.array(squares).T
        assert abs(values.mean() - offset**2) < 4 * values.std() / 20
        assert 0.9 < np.sqrt(np.mean(errors**2)) / values.std() < 1.4  # its own noise is never understated


def test_exponent_of_a_power_law():
    values = [Estimate(3 * n**-0.5, 0.01 * n**-0.5) for n in WIDTHS]
    fitted = _statistics.exponent(WIDTHS, values)
    np.testing.assert_allclose(fitted.value, -0.5, atol=1e-9)
    assert 0 < fitted.error < 0.01


def test_exponent_is_silent_below_the_noise():
    values = [Estimate(0.1, 0.01), *[Estimate(0.0, 0.01)] * 3]
    assert _statistics.exponent(WIDTHS, values) is None


def test_constant_entries_have_no_score():
    draws = np.broadcast_to([1.0, 0.0], (50, 2))
    moments = _statistics.moments(draws, 1e-6)
    np.testing.assert_allclose(moments.error, 1e-6)

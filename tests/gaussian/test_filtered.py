"""Expectations of sums of products with a Gaussian filter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit import gaussian

RELU = gaussian.Pointwise(lambda u: jnp.maximum(u, 0.0), 1, "relu")
VARIANCE, REST = 0.5, (0.3, 0.1, 0.2)


def law(taps, rest=REST, means=(None, None)):
    root = np.random.default_rng(taps).normal(size=(2 * taps, 3 * taps)) / np.sqrt(3 * taps)
    moments = jnp.asarray(root @ root.T)
    blocks = moments[:taps, :taps], moments[:taps, taps:], moments[taps:, taps:]
    return gaussian.Filtered(VARIANCE, *blocks, rest, means)


def both(phi, psi, of, accuracy=1e-3):
    def value(c):
        return gaussian.expect_filtered(phi, psi, of, c, accuracy=accuracy)

    return jax.jvp(value, (VARIANCE,), (1.0,))


def test_linear_functions():
    """E g g' = σ² tr X + γ + m m', and its derivative in c is tr X."""
    of = law(3, means=(0.4, -0.3))
    value, slope = both(gaussian.IDENTITY, gaussian.IDENTITY, of)
    trace = np.trace(of.cross)
    np.testing.assert_allclose(value, VARIANCE * trace + 0.1 - 0.12, rtol=1e-12)
    np.testing.assert_allclose(slope, trace, rtol=1e-12)


def test_one_tap():
    """relu(w h) = |w| relu(±h): E relu(w h) relu(w h') = σ² E relu(h) relu(h'), and E 1(wh, wh' > 0) h h' = E relu(h) relu(h')."""
    of = law(1, rest=(0.0, 0.0, 0.0))
    joint = gaussian.Joint(((of.left[0, 0],),), ((of.right[0, 0],),), ((of.cross[0, 0],),), (None,), (None,))
    expected = gaussian.expect(RELU, RELU, joint)
    value, slope = both(RELU, RELU, of)
    np.testing.assert_allclose(value, VARIANCE * expected, rtol=1e-12)
    np.testing.assert_allclose(slope, expected, rtol=1e-12)


def test_equal_arguments():
    """E relu(g)² = E g²/2, and E 1(g > 0) Σ h_κ² = tr H/2."""
    of = law(4, rest=(0.3, 0.3, 0.3))
    value, slope = both(RELU, RELU, of._replace(cross=of.left, right=of.left))
    np.testing.assert_allclose(value, (VARIANCE * np.trace(of.left) + 0.3) / 2, rtol=1e-12)
    np.testing.assert_allclose(slope, np.trace(of.left) / 2, rtol=1e-7)


@pytest.mark.slow
def test_against_samples():
    taps, count, rng = 3, 10**6, np.random.default_rng(0)
    of = law(taps)
    moments = np.block([[of.left, of.cross], [of.cross.T, of.right]])
    h = rng.normal(size=(count, 2 * taps)) @ np.linalg.cholesky(moments).T
    b = rng.normal(size=(count, 2)) @ np.linalg.cholesky([[REST[0], REST[1]], [REST[1], REST[2]]]).T
    w = rng.normal(size=(count, taps)) * np.sqrt(VARIANCE)
    one, other = (np.sum(w * part, 1) + b[:, i] for i, part in enumerate((h[:, :taps], h[:, taps:])))
    samples = (
        np.maximum(one, 0) * np.maximum(other, 0),
        (one > 0) * (other > 0) * np.sum(h[:, :taps] * h[:, taps:], 1),
    )
    for found, sample in zip(both(RELU, RELU, of), samples, strict=True):
        assert abs(found - sample.mean()) < 4 * sample.std() / count**0.5 + 1e-4


@pytest.mark.slow
def test_the_error_is_stated():
    """That of the value and of its derivatives: the differences between two sizes of the lattice are within a few of it."""
    name, rule, error = gaussian.describe_filtered(RELU, 9, accuracy=1e-3)
    assert (name, error < 1e-3) == ("relu", True)
    assert "9 entries: lattice" in rule
    of = law(9)
    for rough, fine in zip(both(RELU, RELU, of, 1e-3), both(RELU, RELU, of, 5e-5), strict=True):
        assert abs(rough - fine) < 5 * error * max(abs(fine), 1)

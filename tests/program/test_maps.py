"""Sums over the taps of windows."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.program import Window, sum_of_taps

RNG = np.random.default_rng(0)


def by_hand(a, windows):
    """Every tap one by one, by the positions that it reads; what lies outside counts as zero."""
    total = 0
    for taps in itertools.product(*(range(window.size) for window, _ in windows)):
        part = a
        for (window, axes), tap in zip(windows, taps, strict=True):
            for axis in axes:
                read = np.asarray(window.reads(part.shape[axis])[tap])
                taken = np.take(part, read, axis)
                part = taken * np.expand_dims(read >= 0, [i for i in range(a.ndim) if i != axis])
        total = total + part
    return total


THREE, STRIDED = Window(3, low=1, high=1), Window(3, stride=2, low=1)
SPREAD, UPWARD = Window(2, dilation=2, high=1), Window(2, low=1, high=1, base_dilation=2)
LARGE = Window(5, low=2, high=2)


@pytest.mark.parametrize(
    "windows",
    [
        [(THREE, (0,))],
        [(THREE, (0,)), (THREE, (1,))],
        [(STRIDED, (0,)), (SPREAD, (1,))],
        [(UPWARD, (0,)), (THREE, (2,))],
        [(THREE, (0, 2)), (STRIDED, (1, 3))],
        [(LARGE, (0, 2)), (THREE, (1, 3))],
        [],
    ],
    ids=["one", "square", "strides", "dilated input", "all pairs", "many taps", "none"],
)
def test_every_tap_of_every_window(windows):
    a = RNG.normal(size=(6, 5, 6, 5))
    np.testing.assert_allclose(sum_of_taps(jnp.asarray(a), windows), by_hand(a, windows), rtol=1e-12)

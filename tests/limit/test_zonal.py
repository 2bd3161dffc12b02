"""Functions of an angle as short series."""

import numpy as np
import pytest

from widelimit.limit import _zonal


def series(*functions):
    return _zonal.series([f(_zonal.angles()) for f in functions])


def at(found, theta):
    w = np.tan(np.asarray(theta) / 4).astype(np.float32)
    return found(w, np.ones_like(w))


def arc_cosine(theta):
    return (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi + 0.1


@pytest.mark.parametrize("pole", [3.0, 0.3, 0.03])
def test_a_pole_near_zero_costs_few_terms(pole):
    def function(theta):
        return 1 + pole / (theta + pole)

    found, theta = series(function), np.linspace(0, np.pi, 2001)
    np.testing.assert_allclose(at(found, theta)[0], function(theta), rtol=1e-6)
    assert found.coefficients[0].size < 24


def test_several_functions_share_their_variable():
    found = series(arc_cosine, lambda theta: 2 + np.cos(theta))
    theta = np.linspace(0, np.pi, 2001)
    for got, exact in zip(at(found, theta), (arc_cosine(theta), 2 + np.cos(theta)), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, exact, rtol=1e-6)


@pytest.mark.parametrize(
    "function", [np.sqrt, np.cos, lambda theta: np.abs(theta - 1) + 1], ids=["root", "zero", "kink"]
)
def test_what_is_not_exact_to_all_digits_has_no_series(function):
    assert series(function) is None

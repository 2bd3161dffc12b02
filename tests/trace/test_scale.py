"""Numbers that grow with the width, read from their values at a few widths."""

import math
from fractions import Fraction

import numpy as np
import pytest

from widelimit.trace._scale import Scale, fit, nearest_simple

WIDTHS = (48, 64, 112)

POWERS = {
    "constant": (lambda n: 0.3, 0.3, 0),
    "1/n": (lambda n: 1 / n, 1.0, -1),
    "sqrt(2/n)": (lambda n: math.sqrt(2 / n), math.sqrt(2), Fraction(-1, 2)),
    "2/(9n)": (lambda n: 2 / (9 * n), 2 / 9, -1),
    "-3 n^2": (lambda n: -3 * n**2, -3.0, 2),
    "n^(1/4)": (lambda n: n**0.25, 1.0, Fraction(1, 4)),
    "n^(-1/3)": (lambda n: n ** (-1 / 3), 1.0, Fraction(-1, 3)),
}

SHIFTED = {
    "1/(n - 1)": (lambda n: 1 / (n - 1), 1.0, -1),
    "sqrt(n + 3)": (lambda n: math.sqrt(n + 3), 1.0, Fraction(1, 2)),
    "3 n + 5": (lambda n: 3 * n + 5, 3.0, 1),
    "n/(n + 1)": (lambda n: n / (n + 1), 1.0, 0),
    "2/(n + 784)": (lambda n: 2 / (n + 784), 2.0, -1),
    "1/(n + 1)^2": (lambda n: (n + 1) ** -2, 1.0, -2),
}


@pytest.mark.parametrize("name", POWERS)
def test_powers_from_two_widths(name):
    fn, coefficient, exponent = POWERS[name]
    found = fit([fn(n) for n in WIDTHS[:2]], WIDTHS[:2], eps=2**-52)
    assert found.exponent == exponent
    assert found.coefficient == pytest.approx(coefficient, rel=1e-12)


@pytest.mark.parametrize("name", POWERS | SHIFTED)
@pytest.mark.parametrize("widths", [WIDTHS, (8, 12, 16), (100, 150, 175, 250)])
def test_leading_order_of_float32_numbers(name, widths):
    fn, coefficient, exponent = (POWERS | SHIFTED)[name]
    found = fit([float(np.float32(fn(n))) for n in widths], widths)
    assert found.exponent == exponent
    assert found.coefficient == pytest.approx(coefficient, rel=1e-7)


def test_float32_rounding_is_undone():
    assert fit([float(np.float32(2 / (9 * n))) for n in WIDTHS], WIDTHS) == Scale(2 / 9, Fraction(-1))


def test_float64_numbers_keep_their_digits():
    values = [(1 / 3 + 1e-7) * n for n in WIDTHS]
    assert fit(values, WIDTHS).coefficient == pytest.approx(1 / 3 + 1e-7, rel=1e-14)


def test_coefficients_that_are_no_simple_ratio_stay():
    values = [2.895184531 / n for n in WIDTHS]
    assert fit(values, WIDTHS, eps=2**-52).coefficient == pytest.approx(2.895184531, rel=1e-14)


def test_zero():
    assert fit([0.0, 0.0, 0.0], WIDTHS) == Scale(0.0, Fraction(0))


def test_bfloat16_is_read_within_its_precision():
    bfloat16 = [0.1445, 0.1250, 0.0942]  # 1/sqrt(n) in eight bits
    assert fit(bfloat16, WIDTHS, eps=2**-7) == Scale(1.0, Fraction(-1, 2))


@pytest.mark.parametrize(
    "fn", [math.log, lambda n: n % 10, lambda n: 1 / n + 1 / math.sqrt(n), lambda n: n - 64, lambda n: math.nan]
)
def test_anything_else_is_refused_with_its_values(fn):
    with pytest.raises(ValueError, match=r"the number .* at width 48, .* at width 112 is not c·n\^a"):
        fit([fn(n) for n in WIDTHS], WIDTHS)


def test_one_value_a_width():
    with pytest.raises(ValueError, match="expects one value a width"):
        fit([1.0, 2.0], WIDTHS)


def test_scales_multiply_as_the_numbers_do():
    a, b = Scale(2.0, Fraction(-1, 2)), Scale(3.0, Fraction(1))
    for n in WIDTHS:
        assert (a * b).at(n) == pytest.approx(a.at(n) * b.at(n))
        assert (a / b).at(n) == pytest.approx(a.at(n) / b.at(n))
        assert (a**2).at(n) == pytest.approx(a.at(n) ** 2)
        assert (-a * 3).at(n) == pytest.approx(-3 * a.at(n))


def test_zero_has_no_exponent():
    assert Scale(0.0) * Scale(3.0, Fraction(1)) == Scale(0.0)


def test_printed():
    assert str(Scale(2.0, Fraction(-1, 2))) == "2·n^(-1/2)"
    assert str(Scale(0.25)) == "0.25"


@pytest.mark.parametrize("value", [1 / 3, 0.0004, 0.015**2, 2 / 9, 784.0, 0.02])
def test_nearest_simple_undoes_rounding(value):
    assert nearest_simple(float(np.float32(value)), 2**-23) == pytest.approx(value, rel=1e-15)

"""Formulas are simplified as one would write them, and printed with the brackets they need."""

from widelimit.program import _formula as f
from widelimit.program._operations import operation

X, Y, Z = (f.words(name) for name in "xyz")


def text(formula):
    return formula.text(str)


def test_sums_and_signs():
    assert text(f.plus(X, f.times(f.number(-1), Y))) == "x − y"
    assert text(f.times(f.number(2), f.plus(X, Y))) == "2 (x + y)"


def test_division_collects_its_divisors():
    assert text(f.times(X, f.inverse(f.call("sqrt", f.plus(Y, Z))))) == "x / √(y + z)"


def test_equal_factors_are_powers():
    assert text(f.times(X, Y, X)) == text(f.times(f.power(X, 2), Y))


def test_numbers_multiply():
    assert text(f.times(f.number(2), X, f.number(0.25))) == "0.5 x"


def test_softmax_by_its_name():
    shifted = f.plus(X, f.times(f.number(-1), f.call("reduce_max", X)))
    exponential = f.call("exp", shifted)
    assert text(f.times(exponential, f.inverse(f.call("reduce_sum", exponential)))) == "softmax(x)"
    assert text(f.times(exponential, Y, f.inverse(f.call("Σ", exponential)))) == "softmax(x) y"


def test_a_reduction_over_all_positions_of_a_vector():
    parts = [f.indexed(X, str(i)) for i in range(3)]
    assert text(operation("reduce_max", max, parts)) == "reduce_max(x)"


def test_choices_are_in_the_order_of_where():
    assert text(operation("select_n", max, [X, Y, Z])) == "where(x, z, y)"


def test_indices_from_the_end_stand_as_they_are():
    negative = f.call("lt", X, f.number(0))
    assert text(operation("select_n", max, [negative, X, f.plus(X, f.number(7))])) == "x"


def test_whole_powers():
    assert text(operation("integer_pow", lambda z: z**3, [X])) == "x³"
    assert text(operation("integer_pow", lambda z: z**-2, [X])) == "x⁻²"


def test_nested_formulas_are_compared_by_what_they_are():
    deep = X
    for _ in range(60):
        deep = f.plus(f.call("tanh", deep), f.times(deep, Y))
    assert hash(deep)
    assert deep.size(50) == 50

"""Several Gaussians a side: closed forms, kinks, degenerate laws, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gaussian.pairs import expect_one, expect_several
from widelimit.gaussian._landscape import Regularity, has_steps, hyperplanes, is_own_derivative, regularity
from widelimit.gaussian._nodes import lattice
from widelimit.gaussian._pointwise import ONE, Joint, Pointwise, derivative
from widelimit.gaussian._ridge import ridge
from widelimit.gaussian._rules import _Sequence
from widelimit.gaussian._several import describe_several

GATE = Pointwise(lambda a, b: jax.nn.sigmoid(a) * jnp.sin(b), 2, "gate")
MAX = Pointwise(jnp.maximum, 2, "max")
LARGEST = Pointwise(lambda a, b, c: jnp.maximum(a, jnp.maximum(b, c)), 3, "largest of three")
WAVE = Pointwise(lambda a, b: jnp.cos(a + 0.5 * b), 2, "wave")
LINEAR_GATE = Pointwise(lambda a, b: a * jax.nn.relu(b), 2, "a relu(b)")
STEP_GATE = Pointwise(lambda a, b: a * (b > 0.3), 2, "a step(b)")
SOFT_GATE = Pointwise(lambda a, b: jnp.cos(a) * jax.nn.relu(b), 2, "cos(a) relu(b)")
CORNER = Pointwise(lambda a, b: jax.nn.relu(a) * jax.nn.relu(b), 2, "relu(a) relu(b)")
LAW = np.array([[1.0, 0.2, 0.5, 0.1], [0.2, 1.2, -0.1, 0.3], [0.5, -0.1, 0.8, 0.0], [0.1, 0.3, 0.0, 0.9]])


def joint(c, p=2):
    rows = [[c[i, j] for j in range(len(c))] for i in range(len(c))]

    def pick(a, b):
        return tuple(tuple(row[b]) for row in rows[a])

    left, right = slice(0, p), slice(p, None)
    return Joint(pick(left, left), pick(right, right), pick(left, right), (None,) * p, (None,) * (len(c) - p))


@jax.jit
def gate(c):
    return expect_several(GATE, GATE, joint(c))


@jax.jit
def soft_gate(c):
    return expect_several(SOFT_GATE, SOFT_GATE, joint(c))


@jax.jit
def largest(c):
    return expect_several(MAX, MAX, joint(c))


def moved(entry, step=1e-4):
    change = np.zeros((4, 4))
    change[entry] = change[entry[::-1]] = step
    return change


# --- closed forms -----------------------------------------------------------------------------------------------------------


def exact_largest(c):
    """max(a, b) = (a + b + |a - b|)/2, and E|x||y| in closed form."""
    plus, minus = jnp.array([1.0, 1, 0, 0]), jnp.array([1.0, -1, 0, 0])
    other = jnp.roll(minus, 2)
    kxx, kyy, kxy = minus @ c @ minus, other @ c @ other, minus @ c @ other
    root = jnp.sqrt(kxx * kyy)
    distance = 2 / jnp.pi * (jnp.sqrt(kxx * kyy - kxy**2) + kxy * jnp.arcsin(kxy / root))
    return 0.25 * (plus @ c @ jnp.roll(plus, 2) + distance)


def test_max_of_two_is_in_closed_form():
    rule, error = describe_several(MAX, MAX)
    assert "closed form" in rule
    assert error == 0
    np.testing.assert_allclose(largest(jnp.asarray(LAW)), exact_largest(jnp.asarray(LAW)), rtol=1e-12)


def test_gradient_of_max_is_in_closed_form():
    got, expected = (jax.grad(f)(jnp.asarray(LAW)) for f in (largest, exact_largest))
    np.testing.assert_allclose(got + got.T, expected + expected.T, atol=1e-12)


def test_a_linear_function_and_a_ridge_are_told_apart():
    found = ridge(MAX)
    np.testing.assert_allclose(found.slope, [0.5, 0.5], atol=1e-14)
    np.testing.assert_allclose(np.abs(found.direction), 0.5**0.5, atol=1e-14)
    assert ridge(LINEAR_GATE) is None


def test_polynomials_are_exact():
    """Isserlis: the sum over pairings; to rounding of the size √(E φ² E ψ²), since the pairings cancel."""
    cubic = Pointwise(lambda a, b, c: a * b * c, 3)
    root = np.random.default_rng(0).normal(size=(6, 6))
    c = root @ root.T / 6

    def pairings(indices):
        if not indices:
            return 1.0
        first, *rest = indices
        return sum(c[first, k] * pairings(rest[:at] + rest[at + 1 :]) for at, k in enumerate(rest))

    got = expect_several(cubic, cubic, joint(jnp.asarray(c), p=3), accuracy=1e-13)
    size = (pairings([0, 0, 1, 1, 2, 2]) * pairings([3, 3, 4, 4, 5, 5])) ** 0.5
    np.testing.assert_allclose(got, pairings(list(range(6))), atol=1e-12 * size, rtol=0)


def test_waves_agree_with_their_closed_form():
    rotated = Pointwise(lambda a, b: jnp.cos(a + 0.5 * b) + 0 * a * b, 2, "no ridge by its code")
    w = np.array([1, 0.5])
    a, b, x = w @ LAW[:2, :2] @ w, w @ LAW[2:, 2:] @ w, w @ LAW[:2, 2:] @ w
    for wave in (WAVE, rotated):
        got = expect_several(wave, wave, joint(jnp.asarray(LAW)))
        np.testing.assert_allclose(got, np.exp(-0.5 * (a + b)) * np.cosh(x), rtol=1e-8)


@pytest.mark.slow
def test_independent_arguments_factor():
    c = LAW * (np.add.outer(np.arange(4), np.arange(4)) % 2 == 0)

    def one(f, i):
        law = (((jnp.asarray(c[a, b]),),) for a, b in ((i, i), (i + 2, i + 2), (i, i + 2)))
        return expect_one(Pointwise(f, 1), Pointwise(f, 1), Joint(*law, (None,), (None,)))

    np.testing.assert_allclose(gate(jnp.asarray(c)), one(jax.nn.sigmoid, 0) * one(jnp.sin, 1), rtol=1e-6)


# --- kinks ------------------------------------------------------------------------------------------------------------------


def over_quadrant(f, c, places):
    """∫∫ over the gates (w, w') by panels, of E[f(a, w) f(a', w') | w, w'] by Gauss–Hermite, in NumPy."""
    order = [1, 3, 0, 2]
    root = np.linalg.cholesky(c[np.ix_(order, order)])
    x, share = np.polynomial.legendre.leggauss(16)
    z, weight = np.polynomial.hermite_e.hermegauss(14)
    weight = weight / weight.sum()

    def panels(place, scale):
        ends = np.unique(np.clip([-8, -4, -1.5, place / scale, 1.5, 4, 8], -8, 8))
        half, middle = np.diff(ends)[:, None] / 2, (ends[1:] + ends[:-1])[:, None] / 2
        y = (middle + half * x).ravel()
        return y, (half * share).ravel() * np.exp(-0.5 * y**2) / np.sqrt(2 * np.pi)

    total = 0.0
    for y, p in zip(*panels(places, root[0, 0]), strict=True):
        t, q = panels(places - root[1, 0] * y, root[1, 1])
        grid = np.meshgrid([y], t, z, z, indexing="ij")
        w, w2, a, a2 = np.tensordot(root, np.stack([g.ravel() for g in grid]), 1)
        mass = np.einsum("i,j,k->ijk", q, weight, weight).ravel()
        total += p * (mass @ (f(a, w) * f(a2, w2)))
    return total


KINKED = {
    "linear gate": (LINEAR_GATE, lambda a, b: a * np.maximum(b, 0), 0.0),
    "step gate": (STEP_GATE, lambda a, b: a * (b > 0.3), 0.3),
    "soft gate": (SOFT_GATE, lambda a, b: np.cos(a) * np.maximum(b, 0), 0.0),
}


@pytest.mark.parametrize(
    "name", ["step gate", *(pytest.param(n, marks=pytest.mark.slow) for n in KINKED if n != "step gate")]
)
def test_kinks_are_integrated_piece_by_piece(name):
    phi, f, place = KINKED[name]
    rule, error = describe_several(phi, phi)
    assert "nested panels" in rule
    assert error < 1e-6
    got = expect_several(phi, phi, joint(jnp.asarray(LAW)))
    np.testing.assert_allclose(got, over_quadrant(f, LAW, place), rtol=1e-6)


def test_kinks_at_nearly_equal_and_at_equal_inputs():
    """E[a² relu(b)²] = E a² E b²/2 + Cov², and its neighbourhood, where the density of the gates is a thin ridge."""
    a = LAW[:2, :2]
    expected = 0.5 * (a[0, 0] * a[1, 1] + 2 * a[0, 1] ** 2)
    for share, tolerance in ((1.0, 1e-6), (1 - 1e-9, 1e-6), (1 - 1e-6, 1e-5)):
        c = np.block([[a, share * a], [share * a, a]])
        np.testing.assert_allclose(
            expect_several(LINEAR_GATE, LINEAR_GATE, joint(jnp.asarray(c))), expected, rtol=tolerance
        )


def test_what_a_function_looks_like():
    assert regularity(GATE) is Regularity.SMOOTH
    assert regularity(CORNER) is Regularity.KINKS
    assert regularity(STEP_GATE) is Regularity.STEPS
    assert has_steps(STEP_GATE)
    assert not has_steps(CORNER)
    assert hyperplanes(CORNER) is None  # two directions
    np.testing.assert_allclose(hyperplanes(STEP_GATE).normal, [0, 1], atol=1e-12)
    np.testing.assert_allclose(hyperplanes(STEP_GATE).offsets, [0.3], atol=1e-8)
    np.testing.assert_allclose(hyperplanes(MAX).normal, [0.5**0.5, -(0.5**0.5)], atol=1e-12)


def test_a_stopped_gradient_shows():
    stopped = Pointwise(lambda a, b: jnp.exp(a - jax.lax.stop_gradient(b)), 2)
    shifted = Pointwise(lambda a, b: jnp.exp(a - jax.lax.stop_gradient(b)) / jnp.exp(b - jax.lax.stop_gradient(b)), 2)
    assert not is_own_derivative(stopped)
    assert is_own_derivative(shifted)


# --- lattices ---------------------------------------------------------------------------------------------------------------


def test_the_mean_of_the_largest_of_three_is_within_the_stated_error():
    rule, error = describe_several(LARGEST, LARGEST)
    assert "lattice" in rule
    assert 1e-6 < error < 2e-3
    alone = Joint(joint(jnp.eye(3), p=3).left, (), ((), (), ()), (None,) * 3, ())
    np.testing.assert_allclose(expect_several(LARGEST, ONE, alone), 3 / (2 * np.sqrt(np.pi)), atol=6 * error)


def test_the_square_of_the_largest_of_three_at_equal_inputs():
    """E max² = 1 + √3/(2π) for three independent ones; the joint law has rank 3."""
    c = jnp.tile(jnp.eye(3), (2, 2))
    _, error = describe_several(LARGEST, LARGEST)
    got = expect_several(LARGEST, LARGEST, joint(c, p=3))
    np.testing.assert_allclose(got, 1 + np.sqrt(3) / (2 * np.pi), atol=6 * error)


@pytest.mark.parametrize("accuracy", [1e-1, 1e-2])
def test_the_accuracy_chooses_the_number_of_points(accuracy):
    (coarse, error), (fine, least) = describe_several(LARGEST, LARGEST, accuracy), describe_several(LARGEST, LARGEST)
    assert least < error < accuracy
    assert coarse != fine


def test_lattices_integrate_products_of_waves():
    """E Π cos(z_j) = e^{-n/2}; plain Monte Carlo with as many points is ten times worse."""
    nodes, weights = lattice(8, 16381)
    values = np.cos(0.5 * nodes).prod(0)
    assert abs(weights @ values - np.exp(-1)) < 1e-4


# --- degenerate laws, parameters ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_inputs_and_zero_variance_are_ordinary():
    np.testing.assert_allclose(largest(jnp.ones((4, 4))), 1, rtol=1e-12)
    np.testing.assert_allclose(largest(jnp.zeros((4, 4))), 0, atol=1e-12)
    for fn in (largest, gate, soft_gate):
        for c in (jnp.ones((4, 4)), jnp.zeros((4, 4))):
            assert np.isfinite(jax.grad(fn)(c)).all()


def test_parameters_broadcast():
    scaled = Pointwise(lambda a, b, t: jnp.cos(t * (a + b)), 2)
    t = jnp.array([0.5, 1.0])
    got = expect_several(scaled, scaled, joint(jnp.asarray(np.eye(4))), (t,), (t,))
    np.testing.assert_allclose(got, np.exp(-2 * t**2), rtol=1e-6)


# --- derivatives --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("entry", [(0, 0), (0, 1), (0, 2), (1, 3), (2, 3)])
@pytest.mark.parametrize("fn", [gate, soft_gate], ids=["smooth", "kinked"])
def test_gradient_agrees_with_differences(fn, entry):
    gradient, step = jax.jit(jax.grad(fn))(jnp.asarray(LAW)), moved(entry)
    difference = fn(jnp.asarray(LAW + step)) - fn(jnp.asarray(LAW - step))
    np.testing.assert_allclose(np.sum(gradient * step) * 2, difference, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("phi", [GATE, SOFT_GATE, LINEAR_GATE], ids=lambda p: p.label)
def test_gradient_along_equal_inputs(phi):
    """At u = v the joint law is singular; moving both inputs together, the derivative is that of E[φ²]."""
    square = Pointwise(lambda a, b: phi.fn(a, b) ** 2, 2)
    a = LAW[:2, :2]

    def both(a):
        return expect_several(phi, phi, joint(jnp.tile(a, (2, 2))))

    def alone(a):
        return expect_several(square, ONE, Joint(joint(a).left, (), ((), ()), (None, None), ()))

    got, expected = (jax.grad(f)(jnp.asarray(a)) for f in (both, alone))
    np.testing.assert_allclose(got + got.T, expected + expected.T, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("phi", "tolerance"), [(GATE, 1e-5), (SOFT_GATE, 1e-4)], ids=["smooth", "kinked"])
@pytest.mark.parametrize("entry", [(0, 1), (0, 2), (2, 2)])
def test_gradient_of_the_price_derivative_agrees_with_differences(phi, tolerance, entry):
    """As in the gradient of a tangent kernel with respect to its inputs."""

    @jax.jit
    def slope(c):
        law = joint(c)

        def of_cross(cross):
            rows = tuple(map(tuple, cross))
            return expect_several(phi, phi, Joint(law.left, law.right, rows, law.left_mean, law.right_mean))

        return jax.jvp(of_cross, (c[:2, 2:],), (jnp.array([[1.0, 0.3], [-0.2, 0.7]]),))[1]

    gradient, step = jax.grad(slope)(jnp.asarray(LAW)), moved(entry)
    difference = slope(jnp.asarray(LAW + step)) - slope(jnp.asarray(LAW - step))
    np.testing.assert_allclose(np.sum(gradient * step) * 2, difference, rtol=tolerance, atol=1e-9)


def test_price_derivative_is_the_expectation_of_the_derivatives():
    c, direction = jnp.asarray(LAW), jnp.zeros((4, 4)).at[0, 3].set(1.0)
    got = jax.jvp(gate, (c,), (direction,))[1]
    expected = expect_several(derivative(GATE, 0), derivative(GATE, 1), joint(c))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_third_derivatives_with_kinks_are_refused():
    def slope(c):
        return jax.grad(soft_gate)(c)[0, 0]

    with pytest.raises(NotImplementedError, match="differences of the kernel"):
        jax.grad(slope)(jnp.asarray(LAW))


@pytest.mark.parametrize(("sums", "error"), [((0, 1, 1.5, 1.75), 0.125), ((0, 1, 3, 3.1), 0.1), ((0, 1, 1.5, 1.5), 0)])
def test_a_change_that_is_small_by_chance_is_not_extrapolated(sums, error):
    sequence = _Sequence()
    for value in sums:
        sequence.add([value])
    assert sequence.error == pytest.approx(error)


def test_slopes_of_a_tensor_rule_are_as_accurate_as_asked_for():
    squashed = Pointwise(lambda u, v: jax.nn.sigmoid(jnp.tanh(u) + jnp.tanh(v)), 2)
    law = 2.0 * jnp.asarray(np.kron([[1, 0.75], [0.75, 1]], [[1, 0.25], [0.25, 1]]))

    def slopes(accuracy):
        fn = lambda c: expect_several(squashed, squashed, joint(c, p=2), accuracy=accuracy)  # noqa: E731
        return jax.jvp(fn, (law,), (law.at[:2, :2].set(0).at[2:, 2:].set(0),))[1]

    assert slopes(1e-3) == pytest.approx(float(slopes(1e-6)), rel=3e-3)

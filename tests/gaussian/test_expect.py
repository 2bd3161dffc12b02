"""The choice between rules: the same answer by each, in every transformation and precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gaussian import brute
from gaussian.pairs import expect_one
from widelimit.gaussian import IDENTITY, ONE, Joint, Pointwise, expect

RELU = Pointwise(jax.nn.relu, 1, "relu")
GELU = Pointwise(lambda x: jax.nn.gelu(x, approximate=False), 1, "gelu")
ERF = Pointwise(jax.lax.erf, 1, "erf")
TANH = Pointwise(jnp.tanh, 1, "tanh")
LINE = Pointwise(lambda x: 2 * x - 1, 1, "line")


def joint(k11, c, k22, m1=None, m2=None):
    k11, c, k22, m1, m2 = (None if x is None else jnp.asarray(x) for x in (k11, c, k22, m1, m2))
    return Joint(((k11,),), ((k22,),), ((c,),), (m1,), (m2,))


def numpy(phi):
    return lambda x: np.asarray(phi.fn(jnp.asarray(x)))


@pytest.mark.slow
@pytest.mark.parametrize("phi", [RELU, GELU, ERF], ids=lambda phi: phi.label)
def test_closed_form_agrees_with_quadrature(phi):
    law = joint(1.0, np.array([0.4, -0.8]), 2.0)
    np.testing.assert_allclose(expect(phi, phi, law), expect_one(phi, phi, law, (), ()), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("phi", "psi"), [(TANH, IDENTITY), (LINE, TANH), (RELU, TANH), (GELU, ERF)])
@pytest.mark.parametrize("means", [(None, None), (0.3, -0.2)])
def test_pairs_of_different_functions(phi, psi, means):
    reference = brute.two(numpy(phi), numpy(psi), 1.0, 0.4, 2.0, *(m or 0.0 for m in means))
    np.testing.assert_allclose(expect(phi, psi, joint(1.0, 0.4, 2.0, *means)), reference, rtol=2e-6)


def test_independent_gaussians_factor():
    law = joint(1.0, None, 2.0)
    reference = brute.one(numpy(RELU), 1.0) * brute.one(numpy(GELU), 2.0)
    np.testing.assert_allclose(expect(RELU, GELU, law), reference, rtol=1e-12)


@pytest.mark.parametrize("phi", [RELU, GELU, TANH], ids=lambda phi: phi.label)
@pytest.mark.parametrize("mean", [None, 0.7])
def test_one_side_only(phi, mean):
    m = None if mean is None else jnp.asarray(mean)
    law = Joint(((jnp.asarray(2.0),),), (), ((),), (m,), ())
    np.testing.assert_allclose(expect(phi, ONE, law), brute.one(numpy(phi), 2.0, mean or 0.0), rtol=1e-6, atol=1e-15)


def test_a_gaussian_of_no_variance_is_its_mean():
    law = Joint(((None,),), ((jnp.asarray(2.0),),), ((None,),), (jnp.asarray(0.5),), (None,))
    np.testing.assert_allclose(expect(TANH, RELU, law), np.tanh(0.5) * np.sqrt(1 / np.pi), rtol=1e-12)


def test_constants_multiply():
    assert expect(ONE, ONE, Joint((), (), (), (), ())) == 1


def test_sides_of_a_gram_matrix_broadcast():
    k, c = jnp.array([1.0, 2.0, 3.0]), 0.1 * jnp.ones((3, 3))
    assert expect(GELU, GELU, joint(k[:, None], c, k[None])).shape == (3, 3)


def test_known_parameters():
    phi = Pointwise(lambda u, m, s: (jax.nn.relu(u) - m) / s, 1)
    m, s = jnp.array([0.1, 0.2]), jnp.array([2.0, 3.0])
    found = expect(phi, phi, joint(1.0, 0.4, 2.0), left_params=(m, s), right_params=(m, s))
    means = sum(brute.one(numpy(RELU), k) for k in (1.0, 2.0))
    reference = (brute.two(numpy(RELU), numpy(RELU), 1.0, 0.4, 2.0) - m * means + m * m) / s**2
    np.testing.assert_allclose(found, reference, rtol=1e-12)


def test_gradient_in_a_parameter():
    phi = Pointwise(lambda u, m: jax.nn.relu(u) - m, 1)
    found = jax.grad(lambda m: expect(phi, phi, joint(1.0, 0.4, 2.0), left_params=(m,), right_params=(m,)))(
        jnp.asarray(0.2)
    )
    means = sum(brute.one(numpy(RELU), k) for k in (1.0, 2.0))
    np.testing.assert_allclose(found, 0.4 - means, rtol=1e-12)


@pytest.mark.parametrize("phi", [RELU, GELU, ERF], ids=lambda phi: phi.label)
def test_transformations_agree(phi):
    k11, c, k22 = (jnp.array(x) for x in ([1.0, 2.0], [0.4, -0.3], [0.5, 1.5]))

    def ntk(k11, c, k22):
        return jax.jvp(lambda c: expect(phi, phi, joint(k11, c, k22)), (c,), (jnp.ones_like(c),))[1]

    np.testing.assert_allclose(jax.jit(jax.vmap(ntk))(k11, c, k22), ntk(k11, c, k22), rtol=1e-12)
    forward, reverse = (make(ntk, (0, 1, 2)) for make in (jax.jacfwd, jax.grad))
    for a, b in zip(forward(k11[0], c[0], k22[0]), reverse(k11[0], c[0], k22[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_result_has_the_precision_of_the_law(dtype):
    law = joint(*(jnp.asarray(x, dtype) for x in (1.0, 0.5, 1.0)))
    for phi in (RELU, GELU, ERF):
        assert expect(phi, phi, law).dtype == dtype


def relu_pair(k11, c, k22):
    return 2 * expect(RELU, RELU, joint(k11, c, k22))


# A law that is exact in both precisions: what a network's covariances lose by rounding is no matter of the expectation.
@pytest.mark.parametrize("digits", [10, 16, 20, 23])
def test_close_inputs_in_single_precision(digits):
    def both(dtype):
        k, c = jnp.ones((), dtype), jnp.asarray(1 - 2.0**-digits, dtype)
        return jax.jvp(lambda c: relu_pair(k, c, k), (c,), (jnp.ones((), dtype),))

    for single, double in zip(both(jnp.float32), both(jnp.float64), strict=True):
        np.testing.assert_allclose(single, double, rtol=3e-7)

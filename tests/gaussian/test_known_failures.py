"""Where kernels of infinite networks are known to go wrong in practice: indefinite, off the diagonal's value, not finite."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gaussian import graded
from widelimit.gaussian import Joint, Pointwise, expect


def law(k11, c, k22):
    return Joint(((k11,),), ((k22,),), ((c,),), (None,), (None,))


def gram(phi, x, slope=False):
    """NNGP of one hidden layer, or the derivative in the covariance, of all pairs of inputs."""
    c = x @ x.T / x.shape[1]
    k = jnp.diag(c)

    def value(c):
        return expect(phi, phi, law(k[:, None], c, k[None]))

    return jax.jvp(value, (c,), (jnp.ones_like(c),))[1] if slope else value(c)


@pytest.fixture
def inputs():
    x = np.random.default_rng(0).normal(size=(60, 5))
    x[30:45] = 0.7 * x[:15]
    x[45:] = -x[:15]
    return jnp.asarray(x)


@pytest.mark.parametrize("name", ["tanh", "erf", "relu"])
def test_gram_matrices_are_positive_semi_definite(name, inputs):
    phi = {"tanh": jnp.tanh, "erf": jax.lax.erf, "relu": jax.nn.relu}[name]
    eigenvalues = np.linalg.eigvalsh(gram(Pointwise(phi, 1, name), inputs))
    assert eigenvalues[0] >= -1e-12 * eigenvalues[-1]


def test_the_tangent_kernel_of_relu_is_exact_on_the_diagonal(inputs):
    """E[relu'(u)²] = 1/2 and E[relu(u)²] = k/2."""
    phi = Pointwise(jax.nn.relu, 1)
    np.testing.assert_allclose(jnp.diag(gram(phi, inputs, slope=True)), 0.5, rtol=1e-15)
    np.testing.assert_allclose(jnp.diag(gram(phi, inputs)), (inputs**2).mean(1) / 2, rtol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_rectified_monomials_on_the_diagonal(n, inputs):
    """E[u₊²ⁿ] = (2n−1)!! kⁿ/2, and its derivative E[(n u₊ⁿ⁻¹)²]."""
    phi = Pointwise(lambda u: jax.nn.relu(u) ** n, 1)
    k = (inputs**2).mean(1)
    odd = math.prod(range(1, 2 * n, 2))
    np.testing.assert_allclose(jnp.diag(gram(phi, inputs)), odd * k**n / 2, rtol=1e-13)
    slope = n * n * odd / (2 * n - 1) * k ** (n - 1) / 2
    np.testing.assert_allclose(jnp.diag(gram(phi, inputs, slope=True)), slope, rtol=1e-13)


def test_polynomials_at_a_zero_input():
    phi = Pointwise(lambda u: 1 + 2 * u + u**3, 1)
    zero, one = jnp.zeros(()), jnp.ones(())

    def value(x):
        return expect(phi, phi, law(x * x, x, one))

    assert value(zero) == 1.0
    assert jax.grad(value)(zero) == 2 * (2 + 3)  # E[φ'(0)] E[φ'(v)]
    assert jnp.isfinite(jax.grad(lambda x: expect(phi, phi, law(x * x, x * x, x * x)))(zero))


@pytest.mark.parametrize("k", [0.04, 1.0, 9.0])
def test_hermite_polynomials_off_unit_variance(k):
    """He₃ is orthogonal to He₁ at variance 1 only."""
    cubic, line = Pointwise(lambda u: u**3 - 3 * u, 1), Pointwise(lambda u: u, 1)
    k, c = jnp.asarray(k), jnp.asarray(0.6 * k)
    np.testing.assert_allclose(expect(cubic, line, law(k, c, k)), c * (3 * k - 3), atol=1e-14)
    np.testing.assert_allclose(expect(cubic, cubic, law(k, c, k)), 6 * c**3 + 9 * c * (k - 1) ** 2, rtol=1e-13)


def test_a_known_bias_does_not_need_integration():
    """ReLU of an argument with a mean, at equal inputs, where a kink meets itself."""
    phi = Pointwise(lambda u: jax.nn.relu(u + 0.3), 1)

    def value(c):
        return expect(phi, phi, law(jnp.asarray(2.0), c, jnp.asarray(2.0)))

    found, slope = jax.jvp(value, (jnp.asarray(2.0),), (jnp.ones(()),))
    np.testing.assert_allclose(
        found, graded.one(lambda u: np.maximum(u + 0.3, 0) ** 2, 2.0, places=(-0.3,)), rtol=1e-14
    )
    np.testing.assert_allclose(slope, graded.one(lambda u: 1.0 * (u > -0.3), 2.0, places=(-0.3,)), rtol=1e-14)

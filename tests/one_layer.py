"""The exact kernels of networks with one hidden layer, of any linear structure, by hand.

f = V(φ(W(x))), W and V linear in standard normal parameters. At width 1 the pre-activations are J(x) ω, so their covariance
is K = J(x) J(x')ᵀ; the output is Σ_d v_d A_d h, so with S = E[φ φ'] and Ṡ = E[φ̇ φ̇'] (for a rectifier the arc-cosine kernels)
the NNGP is Σ_d A_d S A_dᵀ, and the NTK adds Σ_d A_d (Ṡ ∘ K) A_dᵀ. A term of the output in its parameters alone adds to both.
"""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

import widelimit as wl
from networks import drawn, relu


def network(shapes, hidden, output, phi=relu):
    return wl.Network(drawn(shapes), lambda params, x: output(params, phi(hidden(params, x))))


def quadratic(u):
    """φ(u) = u + u²: its kernels are polynomials, which compile in a moment."""
    return u + u * u


def _arc_cosine(k, qa, qb):
    a, b = np.sqrt(qa)[:, None], np.sqrt(qb)[None]
    scale = a * b
    cosine = np.clip(np.divide(k, scale, out=np.zeros_like(k), where=scale > 0), -1, 1)
    angle = np.arccos(cosine)
    return scale * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def _coefficients(hidden, output, params):
    """A function of x: the pre-activations J of each parameter, (parameters, units), and the output of each parameter and unit,
    (parameters, units, outputs), and of each parameter alone. Both are affine, so these are differences of values at unit vectors.
    """
    zero, unflatten = jax.flatten_util.ravel_pytree(params)

    def with_units(size):
        return jnp.concatenate([jnp.zeros((1, size)), jnp.eye(size)])

    @jax.jit
    def found(x):
        pre = jax.eval_shape(hidden, params, x)

        def flat_hidden(p):
            return hidden(unflatten(p), x).reshape(-1)

        def flat_output(p, h):
            return output(unflatten(p), h.reshape(pre.shape)).reshape(-1)

        p, h = with_units(zero.size), with_units(pre.size)
        units, both = jax.vmap(flat_hidden)(p), jax.vmap(jax.vmap(flat_output, (None, 0)), (0, None))(p, h)
        alone, of_parameters = both[1:, 0] - both[0, 0], both[1:] - both[0]
        return units[1:] - units[0], of_parameters[:, 1:] - of_parameters[:, :1], alone

    return found


def _polynomial(k, qa, qb):
    """Of u + u²: E φφ' = c + 2c² + k₁₁k₂₂ and E φ̇φ̇' = 1 + 4c."""
    return k + 2 * k**2 + np.outer(qa, qb), 1 + 4 * k


_KERNELS = {relu: _arc_cosine, quadratic: _polynomial}


def exact(shapes, hidden, output, x, xp, phi=relu):
    """NNGP and NTK, (outputs of x, outputs of x')."""
    found = _coefficients(hidden, output, {name: jnp.zeros(shape) for name, shape in shapes(1).items()})
    (j, a, own), (jp, ap, ownp) = ([np.asarray(v) for v in found(jnp.asarray(one))] for one in (x, xp))
    k = j.T @ jp
    s, slope = _KERNELS[phi](k, (j**2).sum(0), (jp**2).sum(0))
    nngp = np.einsum("dia,ij,djb->ab", a, s, ap) + own.T @ ownp
    return nngp, nngp + np.einsum("dia,ij,djb->ab", a, slope * k, ap)


def assert_exact(shapes, hidden, output, x, xp, phi=relu):
    pair = jax.jit(wl.limit(network(shapes, hidden, output, phi), x).pair)(x, xp)
    for got, expected in zip(pair, exact(shapes, hidden, output, x, xp, phi), strict=True):
        np.testing.assert_allclose(np.asarray(got).reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)

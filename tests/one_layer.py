"""The exact kernels of networks with one hidden ReLU layer, of any linear structure, by hand.

f = V(relu(W(x))), W and V linear in standard normal parameters. At width 1 the pre-activations are J(x) ω, so their
covariance is K = J(x) J(x')ᵀ; the output is Σ_d v_d A_d h, so with S = E[relu relu'] and Ṡ = E[relu' relu''] (the arc-cosine
kernels) the NNGP is Σ_d A_d S A_dᵀ, and the NTK adds Σ_d A_d (Ṡ ∘ K) A_dᵀ. A term of the output in its parameters alone adds to both.
"""

import jax
import jax.numpy as jnp
import numpy as np

import widelimit as wl
from networks import drawn, relu


def network(shapes, hidden, output):
    return wl.Network(drawn(shapes), lambda params, x: output(params, relu(hidden(params, x))))


def _flat(tree, rank):
    """Derivatives with respect to a dict of parameters, (…, number of parameters)."""
    return np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:rank], -1) for leaf in tree.values()], -1)


def _arc_cosine(k, qa, qb):
    a, b = np.sqrt(qa)[:, None], np.sqrt(qb)[None]
    scale = a * b
    cosine = np.clip(np.divide(k, scale, out=np.zeros_like(k), where=scale > 0), -1, 1)
    angle = np.arccos(cosine)
    return scale * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def _derivatives(hidden, output, params, x):
    """Of the pre-activations in the parameters; of the output in units and parameters, and in the parameters alone."""
    pre = jax.eval_shape(hidden, params, x)

    def flat_hidden(p):
        return hidden(p, x).reshape(-1)

    def flat_output(p, h):
        return output(p, h.reshape(pre.shape)).reshape(-1)

    @jax.jit
    def found(p, zero):
        both = jax.jacobian(jax.jacobian(flat_output, 1))(p, zero)
        return jax.jacobian(flat_hidden)(p), both, jax.jacobian(flat_output)(p, zero)

    return [_flat(d, rank) for d, rank in zip(found(params, jnp.zeros(pre.size)), (1, 2, 1), strict=True)]


def exact(shapes, hidden, output, x, xp):
    """NNGP and NTK, (outputs of x, outputs of x')."""
    params = {name: jnp.zeros(shape) for name, shape in shapes(1).items()}
    (j, a, own), (jp, ap, ownp) = (_derivatives(hidden, output, params, jnp.asarray(one)) for one in (x, xp))
    k = j @ jp.T
    s, slope = _arc_cosine(k, (j**2).sum(1), (jp**2).sum(1))
    nngp = np.einsum("aid,ij,bjd->ab", a, s, ap) + own @ ownp.T
    return nngp, nngp + np.einsum("aid,ij,bjd->ab", a, slope * k, ap)


def assert_exact(shapes, hidden, output, x, xp):
    pair = jax.jit(wl.limit(network(shapes, hidden, output), x).pair)(x, xp)
    for got, expected in zip(pair, exact(shapes, hidden, output, x, xp), strict=True):
        np.testing.assert_allclose(np.asarray(got).reshape(expected.shape), expected, rtol=1e-10, atol=1e-12)

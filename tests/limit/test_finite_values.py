"""Values and gradients are finite where arguments of the closed forms are at the edge of their domains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import networks
import widelimit as wl
from marks import but_slow
from networks import drawn, readout

ACTIVATIONS = networks.ACTIVATIONS | {
    "tanh": jnp.tanh,
    "leaky relu": jax.nn.leaky_relu,
    "step": lambda h: jnp.where(h > 0, 1.0, 0.0),
    "square": jnp.square,
    "layer norm": lambda h: networks.relu(networks.layer_norm(h, 1e-5)),
}
LAYERS = {"tanh": 1}  # integrated numerically: slow to compile
X = np.array([0.7, -1.2, 0.4])
PAIRS = {"same": (X, X), "opposite": (X, -X), "zero": (X, 0 * X), "both zero": (0 * X, 0 * X), "parallel": (X, 2 * X)}


@functools.cache
def kernel(name):
    def apply(params, x):
        h = x
        for i in range(LAYERS.get(name, 2)):
            weight = params[f"w{i}"].astype(x.dtype)
            h = ACTIVATIONS[name](h @ weight / np.sqrt(h.shape[0]).astype(x.dtype))
        return readout({"v": params["v"].astype(x.dtype)}, h)

    net = wl.Network(drawn(lambda n: {"w0": (3, n), "w1": (n, n), "v": (n, 1)}), apply)
    return wl.limit(net, jax.ShapeDtypeStruct((3,), jnp.float64))


@functools.cache
def all_numbers(name):
    """Values, gradients by both inputs and by the variances of the weights."""
    k = kernel(name)

    def by_variance(variances, x, xp):
        dtype = x.dtype

        def nngp(cross):
            return k.cross_covariance(([x], [xp]), variances, cross, dtype).squeeze()

        return jnp.stack(jax.jvp(nngp, (variances,), (jax.tree.map(jnp.ones_like, variances),)))

    def numbers(x, xp):
        variances = {path: jnp.ones((), x.dtype) for path in ("w0", "w1", "v")}

        def both(x, xp):
            return jnp.stack([value.squeeze() for value in k.pair(x, xp)])

        return both(x, xp), jax.jacrev(both, (0, 1))(x, xp), jax.jacrev(by_variance)(variances, x, xp)

    return jax.jit(numbers)


def check(name, dtype):
    found = {
        where: [np.asarray(a) for a in jax.tree.leaves(all_numbers(name)(x.astype(dtype), xp.astype(dtype)))]
        for where, (x, xp) in PAIRS.items()
    }
    assert {where for where, arrays in found.items() if not all(np.isfinite(a).all() for a in arrays)} == set()


@pytest.mark.parametrize("name", but_slow(ACTIVATIONS, "relu", "gelu", "step", "square", "layer norm"))
def test_values_and_gradients_are_finite(name):
    check(name, np.float64)


@pytest.mark.parametrize("name", but_slow(ACTIVATIONS, "relu", "layer norm"))
def test_in_single_precision(name):
    check(name, np.float32)

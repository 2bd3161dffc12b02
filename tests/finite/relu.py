"""ReLU networks with biases in standard parametrisation, and their limit in closed form (Cho and Saul; Jacot et al.)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

WEIGHT, BIAS = 2.0, 0.09  # variances: weights have WEIGHT/fan_in, biases BIAS, the readout 1/n


class Net(NamedTuple):
    init: Any
    apply: Any


def network(inputs: int, *, depth: int = 1, outputs: int = 1) -> Net:
    def init(key, width):
        keys = jax.random.split(key, 2 * depth + 1)
        params = {}
        for layer in range(depth):
            fan_in = width if layer else inputs
            params[f"w{layer}"] = (WEIGHT / fan_in) ** 0.5 * jax.random.normal(keys[2 * layer], (fan_in, width))
            params[f"b{layer}"] = BIAS**0.5 * jax.random.normal(keys[2 * layer + 1], (width,))
        params["v"] = jax.random.normal(keys[-1], (width, outputs)) / width**0.5
        return params

    def apply(params, x):
        h = x
        for layer in range(depth):
            h = jax.nn.relu(h @ params[f"w{layer}"] + params[f"b{layer}"])
        return h @ params["v"]

    return Net(init, apply)


class Limit:
    """The limit of `network`, each kernel times a factor that makes it wrong where it is not 1."""

    replica_axes = (0,)

    def __init__(self, inputs: int, *, depth: int = 1, nngp: float = 1.0, ntk: float = 1.0):
        self.inputs, self.depth, self.factors = inputs, depth, (nngp, ntk)

    def nngp(self, x1, x2):
        return self.factors[0] * self._kernels(x1, x2)[0]

    def ntk(self, x1, x2):
        return self.factors[1] * self._kernels(x1, x2)[1]

    def rates(self, width):
        weights = {f"w{layer}": WEIGHT / (width if layer else self.inputs) for layer in range(self.depth)}
        return weights | {f"b{layer}": BIAS for layer in range(self.depth)} | {"v": 1 / width}

    def _kernels(self, x1, x2):
        x1, x2 = np.asarray(x1), np.asarray(x2)
        cross, own1, own2 = (
            WEIGHT * k / self.inputs + BIAS for k in (x1 @ x2.T, np.sum(x1**2, 1)[:, None], np.sum(x2**2, 1)[None])
        )
        tangent = cross
        for layer in range(self.depth):
            nngp, slope = _arccosine(cross, own1, own2)
            if layer == self.depth - 1:
                return nngp, nngp + slope * tangent
            cross, own1, own2 = WEIGHT * nngp + BIAS, WEIGHT * own1 / 2 + BIAS, WEIGHT * own2 / 2 + BIAS
            tangent = cross + WEIGHT * slope * tangent
        raise AssertionError


def _arccosine(cross, own1, own2):
    """E[relu(u) relu(v)] and E[relu'(u) relu'(v)]."""
    scale = np.sqrt(own1 * own2)
    angle = np.arccos(np.clip(cross / scale, -1, 1))
    return scale * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def examples(count: int, inputs: int, seed: int = 0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((count, inputs)))

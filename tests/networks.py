"""Small networks that several tests use: the same architectures as plain functions, flax modules and equinox modules.

Their laws are those of the reference numbers: every weight has the variance W_std²/fan_in, a bias b_std².
"""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import widelimit as wl

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "erf": jax.scipy.special.erf,
    "abs": jnp.abs,
    "sin": jnp.sin,
    "gelu": lambda h: jax.nn.gelu(h, approximate=False),
}
relu = jax.nn.relu


def normal(key, shape, variance=1.0):
    return math.sqrt(variance) * jax.random.normal(key, shape, jnp.float64)


def drawn(shapes, variance=lambda _: 1.0):
    """`init(key, width)` of a dict of normal parameters; `shapes(width)` gives their shapes, `variance` is by name."""

    def init(key, width):
        table = shapes(width)
        keys = jax.random.split(key, len(table))
        return {name: normal(k, shape, variance(name)) for k, (name, shape) in zip(keys, table.items(), strict=True)}

    return init


# --- plain functions, in NTK parametrisation ------------------------------------------------------------------------------


def dense(params, i, h):
    """W_std √2, b_std 0.3."""
    return jnp.sqrt(2 / h.shape[-1]) * (h @ params[f"w{i}"]) + 0.3 * params[f"b{i}"]


def readout(params, h):
    return h @ params["v"] / jnp.sqrt(h.shape[-1])


def conv(x, w, stride=1, padding="SAME"):
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x[None], w, (stride, stride), padding, dimension_numbers=dims)[0]


def conv_layer(params, i, h, stride=1, padding="SAME"):
    """W_std √2, b_std 0.1."""
    product = conv(h, params[f"w{i}"], stride, padding)
    return jnp.sqrt(2 / (9 * h.shape[-1])) * product + 0.1 * params[f"b{i}"]


def layer_norm(h, eps=1e-12):
    mean = h.mean(-1, keepdims=True)
    variance = ((h - mean) ** 2).mean(-1, keepdims=True)
    return (h - mean) / jnp.sqrt(variance + eps)


def dense_shapes(inputs, layers=3):
    def shapes(width):
        sizes = [inputs] + [width] * layers
        weights = {f"w{i}": (sizes[i], width) for i in range(layers)}
        return weights | {f"b{i}": (width,) for i in range(layers)} | {"v": (width, 1)}

    return shapes


def conv_shapes(channels, positions, layers=3):
    def shapes(width):
        sizes = [channels] + [width] * layers
        weights = {f"w{i}": (3, 3, sizes[i], width) for i in range(layers)}
        return weights | {f"b{i}": (width,) for i in range(layers)} | {"v": (positions * width, 1)}

    return shapes


def mlp(activation, inputs=10, layers=3):
    def apply(params, x):
        h = x
        for i in range(layers):
            h = activation(dense(params, i, h))
        return readout(params, h)

    return wl.Network(drawn(dense_shapes(inputs, layers)), apply)


def residual_mlp():
    def apply(params, x):
        h = dense(params, 0, x)
        h = h + dense(params, 2, relu(dense(params, 1, relu(h))))
        return readout(params, relu(layer_norm(h)))

    return wl.Network(drawn(dense_shapes(10)), apply)


def cnn_flatten():
    def apply(params, x):
        h = relu(conv_layer(params, 0, x))
        h = relu(conv_layer(params, 1, h, stride=2))
        h = relu(conv_layer(params, 2, h, padding="VALID"))
        return readout(params, h.reshape(-1))

    return wl.Network(drawn(conv_shapes(3, positions=4)), apply)


def cnn_pooled():
    def apply(params, x):
        h = relu(conv_layer(params, 0, x))
        h = relu(conv_layer(params, 1, h))
        h = jax.lax.reduce_window(h, 0.0, jax.lax.add, (2, 2, 1), (2, 2, 1), "VALID") / 4
        return readout(params, relu(conv_layer(params, 2, h)).mean((0, 1)))

    return wl.Network(drawn(conv_shapes(3, positions=1)), apply)


# --- flax.nnx: standard parametrisation ------------------------------------------------------------------------------------

_flax_he = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")
_flax_one = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")


def flax_dense(inputs, width, rngs):
    bias = nnx.initializers.normal(0.3)
    return nnx.Linear(inputs, width, kernel_init=_flax_he, bias_init=bias, param_dtype=jnp.float64, rngs=rngs)


def flax_conv(inputs, width, rngs, **kwargs):
    bias = nnx.initializers.normal(0.1)
    return nnx.Conv(
        inputs, width, (3, 3), kernel_init=_flax_he, bias_init=bias, param_dtype=jnp.float64, rngs=rngs, **kwargs
    )


def flax_readout(inputs, rngs):
    return nnx.Linear(inputs, 1, use_bias=False, kernel_init=_flax_one, param_dtype=jnp.float64, rngs=rngs)


class FlaxMLP(nnx.Module):
    def __init__(self, width, activation, rngs):
        sizes = (10, width, width, width)
        self.layers = nnx.List([flax_dense(a, b, rngs) for a, b in itertools.pairwise(sizes)])
        self.readout = flax_readout(width, rngs)
        self.activation = activation

    def __call__(self, x):
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.readout(x)


class FlaxResidual(nnx.Module):
    def __init__(self, width, rngs):
        self.first = flax_dense(10, width, rngs)
        self.inner, self.outer = (flax_dense(width, width, rngs) for _ in range(2))
        self.norm = nnx.LayerNorm(
            width, epsilon=1e-12, use_bias=False, use_scale=False, param_dtype=jnp.float64, rngs=rngs
        )
        self.readout = flax_readout(width, rngs)

    def __call__(self, x):
        h = self.first(x)
        h = h + self.outer(nnx.relu(self.inner(nnx.relu(h))))
        return self.readout(nnx.relu(self.norm(h)))


class FlaxCNN(nnx.Module):
    def __init__(self, width, flatten, rngs):
        second = {"strides": (2, 2)} if flatten else {}
        third = {"padding": "VALID"} if flatten else {}
        self.first = flax_conv(3, width, rngs)
        self.second = flax_conv(width, width, rngs, **second)
        self.third = flax_conv(width, width, rngs, **third)
        self.readout = flax_readout(4 * width if flatten else width, rngs)
        self.flatten = flatten

    def __call__(self, x):
        h = nnx.relu(self.second(nnx.relu(self.first(x))))
        if self.flatten:
            return self.readout(nnx.relu(self.third(h)).ravel())
        h = nnx.relu(self.third(nnx.avg_pool(h[None], (2, 2), (2, 2))[0]))
        return self.readout(h.mean((0, 1)))


# --- equinox: weights drawn anew through `tree_at` ----------------------------------------------------------------------------


def redrawn(layer, gain, bias_std, key):
    """The layer with weights of variance gain/fan_in and biases of variance bias_std²."""
    k1, k2 = jax.random.split(key)
    weight = normal(k1, layer.weight.shape, gain / math.prod(layer.weight.shape[1:]))
    layer = eqx.tree_at(lambda m: m.weight, layer, weight)
    if layer.bias is None:
        return layer
    return eqx.tree_at(lambda m: m.bias, layer, normal(k2, layer.bias.shape, bias_std**2))


def eqx_dense(inputs, width, key):
    return redrawn(eqx.nn.Linear(inputs, width, key=key), 2.0, 0.3, jax.random.fold_in(key, 1))


def eqx_conv(inputs, width, key, **kwargs):
    return redrawn(eqx.nn.Conv2d(inputs, width, 3, key=key, **kwargs), 2.0, 0.1, jax.random.fold_in(key, 1))


def eqx_readout(inputs, key):
    return redrawn(eqx.nn.Linear(inputs, 1, use_bias=False, key=key), 1.0, 0.0, jax.random.fold_in(key, 1))


class EquinoxMLP(eqx.Module):
    layers: list
    readout: eqx.nn.Linear
    activation: object

    def __init__(self, width, activation, key):
        keys = jax.random.split(key, 4)
        self.layers = [eqx_dense(10 if i == 0 else width, width, keys[i]) for i in range(3)]
        self.readout = eqx_readout(width, keys[3])
        self.activation = activation

    def __call__(self, x):
        for layer in self.layers:
            x = self.activation(layer(x))
        return self.readout(x)


class EquinoxResidual(eqx.Module):
    first: eqx.nn.Linear
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    readout: eqx.nn.Linear

    def __init__(self, width, key):
        keys = jax.random.split(key, 4)
        self.first = eqx_dense(10, width, keys[0])
        self.inner, self.outer = (eqx_dense(width, width, k) for k in keys[1:3])
        self.norm = eqx.nn.LayerNorm(width, eps=1e-12, use_weight=False, use_bias=False)
        self.readout = eqx_readout(width, keys[3])

    def __call__(self, x):
        h = self.first(x)
        h = h + self.outer(relu(self.inner(relu(h))))
        return self.readout(relu(self.norm(h)))


class EquinoxCNN(eqx.Module):
    """Channels first, as equinox has them."""

    convolutions: list
    pool: eqx.nn.AvgPool2d
    readout: eqx.nn.Linear
    flatten: bool = eqx.field(static=True)

    def __init__(self, width, flatten, key):
        keys = jax.random.split(key, 4)
        second = {"stride": 2} if flatten else {}
        self.convolutions = [
            eqx_conv(3, width, keys[0], padding="SAME"),
            eqx_conv(width, width, keys[1], padding="SAME", **second),
            eqx_conv(width, width, keys[2], padding="VALID" if flatten else "SAME"),
        ]
        self.pool = eqx.nn.AvgPool2d(2, 2)
        self.readout = eqx_readout(4 * width if flatten else width, keys[3])
        self.flatten = flatten

    def __call__(self, x):
        h = jnp.transpose(x, (2, 0, 1))
        for convolution in self.convolutions[:2]:
            h = relu(convolution(h))
        if self.flatten:
            return self.readout(relu(self.convolutions[2](h)).ravel())
        return self.readout(relu(self.convolutions[2](self.pool(h))).mean((1, 2)))


# --- the golden networks, by name and spelling --------------------------------------------------------------------------------


def _mlp_spellings(activation):
    return {
        "plain": lambda: mlp(activation),
        "flax": lambda: wl.from_flax(lambda width, rngs: FlaxMLP(width, activation, rngs)),
        "equinox": lambda: wl.from_equinox(lambda width, key: EquinoxMLP(width, activation, key)),
    }


def _cnn_spellings(plain, flatten):
    return {
        "plain": plain,
        "flax": lambda: wl.from_flax(lambda width, rngs: FlaxCNN(width, flatten, rngs)),
        "equinox": lambda: wl.from_equinox(lambda width, key: EquinoxCNN(width, flatten, key)),
    }


GOLDEN = {f"mlp_{name}": _mlp_spellings(fn) for name, fn in ACTIVATIONS.items()} | {
    "resmlp_ln": {
        "plain": residual_mlp,
        "flax": lambda: wl.from_flax(FlaxResidual),
        "equinox": lambda: wl.from_equinox(EquinoxResidual),
    },
    "cnn_flatten": _cnn_spellings(cnn_flatten, True),
    "cnn_gap": _cnn_spellings(cnn_pooled, False),
}


def relative(got, expected):
    return np.abs(np.asarray(got) - expected).max() / np.abs(expected).max()


def golden_errors(reference, name, spelling):
    """The largest deviation of NNGP and NTK from the reference, relative to its largest entry."""
    prefix = "I" if name.startswith("cnn") else "X"
    x1, x2 = reference[f"{prefix}1"], reference[f"{prefix}2"]
    kernels = wl.limit(GOLDEN[name][spelling](), x1[0])(x1, x2)
    return tuple(relative(getattr(kernels, kind), reference[f"{name}/{kind}"]) for kind in ("nngp", "ntk"))

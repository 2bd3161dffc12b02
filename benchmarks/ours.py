"""widelimit's side: the networks as ordinary JAX functions. Started by run.py."""

from __future__ import annotations

import math
import sys

import jax
import jax.numpy as jnp
from cases import AveragePool, Conv, Dense, Flatten, GlobalAveragePool, Pointwise, Repeat
from worker import serve

import widelimit as wl

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": lambda x: jax.nn.gelu(x, approximate=False)}


def init_dense(layer, key, shape, *, width):
    return _weights(layer, key, (math.prod(shape), width)), (width,)


def init_conv(layer, key, shape, *, width):
    return _weights(layer, key, (layer.taps, layer.taps, shape[-1], width)), (*shape[:-1], width)


def _weights(layer, key, shape):
    weight_key, bias_key = jax.random.split(key)
    weight = {"w": jax.random.normal(weight_key, shape)}
    return {**weight, "b": jax.random.normal(bias_key, shape[-1:])} if layer.bias_std else weight


def init_repeat(layer, key, shape, *, width):
    """One stack of weights a layer: the loop's leading axis is that of the repetitions."""
    keys = jax.random.split(key, layer.times)
    stacked = jax.vmap(lambda key: init_layers(layer.layers, key, shape, width=width)[0])(keys)
    return stacked, shape


def apply_dense(layer, p, x):
    y = layer.weight_std / math.sqrt(p["w"].shape[0]) * (x @ p["w"])
    return y + layer.bias_std * p["b"] if "b" in p else y


def apply_conv(layer, p, x):
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x[None], p["w"], (1, 1), "SAME", dimension_numbers=dimensions)[0]
    y = layer.weight_std / math.sqrt(math.prod(p["w"].shape[:-1])) * y
    return y + layer.bias_std * p["b"] if "b" in p else y


def apply_pool(layer, p, x):
    window = (layer.size, layer.size, 1)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, "VALID") / layer.size**2


def apply_repeat(layer, p, x):
    return jax.lax.scan(lambda x, p: (apply_layers(layer.layers, p, x), None), x, p)[0]


def _no_weights(shape_after):
    return lambda layer, key, shape, *, width: ({}, shape_after(layer, shape))


def _pooled(layer, shape):
    return (shape[0] // layer.size, shape[1] // layer.size, shape[2])


INIT = {
    Dense: init_dense,
    Conv: init_conv,
    Pointwise: _no_weights(lambda layer, shape: shape),
    AveragePool: _no_weights(_pooled),
    GlobalAveragePool: _no_weights(lambda layer, shape: shape[-1:]),
    Flatten: _no_weights(lambda layer, shape: (math.prod(shape),)),
    Repeat: init_repeat,
}

APPLY = {
    Dense: apply_dense,
    Conv: apply_conv,
    Pointwise: lambda layer, p, x: ACTIVATIONS[layer.name](x),
    AveragePool: apply_pool,
    GlobalAveragePool: lambda layer, p, x: jnp.mean(x, axis=(0, 1)),
    Flatten: lambda layer, p, x: x.reshape(-1),
    Repeat: apply_repeat,
}


def init_layers(layers, key, shape, *, width):
    """The parameters of a sequence of layers, one dict a layer, and the shape of its output."""
    params = []
    for layer, layer_key in zip(layers, jax.random.split(key, len(layers)), strict=True):
        p, shape = INIT[type(layer)](layer, layer_key, shape, width=width)
        params.append(p)
    return params, shape


def apply_layers(layers, params, x):
    for layer, p in zip(layers, params, strict=True):
        x = APPLY[type(layer)](layer, p, x)
    return x


def network(case):
    """`init(key, width)` and `apply(params, x)` of a case; the readout has one output."""
    *hidden, readout = case.layers

    def init(key, width):
        hidden_key, readout_key = jax.random.split(key)
        params, shape = init_layers(hidden, hidden_key, case.input_shape, width=width)
        return [*params, init_dense(readout, readout_key, shape, width=1)[0]]

    def apply(params, x):
        return apply_layers(case.layers, params, x)

    return init, apply


def build(case, x):
    """A function that runs the compiled kernel, NNGP and NTK in one call, on the inputs already on the device."""
    x = jnp.asarray(x)
    kernel = wl.limit(wl.Network(*network(case)), x[0])

    def run():
        result = kernel(x)
        return jax.block_until_ready((result.nngp, result.ntk))

    return run


if __name__ == "__main__":
    serve(build, versions=lambda: {"jax": jax.__version__, "python": sys.version.split()[0]})

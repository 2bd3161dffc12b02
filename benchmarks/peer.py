"""The peer's side: neural-tangents, in its own interpreter (see environment.py). Started by run.py.

Importing `neural_tangents` runs its `__init__`, which imports TensorFlow for one experimental function. Only
`neural_tangents.stax` is timed, so the package is entered by that door: its path is known, its `__init__` not run.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings

import jax
import jax.numpy as jnp
from cases import AveragePool, Conv, Dense, Flatten, GlobalAveragePool, Pointwise, Repeat
from worker import serve


def _stax():
    spec = importlib.util.find_spec("neural_tangents")
    package = types.ModuleType("neural_tangents")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["neural_tangents"] = package
    return importlib.import_module("neural_tangents.stax")


stax = _stax()


def _tanh():
    """The peer has no tanh: its way is its two-dimensional Gauss-Hermite rule, 25 nodes a side as in its documentation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return stax.ElementwiseNumerical(jnp.tanh, deg=25)


ACTIVATIONS = {"relu": stax.Relu, "gelu": stax.Gelu, "tanh": _tanh}


def _dense(layer):
    return stax.Dense(1, W_std=layer.weight_std, b_std=layer.bias_std or None)


def _conv(layer):
    taps = (layer.taps, layer.taps)
    return stax.Conv(1, taps, padding="SAME", W_std=layer.weight_std, b_std=layer.bias_std or None)


def _pool(layer):
    return stax.AvgPool((layer.size, layer.size), strides=(layer.size, layer.size))


LAYERS = {
    Dense: _dense,
    Conv: _conv,
    Pointwise: lambda layer: ACTIVATIONS[layer.name](),
    AveragePool: _pool,
    GlobalAveragePool: lambda layer: stax.GlobalAvgPool(),
    Flatten: lambda layer: stax.Flatten(),
    Repeat: lambda layer: stax.repeat(serial(layer.layers), layer.times),
}


def serial(layers):
    """The stax triple of a sequence of layers."""
    return stax.serial(*(LAYERS[type(layer)](layer) for layer in layers))


def build(case, x):
    """A function that runs the jitted kernel, NNGP and NTK in one call, on the inputs already on the device."""
    _, _, kernel_fn = serial(case.layers)
    jitted = jax.jit(lambda x: kernel_fn(x, None, ("nngp", "ntk")))
    x = jnp.asarray(x)
    return lambda: jax.block_until_ready(tuple(jitted(x)))


if __name__ == "__main__":
    serve(build, versions=lambda: {"jax": jax.__version__, "python": sys.version.split()[0]})

"""σ_W² E[∂Z^y/∂Ẑ^{Wx}], the coefficient of Z^x in Ż^{Wᵀy} (Tensor Programs III, ZDot): a mean of derivatives of samples.

Z^y is a function of the program's draws; all but W x are held, those of the same matrix too.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from widelimit import program as tp
from widelimit.particles._operations import Arrays, pull_back
from widelimit.particles._plan import Plan
from widelimit.particles._taps import Use


def slope(x: tp.Slope, plan: Plan, arrays: Arrays) -> Array:
    """At all inputs: (inputs, *positions of y, *positions of W x), or the same positions of both."""
    found: list[Array] = []

    def at_use(use: Use, adjoint: Array) -> None:
        if use is x.by:
            found.append(adjoint.mean(2))

    pull_back(tp.steps(x.of), arrays, {id(x.of): _directions(x, arrays[id(x.of)])}, at_use)
    if not found:
        return jnp.zeros((len(arrays[id(x.of)]), *x.shape), arrays[id(x.of)].dtype)
    value = found[0] * (plan.parameters[x.by.weight.path].variance * x.factor)
    return value[0] if x.matched else jnp.moveaxis(value, 0, 1).reshape(value.shape[1], *x.shape)


def _directions(x: tp.Slope, samples: Array) -> Array:
    """The cotangents (directions, inputs, particles, *positions of y): all positions at once where each depends on its own."""
    if x.matched:
        return jnp.ones((1, *samples.shape), samples.dtype)
    size = math.prod(x.of.shape)
    units = jnp.eye(size, dtype=samples.dtype).reshape(size, 1, 1, *x.of.shape)
    return jnp.broadcast_to(units, (size, *samples.shape))

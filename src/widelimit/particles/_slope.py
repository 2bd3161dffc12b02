"""σ_W² E[∂Z^y/∂Ẑ^{Wx}], the coefficient of Z^x in Ż^{Wᵀy} (Tensor Programs III, ZDot): a mean of derivatives of samples.

Z^y is a function of the program's draws; all but W x are held, those of the same matrix too.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from widelimit import program as tp
from widelimit.particles._operations import Arrays, forward, pull_back
from widelimit.particles._plan import Plan
from widelimit.particles._taps import Use

_STEP = 0.05  # of the argument's deviation, by which it is moved to find jumps


def slope(x: tp.Slope, plan: Plan, arrays: Arrays) -> Array:
    """At all inputs: (inputs, *positions of y, *positions of W x), or the same positions of both."""
    return _derivative(x, arrays) * (plan.parameters[x.by.weight.path].variance * x.factor)


def _derivative(x: tp.Slope, arrays: Arrays) -> Array:
    """E[∂Z^y/∂Ẑ^{Wx}]."""
    found: list[Array] = []

    def at_use(use: Use, adjoint: Array) -> None:
        if use is x.by:
            found.append(adjoint.mean(2))

    samples = arrays[id(x.of)]
    pull_back(tp.steps(x.of), arrays, {id(x.of): _directions(x, samples)}, at_use)
    if not found:
        return jnp.zeros((len(samples), *x.shape), samples.dtype)
    return found[0][0] if x.matched else jnp.moveaxis(found[0], 0, 1).reshape(-1, *x.shape)


def _directions(x: tp.Slope, samples: Array) -> Array:
    """The cotangents (directions, inputs, particles, *positions of y): all positions at once where each depends on its own."""
    if x.matched:
        return jnp.ones((1, *samples.shape), samples.dtype)
    size = math.prod(x.of.shape)
    units = jnp.eye(size, dtype=samples.dtype).reshape(size, 1, 1, *x.of.shape)
    return jnp.broadcast_to(units, (size, *samples.shape))


def jump(x: tp.Slope, arrays: Arrays) -> Array:
    """How far the derivative is from the difference quotient, beside the size of Z^y: it does not see jumps."""
    samples, deviation = arrays[id(x.of)], jnp.sqrt(jnp.mean(arrays[id(x.by)] ** 2))
    step = _STEP * deviation
    quotient = (_moved(x, arrays, step) - _moved(x, arrays, -step)).mean(1) / (2 * step)
    derivative = _derivative(x, arrays)
    summed = derivative.reshape(*quotient.shape, -1).sum(-1)
    return jnp.abs(quotient - summed).max() * deviation / jnp.sqrt(jnp.mean(samples**2))


def _moved(x: tp.Slope, arrays: Arrays, step: Array) -> Array:
    """Z^y with all positions of W x moved."""
    arrays = {**arrays, id(x.by): arrays[id(x.by)] + step}
    moving = {id(x.by)}
    for v in tp.steps(x.of):
        if isinstance(v, tp.Value) and not isinstance(v, Use) and any(id(p) in moving for p in v.parts):
            moving.add(id(v))
            arrays[id(v)] = forward(v, arrays, step.dtype)
    return arrays[id(x.of)]

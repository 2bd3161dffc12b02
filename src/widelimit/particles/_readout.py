"""From the readout to the output, which is a linear image of it: f_p = Σ J_p g + mean, exactly and without sampling."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit import program as tp
from widelimit.particles._forward import Forward
from widelimit.particles._operations import Arrays, cast, operation
from widelimit.particles._taps import Use


@dataclasses.dataclass(frozen=True)
class Readout:
    """The output's mean (inputs, P), and its derivatives in each use of the readout, (inputs, P, *positions), P outputs."""

    mean: Array
    jacobians: list[Array]


def readout(forward: Forward) -> Readout:
    plan, dtype = forward.plan, forward.dtype
    known = {
        id(o): forward.arrays[id(o)] if id(o) in forward.arrays else forward._known(o)
        for v in plan.linear
        for o in _known_operands(v)
    }
    fixed = {k: a for k, a in known.items() if isinstance(a, np.ndarray)}
    moving = {k: a for k, a in known.items() if k not in fixed}

    def outputs(leaves: list[Array], at_input: Arrays) -> Array:
        arrays = {**fixed, **at_input, **{id(u): a for u, a in zip(plan.readout, leaves, strict=True)}}
        for v in plan.linear:
            arrays[id(v)] = _evaluated(v, arrays, dtype)
        return arrays[id(plan.output)].reshape(-1)

    zeros = [jnp.zeros(u.shape, dtype) for u in plan.readout]
    size = forward.count
    mean = _at_inputs(lambda a: outputs(zeros, a), moving, size)
    jacobians = _at_inputs(lambda a: jax.jacrev(lambda leaves: outputs(leaves, a))(zeros), moving, size)
    return Readout(mean.reshape(size, math.prod(plan.output.shape)), jacobians)


def _at_inputs(fn: Callable[[Arrays], Any], moving: Arrays, size: int) -> Any:
    return jax.vmap(lambda at, _: fn(at))(moving, jnp.arange(size))


def _known_operands(v: tp.Value) -> list[tp.Known]:
    if isinstance(v, tp.Given):
        return [v.known]
    if isinstance(v, Use):
        return []
    return [o for o in operation(v)[1] if isinstance(o, tp.Known)]


def _evaluated(v: tp.Value, arrays: Arrays, dtype: jnp.dtype) -> Array:
    match v:
        case tp.MatMul() | tp.Vector() | tp.Fluctuation():
            return arrays[id(v)]
        case tp.Given():
            return jnp.broadcast_to(cast(arrays[id(v.known)], dtype), v.shape)
    fn, operands = operation(v)
    return jnp.broadcast_to(cast(fn(*(arrays[id(o)] for o in operands)), dtype), v.shape)

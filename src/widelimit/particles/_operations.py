"""What each step of the program does to one particle at one input, and its transpose.

Arrays hold a random variable's samples as (inputs, particles, *positions), what the example determines as
(inputs, *positions), or as it is where no input enters.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit import program as tp
from widelimit.particles._taps import patches

Node = tp.Value | tp.Known
Arrays = dict[int, Any]  # by the identity of the value or known array


def operation(v: tp.Value) -> tuple[Callable[..., Any], tuple[Node, ...]]:
    """The function of one particle at one input, and its operands."""
    match v:
        case tp.Sum():
            return (lambda *terms: functools.reduce(operator.add, terms)), v.terms
        case tp.Product():
            return (lambda *factors: functools.reduce(operator.mul, factors)), v.factors
        case tp.Scaled():
            return operator.mul, (v.known, v.h)
        case tp.Pointwise():
            return v.fn, v.operands
        case tp.Image():
            return _mapped(v)
        case tp.Depthwise():
            return functools.partial(_filtered, v), (v.filter, v.h)
    raise TypeError(type(v).__name__)


def _mapped(v: tp.Image) -> tuple[Callable[..., Any], tuple[Node, ...]]:
    matrices = [m.matrix for m in v.maps if m.matrix is not None]

    def fn(h: Array, *arrays: Array) -> Array:
        at = dict(zip(map(id, matrices), arrays, strict=True))
        return tp.apply_maps(h, v.maps, lambda matrix: at[id(matrix)])

    return fn, (v.h, *matrices)


def _filtered(g: tp.Depthwise, w: Array, h: Array) -> Array:
    """Σ_k w_k h_{s,k}: the filter's axes are (k, independent)."""
    order = sorted(range(len(g.independent)), key=lambda n: g.independent[n])
    w = jnp.transpose(w, [*(1 + n for n in order), 0])
    shape = [n if i in g.independent else 1 for i, n in enumerate(g.shape)]
    return jnp.sum(w.reshape(*shape, -1) * patches(g, h), -1)


def forward(v: tp.Value, arrays: Arrays, dtype: Any) -> Array:
    """All particles at all inputs."""
    fn, operands = operation(v)
    return _everywhere(fn, operands, v.shape, dtype)(*(arrays[id(o)] for o in operands))


def backward(v: tp.Value, arrays: Arrays, cotangent: Array) -> list[tuple[tp.Value, Array]]:
    """The cotangents (…, inputs, particles, *positions) of the operands that a derivative is taken in."""
    fn, operands = operation(v)
    found = [arrays[id(o)] for o in operands]
    moving = [i for i, o in enumerate(operands) if isinstance(o, tp.Value) and is_real(found[i])]
    if not moving:
        return []

    def of_moving(*values: Array) -> Array:
        given = dict(zip(moving, values, strict=True))
        return everywhere(*(given.get(i, a) for i, a in enumerate(found)))

    everywhere = _everywhere(fn, operands, v.shape, cotangent.dtype)
    _, pull = jax.vjp(of_moving, *(found[i] for i in moving))
    return list(zip([operands[i] for i in moving], jax.vmap(pull)(cotangent), strict=True))


def pull_back(
    steps: Sequence[Node], arrays: Arrays, adjoints: dict[int, Array], at_use: Callable[[tp.Value, Array], None]
) -> None:
    """Take adjoints back through the steps, to the draws that they come to; `adjoints` is used up, and may be added to meanwhile."""
    for step in reversed(steps):
        if id(step) not in adjoints:
            continue
        adjoint = adjoints.pop(id(step))
        if isinstance(step, tp.MatMul | tp.Vector | tp.Fluctuation):
            at_use(step, adjoint)
        elif not isinstance(step, tp.Given | tp.Profile):
            for operand, part in backward(step, arrays, adjoint):
                add(adjoints, operand, part)


def add(adjoints: dict[int, Array], v: tp.Value, part: Array) -> None:
    adjoints[id(v)] = adjoints[id(v)] + part if id(v) in adjoints else part


def is_real(a: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(a), jnp.floating)


def _everywhere(fn: Callable[..., Any], operands: Sequence[Node], shape: tuple[int, ...], dtype: Any) -> Callable:
    def one(*arrays: Any) -> Array:
        return jnp.broadcast_to(cast(fn(*arrays), dtype), shape)

    def every(*arrays: Any) -> Array:
        particles = [0 if isinstance(o, tp.Value) else None for o in operands]
        return over_inputs(jax.vmap(one, particles), arrays)

    return every


def over_inputs(fn: Callable[..., Any], arrays: Sequence[Any]) -> Array:
    """`fn` at each input; numbers of the program itself, held as NumPy arrays, are the same at all of them."""
    return jax.vmap(fn, [None if isinstance(a, np.ndarray) else 0 for a in arrays])(*arrays)


def cast(a: Any, dtype: Any) -> Array:
    a = jnp.asarray(a)
    return a.astype(dtype) if is_real(a) else a


def known(x: tp.Known, arrays: Arrays, inputs: Sequence[Array], dtype: Any) -> Any:
    """What the example determines, at all inputs."""
    match x:
        case tp.Constant():
            return np.asarray(x.value)
        case tp.Input():
            return cast(inputs[x.index].reshape(-1, *x.shape), dtype)
        case tp.Apply():
            return _applied(x, [arrays[id(a)] for a in x.args], dtype)
        case tp.Moment():
            return _moment(x, arrays)
    raise TypeError(type(x).__name__)


def _applied(x: tp.Apply, found: Sequence[Any], dtype: Any) -> Any:
    fixed = all(isinstance(a, np.ndarray) for a in found)
    if fixed:
        with jax.ensure_compile_time_eval():
            return np.asarray(cast(x.fn(*found), dtype))
    return over_inputs(lambda *a: cast(x.fn(*a), dtype), found)


def _moment(x: tp.Moment, arrays: Arrays) -> Array:
    """θ = E Z^left Z^right: a mean over the particles."""
    left = arrays[id(x.left)]
    if x.right is None:
        return jnp.broadcast_to(left.mean(1), (len(left), *x.shape))
    right, rank = arrays[id(x.right)], len(x.left.shape)
    free = iter(range(2 + rank, 2 + rank + len(x.match)))
    labels = [next(free) if m is None else 2 + m for m in x.match]
    mine = [2 + i for i in range(rank)]
    result = [0, *mine, *(k for k in labels if k >= 2 + rank)]
    return jnp.einsum(left, [0, 1, *mine], right, [0, 1, *labels], result) / left.shape[1]

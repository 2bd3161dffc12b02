"""Which of the two ways to a tangent kernel is taken, and in tiles of what size."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._jacobian import contraction, products

# multiply-adds in the time it takes to write and read one number of a Jacobian that does not fit the cache; measured 150 on
# a two-core CPU, and of this size wherever arithmetic is two orders of magnitude faster than memory
_TRAFFIC = 100


class Plan(NamedTuple):
    """`method` runs on tiles of at most `examples` by `examples`."""

    method: Callable[..., Any]
    examples: int


class Sizes(NamedTuple):
    """Of one network: parameters, arranged outputs (F, R), multiply-adds of one forward pass, bytes of a number."""

    parameters: int
    finite: int
    replicas: int
    forward: float | int
    itemsize: int


def plan(sizes: Sizes, n1: int, n2: int, memory: float | int) -> Plan:
    """The cheaper way, of those that fit `memory` bytes.

    Contraction makes N Jacobians of F R rows, at a backward pass and P numbers of memory traffic each, and multiplies
    them: N1 N2 F² R P. The products take N2 F R backward passes, each with P numbers of traffic, and N1 forward
    products for each.
    """
    outputs = sizes.finite * sizes.replicas
    # a tile holds two Jacobians, and the backward pass that makes each holds about as much again
    fits = int(memory // (4 * outputs * sizes.parameters * sizes.itemsize))
    traffic = _TRAFFIC * sizes.parameters
    contracting = (n1 + n2) * outputs * (
        sizes.forward + traffic / 2
    ) + n1 * n2 * sizes.finite * outputs * sizes.parameters
    multiplying = n2 * outputs * (3 * n1 * sizes.forward + traffic / 2)
    if fits >= 1 and contracting <= multiplying:
        return Plan(contraction, fits)
    return Plan(products, _products_examples(sizes, memory))


def _products_examples(sizes: Sizes, memory: float | int) -> int:
    # activations of one example are bounded by its multiply-adds, but are far fewer: one number for each 8 is generous
    return max(1, int(memory // (sizes.itemsize * max(1.0, sizes.forward / 8))))


def measure(function: Callable, params: PyTree, leaves: Mapping[str, Any], example: PyTree) -> Sizes:
    """Sizes read from shapes alone, for the kernel of `leaves`; `function(params, x)` gives the arranged output."""
    output = jax.eval_shape(function, params, example)
    parameters = sum(prod(leaf.shape) for leaf in leaves.values())
    itemsize = max(jnp.dtype(leaf.dtype).itemsize for leaf in leaves.values())
    return Sizes(parameters, *output.shape, max(parameters, _forward(function, params, example)), itemsize)


def _forward(function: Callable, params: PyTree, example: PyTree) -> float | int:
    """Multiply-adds by XLA's own count, 0 where it does not count."""
    cost = jax.jit(function).lower(params, example).cost_analysis() or {}
    return cost.get("flops", 0.0) / 2

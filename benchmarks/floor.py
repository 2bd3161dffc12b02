"""What this machine's memory and arithmetic cost, in the same JAX: the floor under every kernel program."""

from __future__ import annotations

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

SIZES = (250_000, 4_000_000)  # a tile that stays in cache, an array that does not: the cheaper one is the floor


class Cost(NamedTuple):
    """Seconds of CPU (all threads) and of wall time for one element or one multiply-add."""

    cpu: float
    wall: float


def costs() -> dict:
    """{"pass": a fused elementwise pass, an element; "gemm": a matrix product, a multiply-add}, each a `Cost`."""
    return {"pass": _cheapest(elementwise_pass(size) for size in SIZES)._asdict(), "gemm": gemm()._asdict()}


@jax.jit
def _one_pass(covariance, tangent):
    """Two arrays read, two written, a few multiplications: the traffic of one layer's NNGP and NTK."""
    return covariance * (0.5 + 0.25 * covariance), covariance + tangent * (0.5 - 0.25 * covariance)


def elementwise_pass(size: int) -> Cost:
    """The cost of one element of covariance and tangent, float32."""
    arrays = jnp.full(size, 0.5, jnp.float32), jnp.full(size, 0.25, jnp.float32)
    return _per_unit(lambda: _one_pass(*arrays), units=size)


def gemm(side: int = 2000) -> Cost:
    """The cost of one multiply-add in a product of two `side` × `side` float32 matrices."""
    a = jnp.full((side, side), 0.5, jnp.float32)
    product = jax.jit(lambda a: a @ a.T)
    return _per_unit(lambda: product(a), units=side**3)


def _per_unit(function, *, units: int, samples: int = 7, seconds: float = 0.05) -> Cost:
    jax.block_until_ready(function())
    once = _timed(function, 1)
    repeats = max(1, round(seconds / once.wall))
    best = _cheapest(_timed(function, repeats) for _ in range(samples))
    return Cost(best.cpu / units, best.wall / units)


def _timed(function, repeats: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        jax.block_until_ready(function())
    return Cost((time.process_time() - cpu) / repeats, (time.perf_counter() - wall) / repeats)


def _cheapest(found) -> Cost:
    """The least CPU and the least wall time seen: a floor must not rise because the machine was busy."""
    found = list(found)
    return Cost(min(cost.cpu for cost in found), min(cost.wall for cost in found))

"""Bringing arrays of one side into the axes of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array

if TYPE_CHECKING:
    from widelimit.limit._request import Request


def free_axes(match: tuple[int | None, ...]) -> list[int]:
    """The axes of v that are asked for at all positions."""
    return [i for i, m in enumerate(match) if m is None]


def into(a: Array | None, r: Request) -> Array | None:
    """An array over the axes of u, broadcastable against the result."""
    if a is None or a.ndim == 0:
        return a
    return a.reshape(*a.shape, *[1] * len(free_axes(r.match)))


def right_into(a: Array | None, r: Request) -> Array | None:
    """An array over the axes of v, broadcastable against the result."""
    if a is None or a.ndim == 0:
        return a
    return placed(a, len(r.u.shape), r.match)


def placed(a: Array, rank_u: int, match: tuple[int | None, ...]) -> Array:
    """Axes of v as those of u they are matched with; the others after the `rank_u` axes of u."""
    free = free_axes(match)
    targets = [rank_u + free.index(i) if m is None else m for i, m in enumerate(match)]
    order = sorted(range(a.ndim), key=lambda i: targets[i])
    shape = [1] * (rank_u + len(free))
    for i, t in enumerate(targets):
        shape[t] = a.shape[i]
    return jnp.transpose(a, order).reshape(shape)


def outer(a: Array | None, b: Array | None, r: Request) -> Array | None:
    """The product of an array of each side."""
    if a is None or b is None:
        return None
    return jnp.broadcast_to(into(a, r) * right_into(b, r), r.shape)


def diagonal_of(a: Array | None, r: Request, split: frozenset[int]) -> Array | None:
    """From all positions of the axes `split` of v to those of the axes of u they are matched with."""
    if a is None:
        return None
    rank_u = len(r.u.shape)
    wide_match = tuple(None if i in split else m for i, m in enumerate(r.match))
    labels = list(range(rank_u)) + [r.match[i] if i in split else rank_u + i for i in free_axes(wide_match)]
    result = list(range(rank_u)) + [rank_u + i for i in free_axes(r.match)]
    return jnp.einsum(a, labels, result)

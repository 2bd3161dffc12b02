"""Known arrays that vary along the width (positional codes, rotary angles): mean over the coordinates of their products.

A profile g(i) has no randomness: in a product E[Π g_k Π h_l] = E_i[Π g_k] E[Π h_l], the h_l being iid along the width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit import program as tp
from widelimit.limit._fuse import fused
from widelimit.limit._labels import free_axes
from widelimit.limit._request import Request


def mean_of(profile: tp.Profile, dtype: Any) -> Array:
    return jnp.asarray(profile.limit(a.mean(-1) for a in profile.arrays), dtype)


def moment_of(left: Sequence[tp.Profile], right: Sequence[tp.Profile], r: Request, dtype: Any) -> Array:
    """E_i[Π left Π right] in the axes of the request."""
    first, count = (*left, *right)[0], len((*left, *right)[0].arrays)
    rank, match = len(r.u.shape), r.match
    coordinate = rank + len(match)
    labels = [rank + i if m is None else m for i, m in enumerate(match)]
    result = [*range(rank), *(rank + i for i in free_axes(match))]
    values = []
    for k in range(count):
        a, b = (_product(profiles, k, v.shape) for profiles, v in ((left, r.u), (right, r.v)))
        size = first.arrays[k].shape[-1]
        values.append(np.einsum(a, [*range(rank), coordinate], b, [*labels, coordinate], result) / size)
    return jnp.asarray(first.limit(values), dtype)


def _product(profiles: Sequence[tp.Profile], k: int, shape: tuple[int, ...]) -> np.ndarray:
    total = np.ones((*[1] * len(shape), 1))
    for profile in profiles:
        total = total * profile.arrays[k]
    return np.broadcast_to(total, (*shape, total.shape[-1])) if profiles else np.ones((*shape, 1))


def profiled(recursion: Any, left: Sequence[tp.Value], right: Sequence[tp.Value], r: Request) -> Array | None:
    """E[Π left Π right] with profiles among the factors, or in sums among them, which are taken apart."""
    sides = [list(left), list(right)]
    for side, factors in enumerate(sides):
        for i, f in enumerate(factors):
            if tp.has_profile(f) and not isinstance(f, tp.Profile):
                if not isinstance(f, tp.Sum | tp.Scaled):
                    fused((f,))  # which says that no nonlinearity may meet it
                return recursion._distributed((side, i), *sides, r)
    profiles = [[f for f in factors if isinstance(f, tp.Profile)] for factors in sides]
    rest = [[f for f in factors if not isinstance(f, tp.Profile)] for factors in sides]
    value = moment_of(*profiles, r, recursion.dtype)
    if not any(rest):
        return value
    other = recursion.product(*rest, r)
    return None if other is None else value * other

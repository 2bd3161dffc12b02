"""Gram matrices of any size from the kernel of a pair: tiles, the symmetric half, a bound on memory."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit.limit._stages import staged

Pair = Callable[[list[Array], list[Array]], tuple[Array, ...]]

_AHEAD = 2  # tiles begun before the oldest one is waited for
_CACHE_BYTES = 2**20  # an intermediate array of a tile: about half a core's share of cache
_LINE = 64  # bytes
_LIVE = 8 * (1 + _AHEAD)  # intermediate arrays of the largest size that are alive at once


@dataclasses.dataclass(eq=False)
class Gram:
    """Tiles of a Gram matrix. Every tile has the same shape (the last ones are filled up), so one program serves all."""

    pair: Pair
    output_rank: int
    budget: float

    def _tile(self, x1: list[Array], x2: list[Array]) -> list[Array]:
        """All pairs of two lists of inputs, in stages compiled for their shape."""
        made = vars(self).setdefault("_staged", {})
        key = tuple((a.shape, a.dtype) for a in (*x1, *x2))
        if key not in made:
            pair, count = self._program(tuple((a.shape[1:], a.dtype) for a in x1)), len(x1)

            def evaluate(a: list[Array], b: list[Array]) -> list[Array]:
                return jax.core.eval_jaxpr(pair.jaxpr, pair.consts, *a, *b)

            def tile(*leaves: Array) -> list[Array]:
                pairs = jax.vmap(jax.vmap(evaluate, (None, 0)), (0, None))
                return pairs(list(leaves[:count]), list(leaves[count:]))

            made[key] = staged(tile, *x1, *x2)
        return made[key](*x1, *x2)

    @functools.cached_property
    def _row(self) -> Callable:
        return jax.jit(jax.vmap(self.pair))

    def matrix(self, x1: list[Array], x2: list[Array] | None, *, progress: bool = False) -> tuple[Array, ...]:
        """All pairs; with x2 None the symmetric matrix of x1, of which half is computed."""
        symmetric, x2 = x2 is None, x1 if x2 is None else x2
        n1, n2 = x1[0].shape[0], x2[0].shape[0]
        side = self.side(x1, n1, n2)
        blocks = [(i, j) for i in range(0, n1, side) for j in range(0, n2, side) if not symmetric or i <= j]
        results: list[np.ndarray] | None = None
        for (i, j), tile in _ahead(blocks, lambda i, j: self._tile(_rows(x1, i, side), _rows(x2, j, side)), progress):
            results = results or [_aligned((n1, n2, *t.shape[2:]), t.dtype) for t in tile]
            for whole, part in zip(results, tile, strict=True):
                self._fill(whole, np.asarray(part), (i, j), symmetric)
        # Nobody else holds the buffers, so JAX may have them as they are.
        return tuple(jax.device_put(r, may_alias=True) for r in results or ())

    def _fill(self, whole: np.ndarray, part: np.ndarray, at: tuple[int, int], symmetric: bool) -> None:
        (i, j), (n1, n2) = at, whole.shape[:2]
        part = part[: n1 - i, : n2 - j]
        if symmetric and i == j:
            upper = np.triu(np.ones(part.shape[:2], bool)).reshape(*part.shape[:2], *[1] * (part.ndim - 2))
            part = np.where(upper, part, self._mirrored(part))
        whole[i : i + part.shape[0], j : j + part.shape[1]] = part
        if symmetric and i != j:
            whole[j : j + part.shape[1], i : i + part.shape[0]] = self._mirrored(part)

    def _mirrored(self, part: np.ndarray) -> np.ndarray:
        """K(x', x): the inputs and the output axes of both sides exchanged."""
        a = self.output_rank
        return part.transpose(1, 0, *range(2 + a, 2 + 2 * a), *range(2, 2 + a))

    def diagonal(self, x: list[Array]) -> tuple[Array, ...]:
        n = x[0].shape[0]
        step = max(1, min(n, self.side(x, n, n) ** 2))
        parts = [self._row(_rows(x, i, step), _rows(x, i, step)) for i in range(0, n, step)]
        return tuple(jnp.concatenate(p)[:n] for p in zip(*parts, strict=True))

    def side(self, x: list[Array], n1: int, n2: int) -> int:
        """The side of a tile: small enough for cache and for the memory budget."""
        numbers = self._largest(tuple((a.shape[1:], a.dtype) for a in x))
        itemsize = max(a.dtype.itemsize for a in x)
        pairs = min(_CACHE_BYTES / (numbers * itemsize), self.budget * 2**30 / (_LIVE * numbers * itemsize))
        return int(max(1, min(math.isqrt(max(1, int(pairs))), 512, max(n1, n2))))

    def _largest(self, structs: tuple) -> int:
        """The numbers in the largest array that a pair makes."""
        program = self._program(structs)
        inputs = {math.prod(shape) for shape, _ in structs}
        sizes = [math.prod(v.aval.shape) for eqn in program.jaxpr.eqns for v in eqn.outvars if hasattr(v.aval, "shape")]
        return max([1, *(s for s in sizes if s not in inputs)])

    def _program(self, structs: tuple) -> Any:
        """The pair's kernel, traced once for these shapes."""
        made = vars(self).setdefault("_programs", {})
        if structs not in made:
            leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in structs]
            made[structs] = jax.make_jaxpr(self.pair)(leaves, leaves)
        return made[structs]


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory on a cache line's border, which JAX then takes over without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def _rows(x: list[Array], start: int, count: int) -> list[Array]:
    """`count` rows from `start`; past the end the last row is repeated."""
    n = x[0].shape[0]
    if start + count <= n:
        return [a[start : start + count] for a in x]
    index = jnp.minimum(jnp.arange(start, start + count), n - 1)
    return [a[index] for a in x]


def _ahead(blocks: list[Any], compute: Callable[..., Any], progress: bool) -> Iterator[tuple[Any, Any]]:
    """The blocks with their tiles, of which the next is begun before the last one is waited for."""
    waiting: collections.deque[tuple[Any, Any]] = collections.deque()
    for block in _watched(blocks, progress):
        waiting.append((block, compute(*block)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting


def _watched(blocks: list[Any], progress: bool) -> Iterator[Any]:
    if not progress:
        yield from blocks
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("`progress=True` needs tqdm: pip install 'widelimit[progress]'") from error
    with contextlib.closing(tqdm(blocks, desc="kernel tiles", unit="tile")) as bar:
        yield from bar

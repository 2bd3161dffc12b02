"""Gram matrices of any size from the kernel of a pair: tiles, the symmetric half, a bound on memory."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from widelimit import gaussian, trace
from widelimit._progress import bar
from widelimit.limit._inputs import is_on_host
from widelimit.limit._stages import Staged, staged

Pair = Callable[[list[Array], list[Array]], tuple[Array, ...]]

_AHEAD = 2  # tiles begun before the oldest one is waited for
_CACHE_BYTES = 2**20  # an intermediate array of a tile: about half a core's share of cache
_LINE = 64  # bytes
_LONGEST = 512  # the longest side of a tile
_STEP = 32  # between sides of large tiles
_TILE_NUMBERS = 2**14  # what starting a tile costs, in numbers computed
_KEPT = 1 / 8  # of the memory budget, for what depends on the inputs of one side alone
_LIVE = 8 * (1 + _AHEAD)  # intermediate arrays of the largest size that are alive at once


@dataclasses.dataclass(eq=False)
class Gram:
    """Tiles of a Gram matrix. Every tile has the same shape (the last ones are filled up), so one program serves all.

    `renew` has rules of integration chosen anew where laws that tiles met need it, and tells how often that was done: kernels
    share functions, so another may have done it too.
    """

    pair: Pair
    output_rank: int
    budget: float
    renew: Callable[[], int]

    def __post_init__(self) -> None:
        # Until an entry is met that needs the slow rules of integration, programs are compiled without them.
        self._deferred: gaussian.Deferred | None = gaussian.Deferred()
        self._generation = 0  # of the rules that programs were traced with

    def _staged(self, structs: Sequence[tuple], side: int) -> Staged:
        """The kernel of all pairs of two lists of inputs, in stages compiled for their shapes."""
        made = vars(self).setdefault("_compiled", {})
        key = (tuple(structs), side, self._deferred)
        if key not in made:
            program = self.program(structs)
            with gaussian.deferring(self._deferred):
                made[key] = staged(program, (side, side))
        return made[key]

    @functools.cached_property
    def _row(self) -> Callable:
        return jax.jit(jax.vmap(functools.partial(self.pair)))

    def matrix(self, x1: list[Array], x2: list[Array] | None, *, progress: bool = False) -> tuple[Array, ...]:
        """All pairs; with x2 None the symmetric matrix of x1, of which half is computed."""
        self._drop_old_rules()
        symmetric, x2 = x2 is None, x1 if x2 is None else x2
        n1, n2 = x1[0].shape[0], x2[0].shape[0]
        side = self.side(x1, n1, n2, symmetric)
        blocks = [(i, j) for i in range(0, n1, side) for j in range(0, n2, side) if not symmetric or i <= j]
        results: list[np.ndarray] = []
        while blocks:
            blocks = self._tiles(blocks, (x1, x2), side, (results, symmetric), progress)
        # Nobody else holds the buffers, so JAX may have them as they are.
        return tuple(jax.device_put(r, may_alias=True) for r in results)

    def _tiles(
        self, blocks: list, inputs: tuple, side: int, into: tuple[list[np.ndarray], bool], progress: bool
    ) -> list:
        """Compute tiles into the matrices; returns the tiles that are left, where one needs other rules."""
        (x1, x2), (results, symmetric) = inputs, into
        shape = x1[0].shape[0], x2[0].shape[0]
        kernel = self._staged([(a.shape[1:], a.dtype) for a in x1], side)
        left = _Blocks(kernel, x1, side, trace.LEFT, self.budget)
        alike = symmetric and left.is_mirrored
        right = left.mirrored if alike else _Blocks(kernel, x2, side, trace.RIGHT, self.budget)
        for n, (at, tile) in enumerate(_ahead(blocks, lambda i, j: kernel(left(i), right(j)), progress)):
            parts = [np.asarray(t) for t in tile]
            if self._is_outgrown():
                return blocks[n:]
            if not results:
                results += [_aligned((*shape, *t.shape[2:]), t.dtype) for t in tile]
            for whole, part in zip(results, parts, strict=True):
                self._fill(whole, part, at, symmetric)
        jax.effects_barrier()
        return blocks if self._is_outgrown() else []

    def _is_outgrown(self) -> bool:
        """Whether a tile met what its program has no rules for: the next will have them."""
        unresolved = self._deferred is not None and self._deferred.met
        if unresolved:
            self._deferred = None
        return self._drop_old_rules() or unresolved

    def _drop_old_rules(self) -> bool:
        """Forget what was traced and compiled, if rules have been chosen anew since; whether that was so."""
        before, self._generation = self._generation, self.renew()
        if self._generation == before:
            return False
        for made in ("_compiled", "_programs", "_row"):
            vars(self).pop(made, None)
        return True

    def _fill(self, whole: np.ndarray, part: np.ndarray, at: tuple[int, int], symmetric: bool) -> None:
        """Write a tile, and what mirrors it; a tile on the diagonal is made its own mirror image."""
        (i, j), (n1, n2) = at, whole.shape[:2]
        part = part[: n1 - i, : n2 - j]
        rows, columns = slice(i, i + part.shape[0]), slice(j, j + part.shape[1])
        whole[rows, columns] = part
        if symmetric and i != j:
            whole[columns, rows] = self._mirrored(part)
        elif symmetric:
            whole[rows, columns] = (part + self._mirrored(part)) / 2

    def _mirrored(self, part: np.ndarray) -> np.ndarray:
        """K(x', x): the inputs and the output axes of both sides exchanged."""
        a = self.output_rank
        return part.transpose(1, 0, *range(2 + a, 2 + 2 * a), *range(2, 2 + a))

    def diagonal(self, x: list[Array]) -> tuple[Array, ...]:
        self._drop_old_rules()
        n = x[0].shape[0]
        step = max(1, min(n, self.side(x, n, n) ** 2))
        parts = [self._row(_rows(x, i, step), _rows(x, i, step)) for i in range(0, n, step)]
        found = tuple(jnp.concatenate(p)[:n] for p in zip(*parts, strict=True))
        jax.effects_barrier()
        return self.diagonal(x) if self._is_outgrown() else found

    def side(self, x: list[Array], n1: int, n2: int, symmetric: bool = False) -> int:
        """The side of a tile: small enough for cache and for the memory budget, and such that little is computed in vain."""
        numbers = self._largest(tuple((a.shape[1:], a.dtype) for a in x))
        itemsize = max(a.dtype.itemsize for a in x)
        room = (1 - 2 * _KEPT) * self.budget * 2**30 / _LIVE
        pairs = min(_CACHE_BYTES, room) / (numbers * itemsize)
        limit = int(max(1, min(math.isqrt(max(1, int(pairs))), _LONGEST, max(n1, n2))))

        def work(side: int) -> tuple[int, int]:
            tiles = _tiles(n1, n2, side, symmetric)
            return tiles * (side * side * numbers + _TILE_NUMBERS), -side

        return min(_sides(limit), key=work)

    def _largest(self, structs: tuple) -> int:
        """The numbers in the largest array that a pair makes."""
        program = self.program(structs)
        inputs = {math.prod(shape) for shape, _ in structs}
        sizes = [math.prod(v.aval.shape) for eqn in program.jaxpr.eqns for v in eqn.outvars if hasattr(v.aval, "shape")]
        return max([1, *(s for s in sizes if s not in inputs)])

    def program(self, structs: Sequence[tuple]) -> Any:
        """The kernel of a pair of inputs of these shapes and dtypes, traced once."""
        made = vars(self).setdefault("_programs", {})
        shapes = tuple((tuple(shape), np.dtype(dtype)) for shape, dtype in structs)
        key = (shapes, self._deferred)
        if key not in made:
            leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
            with gaussian.deferring(self._deferred):
                # JAX keeps what it traced of a function; rules chosen anew make another of it
                made[key] = jax.make_jaxpr(functools.partial(self.pair))(leaves, leaves)
        return made[key]


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory on a cache line's border, which JAX then takes over without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def _sides(limit: int) -> list[int]:
    """Sides of a tile that are tried.

    Large ones come in steps, so that few shapes are compiled, and are odd multiples of a cache line, as rows a power of two
    apart share their place in a cache.
    """
    least = (limit + 1) // 2
    if limit < 8 * _STEP:
        return list(range(least, limit + 1))
    return [s for s in range(_STEP // 2, limit + 1, _STEP) if s >= least]


def _tiles(n1: int, n2: int, side: int, symmetric: bool) -> int:
    rows, columns = -(-n1 // side), -(-n2 // side)
    return rows * (rows + 1) // 2 if symmetric else rows * columns


class _Blocks:
    """The inputs of a side in blocks: with all that depends on them alone, kept, where that takes a small part of the budget."""

    def __init__(self, kernel: Staged, x: list[Array], length: int, side: int, budget: float) -> None:
        self.kernel, self.x, self.length, self.side = kernel, x, length, side
        self.small = kernel.alone_bytes(side) * x[0].shape[0] <= _KEPT * budget * 2**30
        self.kept: dict[int, Any] = {}

    @property
    def is_mirrored(self) -> bool:
        """Whether what is kept of the left side serves the right one too."""
        return self.small and self.kernel.is_mirrored

    def mirrored(self, start: int) -> Any:
        """The same inputs on the other side."""
        return self.kernel.mirrored(self(start))

    def __call__(self, start: int) -> Any:
        if not self.small:
            return _rows(self.x, start, self.length)
        if start not in self.kept:
            self.kept[start] = self.kernel.alone(_rows(self.x, start, self.length), self.side)
        return self.kept[start]


def _rows(x: list[Array], start: int, count: int) -> list[Array]:
    """`count` rows from `start`; past the end the last row is repeated."""
    return [_taken(a, np.minimum(np.arange(start, start + count), a.shape[0] - 1)) for a in x]


def _taken(a: Array, rows: np.ndarray) -> Array:
    """Rows of an array. On the host NumPy takes them: there is nothing to compile for each number of them."""
    return jnp.asarray(np.asarray(a)[rows]) if is_on_host(a) else a[rows]


def _ahead(blocks: list[Any], compute: Callable[..., Any], progress: bool) -> Iterator[tuple[Any, Any]]:
    """The blocks with their tiles, of which the next is begun before the last one is waited for."""
    waiting: collections.deque[tuple[Any, Any]] = collections.deque()
    for block in bar(blocks, desc="kernel tiles", unit="tile") if progress else blocks:
        waiting.append((block, compute(*block)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting

"""Which random bits the entries of an array were drawn from: equal keys give equal bits, wherever they are used."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import jax
import numpy as np


class Entries:
    """The bits behind each entry of an array, as numbers made only when asked for.

    `keys` are the keys drawn with; `distinct` says that no two entries share bits without looking.
    """

    def __init__(self, make: Callable[[], np.ndarray], keys: frozenset[bytes], distinct: bool) -> None:
        self._make = make
        self.keys = keys
        self._distinct = distinct

    @functools.cached_property
    def numbers(self) -> np.ndarray:
        return np.asarray(self._make())

    def moved(self, fn: Callable[[np.ndarray], np.ndarray], *, keeps: bool) -> Entries:
        """The entries after a rearrangement; `keeps` where it repeats none."""
        return Entries(lambda: fn(self.numbers), self.keys, self._distinct and keeps)

    @property
    def distinct(self) -> bool:
        return self._distinct or len(np.unique(self.numbers)) == self.numbers.size

    def overlaps(self, other: Entries) -> bool:
        return bool(self.keys & other.keys) and bool(np.intersect1d(self.numbers, other.numbers).size)


def joined(parts: Sequence[Entries], fn: Callable[..., np.ndarray]) -> Entries:
    """The entries of several arrays put together by `fn`."""
    keys = frozenset().union(*(p.keys for p in parts))
    return Entries(lambda: fn(*(p.numbers for p in parts)), keys, False)


class Ledger:
    """Numbers for the bits of each key, handed out in the order in which the key yields them."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, np.ndarray] = {}
        self._used = 0

    def draw(self, keys: jax.Array, shape: tuple[int, ...]) -> Entries:
        """The entries of bits of the shape from each of the keys: of shape keys.shape + shape."""
        data = np.asarray(jax.random.key_data(keys))
        names = [row.tobytes() for row in data.reshape(-1, data.shape[-1])]

        def make() -> np.ndarray:
            blocks = [self._block(name, math.prod(shape)) for name in names]
            return np.concatenate(blocks or [np.zeros(0, np.int32)]).reshape((*keys.shape, *shape))

        return Entries(make, frozenset(names), len(set(names)) == len(names))

    def _block(self, name: bytes, count: int) -> np.ndarray:
        block = self._blocks.get(name, np.zeros(0, np.int32))
        more = max(count - len(block), 0)
        block = np.concatenate([block, np.arange(self._used, self._used + more, dtype=np.int32)])
        self._used += more
        self._blocks[name] = block
        return block[:count]

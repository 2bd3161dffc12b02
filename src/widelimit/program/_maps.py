"""Linear maps on the finite axes of a value: tensor products of maps on disjoint groups of axes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from jax import Array, lax
from jax import numpy as jnp

_FEW_TAPS = 9  # of two windows of 3


@dataclasses.dataclass(frozen=True)
class AxisMap:
    """One factor: it takes the axes `inputs` to the axes `outputs`.

    `fn(array)` acts on the leading axes of an array (sizes of `inputs` in, sizes of `outputs` out; whatever
    trails is carried along); with a `matrix` (a `Known`, evaluated for each example) it is `fn(array, matrix)`.
    A *selection* reads at most one input position for each output position, so the diagonal of A K Aᵀ needs only
    the diagonal of K; other maps mix positions. Two maps with equal `key` (and the same matrix) are the same map.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    key: Hashable
    fn: Callable[..., Array] | None = dataclasses.field(default=None, compare=False)
    selection: bool = True
    matrix: Any = None

    @property
    def is_identity(self) -> bool:
        return self.fn is None


def keep(source: int, target: int) -> AxisMap:
    return AxisMap((source,), (target,), "identity")


def spread(target: int, size: int) -> AxisMap:
    """A new axis along which the value repeats."""
    return AxisMap((), (target,), ("spread", size), lambda a: jnp.broadcast_to(a, (size, *a.shape)))


def reshaped(
    inputs: tuple[int, ...], outputs: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]
) -> AxisMap:
    def fn(a: Array) -> Array:
        return a.reshape(*after, *a.shape[len(before) :])

    return AxisMap(inputs, outputs, ("reshape", before, after), fn)


def summed(axis: int) -> AxisMap:
    return AxisMap((axis,), (), "sum", lambda a: a.sum(0), selection=False)


def taken(axis: int, target: int | None, start: int, limit: int, stride: int = 1) -> AxisMap:
    """The positions start, start + stride, … below limit; `target=None` takes the single position and drops the axis."""

    def fn(a: Array) -> Array:
        part = lax.slice_in_dim(a, start, limit, stride, axis=0)
        return part[0] if target is None else part

    return AxisMap((axis,), () if target is None else (target,), ("take", start, limit, stride, target is None), fn)


def picked(axis: int, target: int, indices: tuple[int, ...]) -> AxisMap:
    """The positions listed, in their order (−1: a zero)."""
    index = jnp.asarray([max(i, 0) for i in indices])
    dead = any(i < 0 for i in indices)

    def fn(a: Array) -> Array:
        part = a[index]
        if not dead:
            return part
        alive = jnp.asarray([i >= 0 for i in indices]).reshape(-1, *[1] * (a.ndim - 1))
        return jnp.where(alive, part, jnp.zeros((), a.dtype))

    return AxisMap((axis,), (target,), ("pick", indices), fn)


Places = Any  # flat positions: a tuple of numbers, or a known array


def read(
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
    places: Places,
    gap: float | None = 0.0,
) -> AxisMap:
    """The position `places` (counted flat) of the inputs at each of the outputs; −1 gives `gap`, None says there is none."""
    before, after = sizes

    def fn(a: Array, index: Any = places) -> Array:
        index, rest = jnp.asarray(index, int).reshape(-1), a.shape[len(before) :]
        part = a.reshape(-1, *rest)[jnp.maximum(index, 0)]
        if gap is not None:
            part = jnp.where((index >= 0).reshape(-1, *[1] * len(rest)), part, jnp.asarray(gap, a.dtype))
        return part.reshape(*after, *rest)

    if isinstance(places, tuple):
        gap = gap if min(places, default=0) < 0 else None
        return AxisMap(inputs, outputs, ("read", before, after, places, gap), fn)
    return AxisMap(inputs, outputs, ("read", before, after, id(places), gap), fn, matrix=places)


def added(
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
    places: Places,
) -> AxisMap:
    """Every position is added to the position `places` (counted flat; −1: none) of the outputs; the transpose of `read`."""
    before, after = sizes

    def fn(a: Array, index: Any = places) -> Array:
        index, rest = jnp.asarray(index, int).reshape(-1), a.shape[len(before) :]
        total = math.prod(after)
        index = jnp.where(index < 0, total, index)
        sums = jnp.zeros((total, *rest), a.dtype).at[index].add(a.reshape(-1, *rest), mode="drop")
        return sums.reshape(*after, *rest)

    if isinstance(places, tuple):
        return AxisMap(inputs, outputs, ("add", before, after, places), fn, selection=False)
    return AxisMap(inputs, outputs, ("add", before, after, id(places)), fn, selection=False, matrix=places)


def padded(axis: int, target: int, low: int, high: int, interior: int = 0) -> AxisMap:
    def fn(a: Array) -> Array:
        rest = [(0, 0, 0)] * (a.ndim - 1)
        return lax.pad(a, jnp.zeros((), a.dtype), [(low, high, interior), *rest])

    return AxisMap((axis,), (target,), ("pad", low, high, interior), fn)


def reversed_(axis: int, target: int) -> AxisMap:
    return AxisMap((axis,), (target,), "reverse", lambda a: jnp.flip(a, 0))


def mixed(
    inputs: tuple[int, ...], outputs: tuple[int, ...], matrix: Any, fn: Callable[[Array, Array], Array], key: Hashable
) -> AxisMap:
    """A linear map whose matrix is known from the example (attention weights) or constant (an adjacency matrix)."""
    return AxisMap(inputs, outputs, key, fn, selection=False, matrix=matrix)


@dataclasses.dataclass(frozen=True)
class Window:
    """A window sliding along one axis: of a convolution or a pooling."""

    size: int
    stride: int = 1
    low: int = 0
    high: int = 0
    dilation: int = 1
    base_dilation: int = 1

    def length(self, n: int) -> int:
        padded_length = (n - 1) * self.base_dilation + 1 + self.low + self.high
        return (padded_length - (self.size - 1) * self.dilation - 1) // self.stride + 1

    @property
    def trivial(self) -> bool:
        return self == Window(1)

    def tap(self, a: Array, axis: int, k: int, length: int) -> Array:
        """The entries that tap k of the window reads, one for each of its `length` positions."""
        start = k * self.dilation
        return lax.slice_in_dim(a, start, start + (length - 1) * self.stride + 1, self.stride, axis=axis)

    def reads(self, n: int) -> list[tuple[int, ...]]:
        """For each tap the position of n that it reads at each of the window's places (−1: in the padding)."""
        return [
            tuple(self._source(o * self.stride + k * self.dilation, n) for o in range(self.length(n)))
            for k in range(self.size)
        ]

    def _source(self, place: int, n: int) -> int:
        source, between = divmod(place - self.low, self.base_dilation)
        return -1 if between or not 0 <= source < n else source

    def pad(self, a: Array, axis: int) -> Array:
        return _padded(a, [(self, (axis,))])

    def sum(self, a: Array, *axes: int) -> Array:
        """Σ_k over the taps, reading all `axes` at the same tap: Σ_k S_k a, or Σ_k S_k a S_kᵀ for two axes."""
        return sum_of_taps(a, [(self, axes)])


def sum_of_taps(a: Array, windows: Sequence[tuple[Window, tuple[int, ...]]]) -> Array:
    """Σ over the taps of several windows, each reading its own axes at the same tap.

    A few taps in all are read from one padded array; many window by window, each of them a pass over memory.
    """
    if len(windows) > 1 and math.prod(window.size for window, _ in windows) > _FEW_TAPS:
        return functools.reduce(lambda a, one: sum_of_taps(a, [one]), windows, a)
    lengths = [[window.length(a.shape[i]) for i in axes] for window, axes in windows]
    a = _padded(a, windows)

    def read(taps: tuple[int, ...]) -> Array:
        part = a
        for (window, axes), k, sizes in zip(windows, taps, lengths, strict=True):
            for axis, length in zip(axes, sizes, strict=True):
                part = window.tap(part, axis, k, length)
        return part

    return functools.reduce(jnp.add, map(read, itertools.product(*(range(window.size) for window, _ in windows))))


def _padded(a: Array, windows: Sequence[tuple[Window, tuple[int, ...]]]) -> Array:
    config = [(0, 0, 0)] * a.ndim
    for window, axes in windows:
        for axis in axes:
            config[axis] = (window.low, window.high, window.base_dilation - 1)
    return a if config == [(0, 0, 0)] * a.ndim else lax.pad(a, jnp.zeros((), a.dtype), config)


def pooled(axis: int, target: int, window: Window) -> AxisMap:
    return AxisMap((axis,), (target,), ("pool", window), lambda a: window.sum(a, 0), selection=window.size == 1)


def apply_maps(a: Array, maps: tuple[AxisMap, ...], evaluate: Callable[[Any], Array]) -> Array:
    """Apply a tensor product of maps to the leading axes of an array; `evaluate` gives the maps' matrices."""
    n_in = sum(len(m.inputs) for m in maps)
    labels: list[Any] = [("in", i) for i in range(n_in)] + [("rest", i) for i in range(a.ndim - n_in)]
    for m in maps:
        old, new = [("in", i) for i in m.inputs], [("out", o) for o in m.outputs]
        if m.is_identity:
            labels[labels.index(old[0])] = new[0]
            continue
        others = [label for label in labels if label not in old]
        a = jnp.transpose(a, [labels.index(label) for label in old + others])
        a = m.fn(a) if m.matrix is None else m.fn(a, evaluate(m.matrix))
        labels = new + others
    n_out = sum(len(m.outputs) for m in maps)
    target = [("out", i) for i in range(n_out)] + [label for label in labels if label[0] == "rest"]
    return jnp.transpose(a, [labels.index(label) for label in target])


def is_identity(maps: tuple[AxisMap, ...]) -> bool:
    return all(m.is_identity and m.inputs == m.outputs for m in maps)

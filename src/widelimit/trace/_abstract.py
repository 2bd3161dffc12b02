"""Abstract values: what an array of the network's code is, in the limit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from widelimit.program import Known, Value
from widelimit.trace._scale import Scale

Sizes = tuple[int, ...]  # a dimension's size at each of the widths traced


@dataclasses.dataclass(frozen=True)
class Axis:
    """A factor of an array's dimension: a finite axis (positions), or *copies*: iid coordinates, wide or replicas.

    Copies are `shared` where a factor of the value repeats along them (the attention weights of a head, along the
    coordinates inside it): coordinates are then iid along the other copies only.
    """

    sizes: Sizes
    copies: bool
    shared: bool = False

    @property
    def wide(self) -> bool:
        return len(set(self.sizes)) > 1

    @property
    def size(self) -> int:
        return self.sizes[0]


Layout = tuple[tuple[Axis, ...], ...]  # for each dimension its axes, slowest first; a dimension of size one has none


def axes(layout: Layout) -> list[Axis]:
    return [axis for dim in layout for axis in dim]


def finite_shape(layout: Layout) -> tuple[int, ...]:
    """The positions: the sizes of the finite axes in their order, which is the order of the value's axes."""
    return tuple(a.size for a in axes(layout) if not a.copies)


def copies(layout: Layout) -> list[Axis]:
    return [a for a in axes(layout) if a.copies]


def finite_axes(layout: Layout, dim: int) -> list[int]:
    """Which of the value's axes lie in a dimension."""
    start = sum(not a.copies for d in layout[:dim] for a in d)
    return list(range(start, start + sum(not a.copies for a in layout[dim])))


def sizes_of(dim: Sequence[Axis], count: int) -> Sizes:
    return tuple(math.prod(a.sizes[i] for a in dim) for i in range(count))


def dims(shapes: Sequence[Sequence[int]]) -> list[Sizes]:
    """An array's dimensions from its shapes at each width."""
    return [tuple(map(int, s)) for s in zip(*shapes, strict=True)]  # numbers of NumPy occur among them


def plain(shapes: Sequence[tuple[int, ...]], *, copies_everywhere: bool = False) -> Layout:
    """One axis a dimension: copies where the size changes with the width (or everywhere)."""
    return tuple(() if set(s) == {1} else (Axis(s, copies_everywhere or len(set(s)) > 1),) for s in dims(shapes))


@dataclasses.dataclass(frozen=True, eq=False)
class Concrete:
    """Numbers that do not depend on example or parameters: their values at each width."""

    values: tuple[np.ndarray, ...]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [v.shape for v in self.values]


@dataclasses.dataclass(frozen=True, eq=False)
class Det:
    """n^exponent times an array that the example determines; constant along copies."""

    known: Known
    layout: Layout
    exponent: Fraction = Fraction(0)


@dataclasses.dataclass(frozen=True, eq=False)
class Wide:
    """n^exponent times a random vector of the Tensor Program: `value` over the finite axes of the layout, iid along the copies."""

    value: Value
    layout: Layout
    exponent: Fraction = Fraction(0)


@dataclasses.dataclass(frozen=True, eq=False)
class Parameter:
    """What the limit needs to know of a parameter: iid entries with this mean, variance and learning rate.

    `variance` and `rate` are coefficients of n^exponent: of the two as the code holds them, the one of lower order is 0.
    """

    path: str
    kind: str
    mean: Scale
    variance: float
    rate: float
    exponent: Fraction


@dataclasses.dataclass(frozen=True, eq=False)
class Leaf:
    """A parameter (or part of it) not yet combined with anything: iid entries, times `scale`.

    `labels` name, for each dimension, the axes of the parameter that it runs over (none: it repeats along it);
    `block` is the history of slices.
    """

    parameter: Parameter
    labels: tuple[tuple[Any, ...], ...]
    sizes: tuple[Sizes, ...]
    scale: Scale
    block: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Segmented:
    """A concatenation along a dimension whose parts are of different kinds, sizes or laws."""

    parts: tuple[Any, ...]
    dim: int
    lengths: tuple[Sizes, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Modulated:
    """A parameter times factors, entry by entry, whose product with a vector is yet to come: g · v / |v|, v · h.

    All have one rank; a factor may have size one, or be constant, along dimensions of the parameter.
    """

    leaf: Leaf
    factors: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Randomness:
    """A random key or what is drawn from it while the network is applied."""


class Refusal(ValueError):
    """The network, or a step of it, has no limit that widelimit can give; the message says where, why and what to write."""


class ScalingRefusal(Refusal):
    """Something grows or vanishes with the width."""

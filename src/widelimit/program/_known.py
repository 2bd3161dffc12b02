"""What is computed from the example alone: the scalars (C-variables) of a Tensor Program and the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from widelimit.program._maps import AxisMap
    from widelimit.program._value import MatMul, Value


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """An array that is deterministic given the example; `shape` is that of the array."""

    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Input(Known):
    """Leaf number `index` of the example."""

    index: int


@dataclasses.dataclass(frozen=True, eq=False)
class Constant(Known):
    value: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Apply(Known):
    """`fn` of other known arrays."""

    fn: Callable[..., Any]
    args: tuple[Known, ...]
    name: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Mapped(Apply):
    """The image of a known array (the first argument) under maps on positions."""

    maps: tuple[AxisMap, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Moment(Known):
    """θ = E[Z^left Z^right] (right None: E Z^left), the limit of a mean over a wide axis.

    The axes of `left` come first; `match` gives, for each axis of `right`, the axis of `left` it is read at the
    same position with, or None; unmatched axes of `right` follow.
    """

    left: Value
    right: Value | None = None
    match: tuple[int | None, ...] = ()
    where: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Slope(Known):
    """σ_W² E[∂Z^of/∂Ẑ^by] for `by` = W x: the coefficient of Z^x in Ż^{Wᵀ of} (Tensor Programs III, ZDot).

    It is what earlier products with a matrix leave in a product with its transpose; an engine that draws all products of a
    matrix jointly finds that part by itself, and reads zero here. `factor` holds the amplitudes of both
    uses; σ_W² is the variance of the entries. The axes of `of` come first, then those of `by`; where `matched`, both are
    read at the same positions, and only there is the derivative not zero.
    """

    of: Value
    by: MatMul
    factor: float
    matched: bool


def constant(value: Any) -> Constant:
    array = np.asarray(value)
    return Constant(array.shape, array)


def is_zero(known: Known) -> bool:
    return isinstance(known, Constant) and not np.any(known.value)


def apply(fn: Callable[..., Any], shape: tuple[int, ...], *args: Known, name: str = "") -> Known:
    """`fn` of known arrays, folded at once where all are constants."""
    if all(isinstance(a, Constant) for a in args):
        with jax.ensure_compile_time_eval():  # also while a kernel is being traced
            folded = np.asarray(fn(*(a.value for a in args)))
        return Constant(folded.shape, folded)
    return Apply(shape, fn, args, name)

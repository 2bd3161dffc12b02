"""Exponents of the width, noted while a network is read on where the limit would be refused.

A diagnosis asks how everything scales with the width, whatever that is. While it is noted, a value that grows or
vanishes goes on with its exponent: through a nonlinearity by the power law that its function follows there.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from widelimit import program as tp

_SCALES = (1e4, 1e6)  # widths at which a nonlinearity's power law is read
_DENOMINATOR = 6  # of its exponent
_DRAWS = 64


@dataclasses.dataclass(frozen=True)
class Product:
    """A use of a parameter: the exponents of the product's coordinates and of the vector it is applied to."""

    own: Fraction
    of: Fraction


@dataclasses.dataclass(frozen=True)
class Unsettled:
    """A random vector that enters a nonlinearity and is not of order one."""

    where: str
    value: tp.Value
    exponent: Fraction


@dataclasses.dataclass
class Exponents:
    """What was noted: products by their weight, exponents as values are read, terms of sums relative to the largest."""

    products: dict[int, Product] = dataclasses.field(default_factory=dict)
    read: dict[int, Fraction] = dataclasses.field(default_factory=dict)
    terms: dict[int, tuple[Fraction, ...]] = dataclasses.field(default_factory=dict)
    unsettled: list[Unsettled] = dataclasses.field(default_factory=list)
    output: Fraction = Fraction(0)
    kept: list[Any] = dataclasses.field(default_factory=list)  # what is noted by its identity must live on

    def note_product(self, weight: tp.Weight, own: Fraction, of: Fraction) -> None:
        self.products[id(weight)] = Product(own, of)
        self.kept.append(weight)

    def note_read(self, value: tp.Value, exponent: Fraction) -> None:
        """The exponent with which what a product or an initial vector became is read."""
        base = _base(value)
        if isinstance(base, tp.MatMul | tp.Vector):
            self.read[id(base)] = max(self.read.get(id(base), exponent), exponent)
            self.kept.append(base)

    def note_terms(self, sum_: tp.Value | tp.Known, offsets: Sequence[Fraction]) -> None:
        self.terms[id(sum_)] = tuple(offsets)
        self.kept.append(sum_)


_NOTED: contextvars.ContextVar[Exponents | None] = contextvars.ContextVar("exponents noted", default=None)


def noted() -> Exponents | None:
    """What is being noted, or None while a limit is read."""
    return _NOTED.get()


@contextlib.contextmanager
def noting() -> Iterator[Exponents]:
    """Read on where a limit would be refused for its scaling, and note all exponents."""
    exponents = Exponents()
    token = _NOTED.set(exponents)
    try:
        yield exponents
    finally:
        _NOTED.reset(token)


def note_read(*values: Any) -> None:
    """The exponents with which random vectors are read, where they are noted."""
    exponents = noted()
    for x in values if exponents is not None else ():
        if hasattr(x, "value"):
            exponents.note_read(x.value, x.exponent)


def note_use(weight: tp.Weight, own: Fraction, of: Fraction) -> None:
    """The exponents of what a use of a parameter makes, and of what it is applied to."""
    exponents = noted()
    if exponents is not None:
        exponents.note_product(weight, own, of)


def note_part(weight: tp.Weight, part: tp.Weight) -> tp.Weight:
    """The use of a part of a parameter, with the exponents of the whole."""
    exponents = noted()
    if exponents is not None and id(weight) in exponents.products:
        product = exponents.products[id(weight)]
        exponents.note_product(part, product.own, product.of)
    return part


def _base(value: tp.Value) -> tp.Value:
    while isinstance(value, tp.Image | tp.Scaled):
        value = value.h
    return value


def growth(fn: Callable[..., Any], exponents: Sequence[Fraction], shapes: Sequence[tuple[int, ...]]) -> Fraction:
    """The exponent of φ(n^{a₁} z₁, n^{a₂} z₂, …) for numbers z of order one, from its size at two widths."""
    if not any(exponents):
        return Fraction(0)
    rng = np.random.default_rng(0)
    z = [rng.standard_normal(s if any(shapes) else (_DRAWS,)) for s in shapes]
    sizes = [_size(fn, [row * n ** float(a) for row, a in zip(z, exponents, strict=True)]) for n in _SCALES]
    if not all(math.isfinite(s) and s > 0 for s in sizes):
        return max(exponents)
    slope = math.log(sizes[1] / sizes[0]) / math.log(_SCALES[1] / _SCALES[0])
    return Fraction(slope).limit_denominator(_DENOMINATOR)


def _size(fn: Callable[..., Any], arrays: Sequence[np.ndarray]) -> float:
    """The median of |φ|, which neither overflow nor a few draws change."""
    with jax.ensure_compile_time_eval():
        values = np.asarray(fn(*(np.asarray(a, np.float32) for a in arrays)))
    return float(np.median(np.abs(values.astype(np.float64))))

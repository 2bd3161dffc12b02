"""The wide vectors of a Tensor Program, each standing for its random variable Z at every finite position."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Hashable, Iterable
from fractions import Fraction
from typing import Any

from widelimit.program._known import Known
from widelimit.program._maps import AxisMap, Window


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A vector h whose coordinates are, in the limit, iid copies of Z^h; `shape` are its finite axes."""

    shape: tuple[int, ...]
    where: str

    @property
    def parts(self) -> tuple[Value, ...]:
        """The values it is made of."""
        return ()

    @functools.cached_property
    def is_gaussian(self) -> bool:
        """Whether Z is Gaussian, jointly with all other Gaussian values."""
        return all(p.is_gaussian for p in self.parts)

    @functools.cached_property
    def is_centred(self) -> bool:
        """Whether E Z = 0 by the structure of the program."""
        return all(p.is_centred for p in self.parts)


@dataclasses.dataclass(frozen=True, eq=False)
class Given(Value):
    """A deterministic vector: every coordinate is the known array."""

    known: Known

    is_centred = False


@dataclasses.dataclass(frozen=True, eq=False)
class Weight:
    """One use of a parameter: its path, which of its axes are contracted, and the block that is read.

    Entries are those of the parameter times `amplitude` (with its sign, so that W and −W are opposite); a MatMul's
    holds √(coordinates summed) too. Covariances between two uses are amplitude · amplitude' · c, with c the parameter's
    (cross-)covariance in the limit's units. `fan` counts the coordinates summed beside the finite axes, times n^`fan_exponent`
    (`is_averaged` where that is over a wide axis: the product is then Gaussian whatever the law of the entries).
    """

    path: str
    contracted: frozenset[Hashable]
    block: tuple[Hashable, ...]
    amplitude: float
    fan: float = 1.0
    fan_exponent: Fraction = Fraction(0)

    @property
    def is_averaged(self) -> bool:
        return self.fan_exponent > 0

    def same_entries(self, other: Weight) -> bool:
        return (self.path, self.contracted, self.block) == (other.path, other.contracted, other.block)

    def has_other_entries(self, other: Weight) -> bool:
        """Whether no entry is in both: another parameter, or blocks that lie apart."""
        differing = next(((x, y) for x, y in zip(self.block, other.block, strict=False) if x != y), None)
        if self.path != other.path or differing is None:
            return self.path != other.path
        x, y = differing
        return x[:-1] == y[:-1] and _lie_apart(x[-1], y[-1])


def _lie_apart(a: Any, b: Any) -> bool:
    """Two slices (start, limit, stride), with their bounds at each of the widths."""
    (start_a, limit_a, stride_a), (start_b, limit_b, stride_b) = a, b
    before = all(x <= y for x, y in zip(limit_a, start_b, strict=True))
    after = all(x <= y for x, y in zip(limit_b, start_a, strict=True))
    interleaved = stride_a == stride_b and all((x - y) % stride_a for x, y in zip(start_a, start_b, strict=True))
    return before or after or interleaved


@dataclasses.dataclass(frozen=True, eq=False)
class Vector(Value):
    """An initial vector drawn from the network's initialisation: a bias, an embedding; independent along its axes."""

    weight: Weight


@dataclasses.dataclass(frozen=True, eq=False)
class MatMul(Value):
    """g = W h, summed over h's copies and over its axes `contracted`; a convolution has a `window` for each axis kept.

    Cov(Z^g, Z^g') = c_W · amplitude · amplitude' · Σ E[Z^h Z^h'], the sum over contracted axes and over taps: W differs in each.
    Along the output axes `independent` the matrices are independent (δ between positions); the axes kept of h come
    first, the last ones may be new axes that only number matrices.
    """

    weight: Weight
    h: Value
    contracted: tuple[int, ...] = ()
    windows: tuple[Window, ...] = ()
    independent: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[Value, ...]:
        return (self.h,)

    is_gaussian = True
    is_centred = True


@dataclasses.dataclass(frozen=True, eq=False)
class Profile(Value):
    """A known vector that varies along the width: `arrays` (positions, coordinates) at several widths, `sizes` of the axis.

    Means over its coordinates are sums, whose limit as the width grows is extrapolated from those widths, by a polynomial in 1/n.
    """

    arrays: tuple[Any, ...]

    is_gaussian = False
    is_centred = False

    def limit(self, values: Iterable[Any]) -> Any:
        """The value at n = ∞ of the polynomial in 1/n through the values at the widths."""
        x = [1 / a.shape[-1] for a in self.arrays]
        weights = [math.prod(y / (y - z) for y in x if y != z) for z in x]
        return sum(w * v for w, v in zip(weights, values, strict=True))

    def mapped(self, fn: Callable[[Any], Any], shape: tuple[int, ...]) -> Profile:
        return Profile(shape, self.where, tuple(map(fn, self.arrays)))


@dataclasses.dataclass(frozen=True, eq=False)
class Fluctuation(Value):
    """G_i = m^{-1/2} Σ_j h_ij over the m → ∞ coordinates j inside a head i, of h centred and iid over both.

    By the central limit theorem the G_i are iid Gaussians, Cov(Z^G, Z^G') = E[Z^h Z^h'], independent of every other
    Gaussian (the logits of attention with many wide heads: Hron et al., Infinite attention, 2020).
    """

    h: Value

    @property
    def parts(self) -> tuple[Value, ...]:
        return (self.h,)

    is_gaussian = True
    is_centred = True


@dataclasses.dataclass(frozen=True, eq=False)
class Depthwise(Value):
    """g_α = Σ_κ w_{κα} h_{·+κ, α}, coordinate by coordinate: a depthwise convolution, whose filter is a vector a tap.

    `filter` has the axes (taps and `contracted`, `independent`). The other fields are those of a MatMul, and so are the
    second moments where h does not contain w: w is centred and independent of h, and another vector in each tap, along
    `contracted` and along `independent`. But g is a sum of products, Gaussian only given w or given h.
    """

    filter: Vector
    h: Value
    contracted: tuple[int, ...] = ()
    windows: tuple[Window, ...] = ()
    independent: tuple[int, ...] = ()

    @property
    def weight(self) -> Weight:
        return self.filter.weight

    @property
    def parts(self) -> tuple[Value, ...]:
        return (self.filter, self.h)

    is_gaussian = False

    @functools.cached_property
    def is_centred(self) -> bool:
        return self.is_apart_from(self.h)

    def is_apart_from(self, value: Value) -> bool:
        """Whether the filter does not stand in a value."""
        return all(self.weight.has_other_entries(w) for w in draws(value))


@dataclasses.dataclass(frozen=True, eq=False)
class Image(Value):
    """A finite-linear image: a map on positions."""

    h: Value
    maps: tuple[AxisMap, ...]

    @property
    def parts(self) -> tuple[Value, ...]:
        return (self.h,)


@dataclasses.dataclass(frozen=True, eq=False)
class Sum(Value):
    """LinComb: Σ terms."""

    terms: tuple[Value, ...]

    @property
    def parts(self) -> tuple[Value, ...]:
        return self.terms


@dataclasses.dataclass(frozen=True, eq=False)
class Scaled(Value):
    """A known multiple, position by position (the known array broadcasts against the positions)."""

    known: Known
    h: Value

    @property
    def parts(self) -> tuple[Value, ...]:
        return (self.h,)


@dataclasses.dataclass(frozen=True, eq=False)
class Pointwise(Value):
    """Nonlin: `fn` of values and known arrays, coordinate by coordinate."""

    fn: Callable[..., Any]
    operands: tuple[Value | Known, ...]
    name: str

    @property
    def parts(self) -> tuple[Value, ...]:
        return tuple(o for o in self.operands if isinstance(o, Value))

    is_gaussian = False
    is_centred = False


@dataclasses.dataclass(frozen=True, eq=False)
class Product(Value):
    """The product of values, coordinate by coordinate."""

    factors: tuple[Value, ...]

    @property
    def parts(self) -> tuple[Value, ...]:
        return self.factors

    @functools.cached_property
    def is_centred(self) -> bool:
        """Whether a factor is centred and independent of all others."""
        others = [[g for g in self.factors if g is not f] for f in self.factors]
        return any(
            f.is_centred and len(rest) == len(self.factors) - 1 and all(independent(f, g) for g in rest)
            for f, rest in zip(self.factors, others, strict=True)
        )

    is_gaussian = False


def draws(value: Value) -> list[Weight]:
    """The uses of parameters that Z is made of: those of its Gaussians."""
    found, stack = {id(value): value}, [value]
    while stack:
        v = stack.pop()
        parts = () if isinstance(v, MatMul | Vector) else v.parts
        stack += [p for p in parts if id(p) not in found]
        found.update((id(p), p) for p in parts)
    return [v.weight for v in found.values() if isinstance(v, MatMul | Vector)]


def independent(a: Value, b: Value) -> bool:
    """Whether Z^a and Z^b are independent by the structure of the program."""
    return all(x.has_other_entries(y) for x in draws(a) for y in draws(b))


def is_uncorrelated(a: Value, b: Value) -> bool:
    """Whether E[Z^a Z^b] = 0 by the structure of the program."""
    return (a.is_centred or b.is_centred) and independent(a, b)


def has_profile(value: Value) -> bool:
    """Whether a profile stands in a value, coordinate by coordinate."""
    made = vars(value)
    if "_has_profile" not in made:
        inside = () if value.is_gaussian else value.parts
        made["_has_profile"] = isinstance(value, Profile) or any(map(has_profile, inside))
    return made["_has_profile"]


def size(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


def is_stopped(value: Value) -> bool:
    """Whether a gradient is stopped in the nonlinear chain that a value ends."""
    made = vars(value)
    if "_stopped" not in made:
        here = isinstance(value, Pointwise) and value.name == "stop_gradient"
        made["_stopped"] = not value.is_gaussian and (here or any(map(is_stopped, value.parts)))
    return made["_stopped"]

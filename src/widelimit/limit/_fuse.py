"""Fusing: a coordinatewise chain of the program as one function of Gaussian values."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from widelimit import gaussian
from widelimit import program as tp


class FusionError(ValueError):
    """A value is no coordinatewise function of Gaussian ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fused:
    """A product of values as φ(bases; params): Gaussian bases, known params."""

    phi: gaussian.Pointwise
    bases: tuple[tp.Value, ...]
    params: tuple[tp.Known, ...]
    parts: tuple[tp.Value, ...]

    @functools.cached_property
    def has_jumps(self) -> bool:
        """Whether φ may be discontinuous: it is then differentiated almost everywhere, as backpropagation does."""
        used = {name for part in self.parts for name in _operations(part)}
        if not used & _JUMPING:
            return False
        known = len(self.bases) == 1 and not self.params and not used & _UNBOUNDED
        return bool(gaussian.jumps(self.phi, ())) if known else True


_UNBOUNDED = frozenset(("floor", "ceil", "round", "rem"))  # jumps without end, which are not searched for
_JUMPING = _UNBOUNDED | frozenset(("sign", "select", "gt", "ge", "lt", "le", "eq", "ne", "convert"))


def _operations(x: tp.Value) -> set[str]:
    """The names of the coordinatewise operations in a nonlinear value."""
    mine = {x.name} if isinstance(x, tp.Pointwise) else set()
    return mine.union(*(_operations(p) for p in x.parts if not p.is_gaussian))


def fused(factors: tuple[tp.Value, ...]) -> Fused:
    """φ with Π factors = φ(bases; params); made once for the same factors, so that what is recognised is kept."""
    if not factors:
        return Fused(gaussian.ONE, (), (), ())
    made = vars(factors[0]).setdefault("_fused", {})
    key = tuple(map(id, factors))
    if key not in made:
        made[key] = _fuse(factors)
    return made[key]


def one_function(u: tp.Sum) -> bool:
    """Whether a sum of nonlinear terms is one function of one Gaussian: then one expectation serves for all terms."""
    if u.is_gaussian or sum(not t.is_gaussian for t in u.terms) < 1:
        return False
    try:
        whole = fused((u,))
    except FusionError:
        return False
    return len(whole.bases) == 1 and not whole.params


def _fuse(factors: tuple[tp.Value, ...]) -> Fused:
    bases: dict[int, tp.Value] = {}
    params: dict[int, tp.Known] = {}
    for factor in factors:
        _collect(factor, bases, params)
    if len(factors) == 1 and list(bases) == [id(factors[0])] and not params:
        return Fused(gaussian.IDENTITY, tuple(bases.values()), (), factors)
    fn = _function(factors, list(bases), list(params))
    phi = gaussian.Pointwise(fn, len(bases), label=" · ".join(map(_label, factors)))
    return Fused(phi, tuple(bases.values()), tuple(params.values()), factors)


def base_of(value: tp.Value) -> tp.Value:
    """A Gaussian value without its numerical factor and shift: x and 1.702 x have one base."""
    if isinstance(value, tp.Scaled) and _number(value.known) is not None:
        return base_of(value.h)
    if isinstance(value, tp.Sum):
        random = [t for t in value.terms if not isinstance(t, tp.Given)]
        numbers = [t for t in value.terms if isinstance(t, tp.Given) and _number(t.known) is not None]
        if len(random) == 1 and len(numbers) == len(value.terms) - 1:
            return base_of(random[0])
    return value


def _number(known: tp.Known) -> Any:
    """The number that a constant is everywhere."""
    if isinstance(known, tp.Constant) and known.value.size and np.all(known.value == known.value.flat[0]):
        return known.value.flat[0]
    return None


def _collect(x: tp.Value | tp.Known, bases: dict[int, tp.Value], params: dict[int, tp.Known]) -> None:
    if isinstance(x, tp.Known):
        if _number(x) is None:
            params.setdefault(id(x), x)
        return
    if isinstance(x, tp.Given):
        _collect(x.known, bases, params)
        return
    if x.is_gaussian:
        base = base_of(x)
        bases.setdefault(id(base), base)
        return
    x = opened(x)
    for part in _ingredients(x):
        _collect(part, bases, params)


def opened(x: tp.Value) -> tp.Value:
    """An image of a nonlinear value as a nonlinear value of images, where the map only moves positions."""
    if not isinstance(x, tp.Image):
        return x
    made = vars(x).setdefault("_opened", [])
    if not made:
        made.append(_push(x))
    return made[0]


def _push(x: tp.Image) -> tp.Value:
    if not all(m.selection for m in x.maps) or any(m.key[0] == "pad" for m in x.maps if isinstance(m.key, tuple)):
        raise FusionError(
            f"at {x.where}: nonlinear values are summed over positions (or padded) and then enter another "
            "nonlinearity without a weight in between; "
            "there is no rule for it yet. Put a dense layer between them."
        )

    def moved(v: Any) -> Any:
        if isinstance(v, tp.Value):
            return tp.image(v, x.maps, x.shape)
        return tp.map_known(v, x.maps, x.shape) if v.shape else v

    inner = opened(x.h)
    match inner:
        case tp.Pointwise():
            return dataclasses.replace(inner, shape=x.shape, operands=tuple(map(moved, inner.operands)))
        case tp.Product():
            return dataclasses.replace(inner, shape=x.shape, factors=tuple(map(moved, inner.factors)))
        case tp.Sum():
            return dataclasses.replace(inner, shape=x.shape, terms=tuple(map(moved, inner.terms)))
        case tp.Scaled():
            return tp.Scaled(x.shape, inner.where, moved(inner.known), moved(inner.h))
    return x


def _ingredients(x: tp.Value) -> tuple[tp.Value | tp.Known, ...]:
    match x:
        case tp.Pointwise():
            return x.operands
        case tp.Scaled():
            return (x.known, x.h)
    return x.parts


def _function(factors: Sequence[tp.Value], bases: list[int], params: list[int]) -> Any:
    """The chain as a function of arrays; every part of it is computed once."""

    def fn(*arrays: Any) -> Any:
        floats = [jnp.asarray(a).dtype for a in arrays if jnp.issubdtype(jnp.asarray(a).dtype, jnp.floating)]
        dtype = jnp.result_type(*floats) if floats else jnp.result_type(float)
        done = dict(zip([*bases, *params], arrays, strict=True))
        result = None
        for factor in factors:
            value = _evaluate(factor, done, dtype)
            result = value if result is None else result * value
        return result

    return fn


def _evaluate(x: tp.Value | tp.Known, done: dict[int, Any], dtype: Any) -> Any:
    if id(x) not in done:
        done[id(x)] = _cast(_compute(x, done, dtype), dtype)
    return done[id(x)]


def _cast(a: Any, dtype: Any) -> Any:
    a = jnp.asarray(a)
    return a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a


def _compute(x: tp.Value | tp.Known, done: dict[int, Any], dtype: Any) -> Any:
    def of(y: tp.Value | tp.Known) -> Any:
        return _evaluate(y, done, dtype)

    match x:
        case tp.Constant():
            return _number(x)
        case tp.Given():
            return of(x.known)
        case tp.Scaled():
            return of(x.known) * of(x.h)
        case tp.Sum():
            return sum(of(t) for t in x.terms)
        case tp.Product():
            result = of(x.factors[0])
            for factor in x.factors[1:]:
                result = result * of(factor)
            return result
        case tp.Pointwise():
            return x.fn(*map(of, x.operands))
        case tp.Image():
            return of(opened(x))
    raise FusionError(f"at {x.where}: {type(x).__name__} inside a nonlinearity")


def _label(x: tp.Value) -> str:
    match x:
        case tp.Pointwise():
            return x.name
        case tp.Image():
            return _label(x.h)
        case tp.Product():
            return "product"
        case tp.Sum() if not x.is_gaussian:
            return "sum"
    return "linear"

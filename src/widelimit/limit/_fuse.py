"""Fusing: a coordinatewise chain of the program as one function of Gaussian values."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from widelimit import gaussian
from widelimit import program as tp
from widelimit.limit._filters import written_out
from widelimit.limit._positions import MOST, FusionError, as_sum, equal_reads, moves_only, reading
from widelimit.limit._shared import shared


@dataclasses.dataclass(frozen=True, eq=False)
class Fused:
    """A product of values as φ(bases; params): Gaussian bases, known params."""

    phi: gaussian.Pointwise
    bases: tuple[tp.Value, ...]
    params: tuple[tp.Known, ...]
    parts: tuple[tp.Value, ...]

    @functools.cached_property
    def key(self) -> Hashable:
        """Equal for products that are the same random variable by their function and what it reads."""
        return self.phi, tuple(map(reading, self.bases)), self.params

    @functools.cached_property
    def has_jumps(self) -> bool:
        """Whether φ may be discontinuous: it is then differentiated almost everywhere, as backpropagation does."""
        used = {name for part in self.parts for name in _operations(part)}
        if not used & _JUMPING:
            return False
        if used & _UNBOUNDED:
            return True
        if len(self.bases) > 1:
            return gaussian.has_steps(self.phi)
        return True if self.params else bool(gaussian.jumps(self.phi, ()))


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
    found = _Ingredients({}, {}, {}, {})
    for factor in factors:
        _collect(factor, found)
    bases, params = tuple(found.bases.values()), tuple(found.params.values())
    if len(factors) == 1 and list(found.bases) == [id(factors[0])] and not params:
        return Fused(gaussian.IDENTITY, bases, (), factors)
    if len(bases) > MOST:
        raise FusionError(
            f"at {factors[0].where}: a nonlinearity couples {len(bases)} Gaussians, and expectations of more than {MOST} a side are too "
            "inaccurate to be of use. Normalise or pool over fewer positions, or put a weight in between."
        )
    label, sources = " · ".join(map(_label, factors)), equal_reads(bases)
    phi = shared(gaussian.Pointwise(_function(factors, found), len(bases), label=label), len(params), sources)
    phi.remember("parameters", lambda: len(params))
    phi.remember("sources", lambda: sources)
    _check_stopped(factors, phi)
    return Fused(phi, bases, params, factors)


def _check_stopped(factors: tuple[tp.Value, ...], phi: gaussian.Pointwise) -> None:
    """A stopped gradient is no matter where the value does not depend on it: the shift of a softmax by its maximum."""
    if any(map(tp.is_stopped, factors)) and not gaussian.is_own_derivative(phi):
        raise FusionError(
            f"at {factors[0].where}: `stop_gradient` of a random value changes the derivative of the function it stands in, and so would "
            "change the tangent kernel; there is no rule for that. To freeze parameters, use `learning_rates={path: 0}`."
        )


@dataclasses.dataclass(frozen=True)
class _Ingredients:
    """What a chain is made of: Gaussian bases, known parameters, which bases are the same, and the bases by what they read."""

    bases: dict[int, tp.Value]
    params: dict[int, tp.Known]
    same: dict[int, int]
    read: dict[Any, int]

    def add(self, base: tp.Value) -> None:
        """A base, or another name for one that reads the same positions of the same value."""
        key = reading(base)
        first = self.read.setdefault(key, id(base))
        if first == id(base):
            self.bases.setdefault(first, base)
        else:
            self.same[id(base)] = first


def base_of(value: tp.Value) -> tp.Value:
    """A Gaussian value without its numerical factor and shift: x and 1.702 x have one base."""
    if isinstance(value, tp.Scaled) and number_of(value.known) is not None:
        return base_of(value.h)
    if isinstance(value, tp.Sum):
        random = [t for t in value.terms if not isinstance(t, tp.Given)]
        numbers = [t for t in value.terms if isinstance(t, tp.Given) and number_of(t.known) is not None]
        if len(random) == 1 and len(numbers) == len(value.terms) - 1:
            return base_of(random[0])
    return value


def number_of(known: tp.Known | tp.Value) -> Any:
    """The number that a constant is everywhere."""
    if isinstance(known, tp.Constant) and known.value.size and np.all(known.value == known.value.flat[0]):
        return known.value.flat[0]
    return None


def _collect(x: tp.Value | tp.Known, found: _Ingredients) -> None:
    if isinstance(x, tp.Known):
        if number_of(x) is None:
            found.params.setdefault(id(x), x)
        return
    if isinstance(x, tp.Given):
        _collect(x.known, found)
        return
    if x.is_gaussian:
        found.add(base_of(x))
        return
    if isinstance(x, tp.Profile):
        raise FusionError(
            f"at {x.where}: a nonlinearity meets a known array that varies along the width (a positional code, say); it may only "
            "be added, multiplied, averaged and passed through a weight. Put a weight in between, draw the array in `init`, or use "
            '`engine="particles"`, which samples its coordinates.'
        )
    for part in _ingredients(opened(x)):
        _collect(part, found)


def opened(x: tp.Value) -> tp.Value:
    """An image of a nonlinear value as a nonlinear value of images, where the map only moves positions; filters as sums."""
    if isinstance(x, tp.Depthwise):
        return written_out(x)
    if not isinstance(x, tp.Image):
        return x
    made = vars(x).setdefault("_opened", [])
    if not made:
        made.append(_push(x))
    return made[0]


def _push(x: tp.Image) -> tp.Value:
    if not moves_only(x):
        return as_sum(x)

    def moved(v: Any) -> Any:
        if isinstance(v, tp.Value):
            return tp.image(v, x.maps, x.shape)
        return tp.map_known(_spread(v, x.h.shape), x.maps, x.shape) if v.shape else v

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


def _spread(known: tp.Known, shape: tuple[int, ...]) -> tp.Known:
    """A known array repeated to all positions, which maps act on."""
    if known.shape == shape:
        return known
    return tp.once(known, ("spread", shape), lambda: tp.apply(lambda a: jnp.broadcast_to(a, shape), shape, known))


def _ingredients(x: tp.Value) -> tuple[tp.Value | tp.Known, ...]:
    match x:
        case tp.Pointwise():
            return x.operands
        case tp.Scaled():
            return (x.known, x.h)
    return x.parts


def _function(factors: Sequence[tp.Value], found: _Ingredients) -> Any:
    """The chain as a function of arrays; every part of it is computed once."""
    names, same = [*found.bases, *found.params], found.same

    def fn(*arrays: Any) -> Any:
        floats = [jnp.asarray(a).dtype for a in arrays if jnp.issubdtype(jnp.asarray(a).dtype, jnp.floating)]
        dtype = jnp.result_type(*floats) if floats else jnp.result_type(float)
        done = dict(zip(names, arrays, strict=True))
        done.update({other: done[first] for other, first in same.items()})
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
            return number_of(x)
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
        case tp.Image() | tp.Depthwise():
            return of(opened(x))
    raise FusionError(f"at {x.where}: {type(x).__name__} inside a nonlinearity")


def function_of(value: tp.Value, base: tp.Value) -> gaussian.Pointwise:
    """A chain as a function of one value in it, whatever that is, and of numbers."""
    phi = _function((value,), _Ingredients({id(base): base}, {}, {}, {}))
    return shared(gaussian.Pointwise(phi, 1, label=_label(value)), 0)


def _label(x: tp.Value) -> str:
    match x:
        case tp.Pointwise():
            return x.name
        case tp.Image():
            return _label(x.h)
        case tp.Depthwise():
            return "depthwise"
        case tp.Product():
            return "product"
        case tp.Sum() if not x.is_gaussian:
            return "sum"
    return "linear"

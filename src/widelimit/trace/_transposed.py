"""A matrix and its transpose in one forward pass: Z^{Wᵀy} = Ẑ + Ż (Tensor Programs III, ZMatMul).

Ẑ is Gaussian, and independent of the products with W. Ż is what these leave in the product: where y depends on W x,

    Ż^{Wᵀy} = Σ_{x: W x in the program} σ_W² E[∂Z^y/∂Ẑ^{Wx}] Z^x,

a sum of earlier values times known numbers (`tp.Slope`), so that nothing else needs to know of it. Z^y depends on W x where
a chain of coordinatewise functions and maps on positions joins them: a product with another matrix in between makes it independent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from widelimit import program as tp
from widelimit.trace._abstract import Parameter, Refusal


def with_transposed(g: tp.MatMul) -> tp.Value:
    """The product with the part Ż that earlier products with the transpose leave in it."""
    earlier = [e for e in _products(g.h) if _meet(e, g)]
    if not earlier:
        return g
    return tp.Sum(g.shape, g.where, (g, *(_left_by(e, g) for e in earlier)))


def _products(value: tp.Value) -> list[tp.MatMul]:
    """The products with weights that a value is a coordinatewise function of."""
    return [v for v in _chain(value) if isinstance(v, tp.MatMul)]


def _chain(value: tp.Value) -> Iterator[tp.Value]:
    """The values that a value is a coordinatewise function of, down to products with weights."""
    seen, stack = set(), [value]
    while stack:
        v = stack.pop()
        if id(v) in seen:
            continue
        seen.add(id(v))
        yield v
        stack.extend(() if isinstance(v, tp.MatMul) else v.parts)


def _meet(e: tp.MatMul, g: tp.MatMul) -> bool:
    """Whether two products are with one matrix in two orientations."""
    return e.weight.contracted != g.weight.contracted and not e.weight.has_other_entries(g.weight)


def _left_by(e: tp.MatMul, g: tp.MatMul) -> tp.Value:
    """σ_W² E[∂Z^y/∂Ẑ^{Wx}] Z^x, with σ_W² n s s' = c · amplitude · amplitude' · √(fan of Wᵀ / fan of W)."""
    _check(e, g)
    factor = e.weight.amplitude * g.weight.amplitude * math.sqrt(g.weight.fan / e.weight.fan)
    matched = e.shape == g.h.shape and _coordinatewise(g.h, e)
    shape = g.h.shape if matched else (*g.h.shape, *e.shape)
    known = tp.Slope(shape, g.h, e, factor, matched)
    if matched:
        return tp.Scaled(g.shape, g.where, known, e.h)
    inputs, outputs = tuple(range(len(e.shape))), tuple(range(len(g.shape)))
    apply = tp.mixed(
        inputs, outputs, known, lambda a, matrix: jnp.tensordot(matrix, a, len(inputs)), ("slope", id(known))
    )
    return tp.image(e.h, (apply,), g.shape)


def _coordinatewise(value: tp.Value, e: tp.MatMul) -> bool:
    """Whether a value depends on a product at equal positions only."""
    return not any(isinstance(v, tp.Image) and e in _products(v) for v in _chain(value))


def _check(e: tp.MatMul, g: tp.MatMul) -> None:
    path, places = repr(g.weight.path), f"{e.where} and {g.where}"
    if not _are_transposes(e.weight, g.weight):
        raise Refusal(
            f"the parameter {path} is used in two orientations at {places} that are not a matrix and its transpose (it has "
            "more than two axes, or another part of it is read); there is no rule for that. Use two parameters."
        )
    if e.weight.fan_exponent != g.weight.fan_exponent:
        raise Refusal(
            f"the parameter {path} embeds at {e.where} and is the readout of what follows at {g.where}: Wᵀφ(W ξ) sums over the "
            "width the products of each entry of W with a function of that entry. Their mean, σ² E[φ'] ξ each, does not "
            "average out, and grows with the width beside the random part: no Gaussian process. Use another parameter as readout "
            "(two parameters with one start differ from it only in this)."
        )
    if (
        g.contracted
        or e.contracted
        or g.independent
        or e.independent
        or any(not w.trivial for w in (*g.windows, *e.windows))
    ):
        raise Refusal(
            f"the parameter {path} is used in two orientations (W and its transpose) at {places}, in convolutions or with sums "
            "over positions: there is a rule for a dense matrix at each position only. Use two parameters."
        )


def _are_transposes(a: tp.Weight, b: tp.Weight) -> bool:
    return a.block == b.block and len(a.contracted) == len(b.contracted) == 1 and not a.contracted & b.contracted


def check_sharing(output: tp.Value, parameters: Mapping[str, Parameter]) -> None:
    """Uses of one parameter must be alike, or a matrix of independent entries and its transpose.

    The averages that its entries have by themselves (norms of rows) are no use: they are the same for every draw.
    """
    uses: dict[str, dict[Any, tp.MatMul | tp.Vector]] = {}
    for value in _outside_averages(output):
        if isinstance(value, tp.MatMul | tp.Vector):
            uses.setdefault(value.weight.path, {})[value.weight.contracted] = value
    for orientations in uses.values():
        for a, b in itertools.combinations(orientations.values(), 2):
            _check_pair(a, b)
            _check_law(parameters[a.weight.path], (a.where, b.where))


def _check_law(parameter: Parameter, places: tuple[str, str]) -> None:
    if parameter.kind == "orthogonal":
        raise Refusal(
            f"the orthogonal matrix {parameter.path!r} is used with its transpose at {' and '.join(places)}: the transpose is its "
            "inverse there, and the rule for W and Wᵀ is that of independent entries. Draw it from a normal law."
        )


def _outside_averages(output: tp.Value) -> list[tp.Value]:
    """The values that the output is made of, but for those in Moments of no product with a weight."""
    found, seen, stack = [], set(), [output]
    while stack:
        node = stack.pop()
        if id(node) not in seen and not (isinstance(node, tp.Moment) and not _has_products(node)):
            seen.add(id(node))
            found += [node] if isinstance(node, tp.Value) else []
            stack.extend(tp.ingredients(node))
    return found[::-1]


def _has_products(moment: tp.Moment) -> bool:
    values = [v for v in (moment.left, moment.right) if v is not None]
    return any(isinstance(v, tp.MatMul) for value in values for v in tp.reachable(value))


def _check_pair(a: tp.MatMul | tp.Vector, b: tp.MatMul | tp.Vector) -> None:
    if isinstance(a, tp.MatMul) and isinstance(b, tp.MatMul) and _are_transposes(a.weight, b.weight):
        return
    raise Refusal(
        f"the parameter {a.weight.path!r} is used in two ways at {a.where} and {b.where}: as a matrix and as a vector (a readout "
        "that is also a bias or a gain, a table whose rows are also a matrix), or with sums over different axes. The two uses are "
        "correlated, and there is no rule for that. Use two parameters."
    )

"""What was recognised in each nonlinearity, and how it is integrated."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

from widelimit import gaussian, trace
from widelimit import program as tp
from widelimit.limit._filters import linear_in_filters
from widelimit.limit._fuse import fused, one_function, opened
from widelimit.limit._given_filter import Filtered, filtered
from widelimit.limit._positions import moves_only


@dataclasses.dataclass(frozen=True)
class Explained:
    """One nonlinearity of the program: where it stands, what it was recognised as, the rule and its error."""

    where: str
    operations: str
    gaussians: int
    name: str
    rule: str
    error: float

    def __str__(self) -> str:
        error = "exact" if self.error == 0 else f"error ≤ {self.error:.1e}"
        return (
            f"{self.where.rpartition('/')[2]}: {self.name} [{self.operations}] of {self.gaussians} "
            f"Gaussian{'s' * (self.gaussians != 1)}: {self.rule}, {error}"
        )


@dataclasses.dataclass(frozen=True)
class Explanation:
    """All nonlinearities, and what else is approximated or drops out in the limit."""

    nonlinearities: tuple[Explained, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [str(e) for e in self.nonlinearities] or ["no nonlinearity"]
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])


def explain(reading: trace.Reading, accuracy: float, shares: dict[gaussian.Pointwise, float]) -> Explanation:
    """`shares`: errors that were met since, by function."""
    found = [_with_share(factors, _explained(factors, accuracy), shares) for factors in _integrated(reading.output)]
    return Explanation(tuple(dict.fromkeys(found)), tuple(_notes(reading)))


def nonlinearities(reading: trace.Reading) -> list[gaussian.Pointwise]:
    """The functions that a network integrates over Gaussians."""
    return [fused(factors).phi for factors in _groups(reading.output)]


def _groups(output: tp.Value) -> list[tuple[tp.Value, ...]]:
    return [factors for v in outermost(output) for factors in independent_factors(v)]


def _integrated(output: tp.Value) -> list[tuple[tp.Value, ...]]:
    """What is integrated over Gaussians, a tuple of factors each: not the second moments of depthwise convolutions."""
    return [factors for factors in _groups(output) if len(factors) > 1 or not linear_in_filters(factors[0])]


def outermost(output: tp.Value) -> list[tp.Value]:
    """The nonlinear values that weights and means read: each is one Nonlin of the reduced program."""
    order = tp.reachable(output)
    inner = {id(p) for v in order if _is_nonlinear(v) for p in _nonlinear_parts(v)}
    return [v for v in order if _is_nonlinear(v) and id(v) not in inner]


def _is_nonlinear(v: tp.Value) -> bool:
    return isinstance(v, tp.Pointwise | tp.Product) or (isinstance(v, tp.Sum) and one_function(v))


def independent_factors(v: tp.Value) -> list[tuple[tp.Value, ...]]:
    """The factors of a product, those that share a weight together: expectations of the others are taken apart."""
    return [group for factors in _apart(v) for group in _grouped(factors)]


def _apart(v: tp.Value) -> list[tuple[tp.Value, ...]]:
    """A value as a sum of products, by the factors of each: expectations are linear in such sums."""
    if v.is_gaussian:
        return [(v,)]
    match v:
        case tp.Product():
            rows = itertools.product(*map(_apart, v.factors))
            return [tuple(f for factors in row for f in factors) for row in rows]
        case tp.Profile():
            return [()]
        case tp.Scaled():
            return _apart(v.h)
        case tp.Sum() if not one_function(v):
            return [factors for term in v.terms for factors in _apart(term)]
        case tp.Image():
            return _apart(opened(v) if moves_only(v) and not linear_in_filters(v) else v.h)
    return [(v,)]


def _grouped(factors: tuple[tp.Value, ...]) -> list[tuple[tp.Value, ...]]:
    groups: list[tuple[tp.Value, ...]] = []
    for factor in factors:
        shared = [g for g in groups if any(_draws(factor) & _draws(other) for other in g)]
        groups = [*(g for g in groups if g not in shared), (*(f for g in shared for f in g), factor)]
    return groups


def _draws(v: tp.Value) -> set[Any]:
    """The parameters (and blocks of them) that a value's Gaussians are made of."""
    if isinstance(v, tp.MatMul | tp.Vector):
        return {(v.weight.path, v.weight.block)}
    return {d for part in v.parts for d in _draws(part)}


def _nonlinear_parts(v: tp.Value) -> list[tp.Value]:
    """Nonlinear values directly inside, through sums and multiples."""
    found, stack = [], list(v.parts)
    while stack:
        part = stack.pop()
        if _is_nonlinear(part):
            found.append(part)
        elif isinstance(part, tp.Sum | tp.Scaled | tp.Image) and not part.is_gaussian:
            stack.extend(part.parts)
    return found


def _explained(factors: tuple[tp.Value, ...], accuracy: float) -> Explained:
    where, names = factors[0].where, " ".join(dict.fromkeys(" ".join(map(operations, factors)).split()))
    if (found := given(factors)) is not None:
        name, rule, error = gaussian.describe_filtered(found.phi, len(found.taps), accuracy)
        return Explained(where, names, 2 * len(found.taps), name, rule, error)
    phi = fused(factors)
    described = gaussian.describe(phi.phi, accuracy=accuracy)
    return Explained(where, names, len(phi.bases), described.name, described.rule, described.error)


def _with_share(factors: tuple[tp.Value, ...], said: Explained, shares: dict[gaussian.Pointwise, float]) -> Explained:
    share = None if given(factors) is not None else shares.get(fused(factors).phi)
    return said if share is None or said.error >= share else dataclasses.replace(said, error=share)


def given(factors: tuple[tp.Value, ...]) -> Filtered | None:
    """A function of one Gaussian given a filter."""
    return filtered(factors[0]) if len(factors) == 1 else None


def operations(value: tp.Value) -> str:
    """The names of the coordinatewise operations that were fused."""
    names, stack = [], [value]
    while stack:
        v = stack.pop()
        if isinstance(v, tp.Value) and v.is_gaussian:
            continue
        if isinstance(v, tp.Pointwise):
            names.append(v.name)
        elif isinstance(v, tp.Product):
            names.append("mul")
        stack.extend(p for p in (v.parts if isinstance(v, tp.Value) else ()) if isinstance(p, tp.Value))
    return " ".join(dict.fromkeys(reversed(names))) or "linear"


class ApproximationWarning(UserWarning):
    """The kernel may differ from the limit by more than the accuracy asked for; the message says why."""


def inaccurate(reading: trace.Reading, accuracy: float) -> list[str]:
    """Nonlinearities of several dependent Gaussians whose integration rule does not reach the accuracy."""
    groups = _integrated(reading.output)
    coupled = [_explained(f, accuracy) for f in groups if given(f) is not None or len(fused(f).bases) > 1]
    return [f"accuracy {accuracy:g} is not reached: {e}" for e in coupled if e.error > accuracy]


def watched(reading: trace.Reading) -> list[tuple[gaussian.Pointwise, str]]:
    """The functions that are integrated by rules, and where they stand: what they miss shows when it is computed."""
    found = [(fused(f), f) for f in _groups(reading.output) if given(f) is None]
    where = {phi.phi: f[0].where for phi, f in found if phi.bases}
    return [(phi, at) for phi, at in where.items() if phi.arity > 1 or gaussian.describe(phi).error != 0]


def missed(functions: list[tuple[gaussian.Pointwise, str]]) -> dict[gaussian.Pointwise, tuple[float, str]]:
    """Those of which an expectation that was computed misses the accuracy: by how much, and what to say of it."""
    shares = [(phi, gaussian.missed(phi), where) for phi, where in functions]
    return {phi: (share, _missed(phi, share, where)) for phi, share, where in shares if share}


def _missed(phi: gaussian.Pointwise, share: float, where: str) -> str:
    reason = (
        "the function keeps oscillating, or is steep, at arguments of this variance, where no panels follow it"
        if phi.arity == 1
        else "no rule for several Gaussians reaches it at the variances met"
    )
    return f"the accuracy is not reached by {share:.0e}: {where.rpartition('/')[2]}: {reason}"


def approximations(reading: trace.Reading) -> list[str]:
    """Entries that are not averaged over a wide axis keep their own law; they are treated as Gaussian of that variance."""
    averaged = _only_second_moments(reading.output)
    narrow = {v.weight.path: _narrow(v) for v in _outside_variances(reading.output) if v not in averaged and _narrow(v)}
    return [
        f"{path!r} is drawn from a {reading.laws[path].kind.replace('_', ' ')} law and {how}: it is treated as "
        "Gaussian with the same variance "
        "(use a normal initialiser for the exact limit)"
        for path, how in narrow.items()
        if reading.laws[path].kind in ("uniform", "truncated_normal")
    ]


def _only_second_moments(output: tp.Value) -> set[tp.Value]:
    """The filters of depthwise convolutions that stand in no integrand: their law matters by its variance alone."""
    inside, stack = set(), [f for factors in _integrated(output) for f in factors]
    while stack:
        v = stack.pop()
        if v not in inside and not v.is_gaussian:
            inside.add(v)
            stack.extend(v.parts)
    return {v.filter for v in tp.reachable(output) if isinstance(v, tp.Depthwise) and v not in inside}


def _outside_variances(output: tp.Value) -> list[tp.Value]:
    """The values an output is made of, but for those of which only second moments enter (norms of rows): they are known."""
    found, seen, stack = [], set(), [output]
    while stack:
        node = stack.pop()
        linear = isinstance(node, tp.Moment) and all(v is not None and v.is_gaussian for v in (node.left, node.right))
        if id(node) not in seen and not linear:
            seen.add(id(node))
            found += [node] if isinstance(node, tp.Value) else []
            stack.extend(tp.ingredients(node))
    return found[::-1]


def _narrow(v: tp.Value) -> str:
    if isinstance(v, tp.Vector):
        return "not summed over"
    if isinstance(v, tp.MatMul) and isinstance(v.h, tp.Given) and v.contracted:
        taps = math.prod(w.size for w in v.windows)
        return f"summed over {taps * math.prod(v.h.shape[i] for i in v.contracted)} entries of the input only"
    return ""


def _notes(reading: trace.Reading) -> list[str]:
    used = {v.weight.path for v in tp.reachable(reading.output) if isinstance(v, tp.MatMul | tp.Vector)}
    dropped = [p for p, law in reading.laws.items() if p not in used and law.kind not in ("constant", "fixed")]
    unused = [
        f"the parameter {p!r} drops out of the limit (its variance is of order n^{reading.laws[p].variance.exponent}, or it is not used)"
        for p in dropped
    ]
    return [*approximations(reading), *unused]

"""What is sampled, in which order, and which uses of a parameter belong together."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Hashable, Sequence

from widelimit import program as tp
from widelimit import trace
from widelimit.particles._taps import Use, counts, entries_met


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A program laid out for sampling.

    `readout` are the uses of parameters whose linear image the output is; `steps` the values and known arrays that they are
    computed from, in the order of computation.
    """

    output: tp.Value
    readout: tuple[Use, ...]
    steps: tuple[tp.Value | tp.Known, ...]
    parameters: dict[str, trace.Parameter]
    laws: dict[str, trace.Law]

    @functools.cached_property
    def inner(self) -> tuple[Use, ...]:
        """The uses of parameters beneath the readout, in the order of computation."""
        return tuple(v for v in self.steps if isinstance(v, Use))

    @functools.cached_property
    def linear(self) -> tuple[tp.Value, ...]:
        """The values between the readout and the output, operands first."""
        linear = {id(v) for v in _linear(self.output)}
        return tuple(v for v in tp.reachable(self.output) if id(v) in linear)

    def noise(self, inputs: int) -> int:
        """How many rows of noise are drawn at so many inputs, forwards and backwards."""
        own = {family(u): u for u in self.inner if not u.weight.is_averaged}
        read = {family(u): u for u in self.readout if goes_on(u)}
        once = sum(_entries(u) for u in (*own.values(), *read.values()))
        forwards = sum(math.prod(u.shape) for u in self.inner if u.weight.is_averaged)
        backwards = sum(math.prod(u.shape) * entries_met(u) for u in self.inner if goes_on(u))
        return once + inputs * (forwards + math.prod(self.output.shape) * backwards)

    def deviation(self, use: Use) -> float:
        """σ of the parameter, in the limit's units."""
        return math.sqrt(self.parameters[use.weight.path].variance)


def plan(reading: trace.Reading) -> Plan:
    """Lay a network's program out, or refuse it."""
    linear = _linear(reading.output)
    readout = tuple(v for v in linear if isinstance(v, Use))
    beneath = [v.h for v in readout if isinstance(v, tp.MatMul)]
    known = [o for v in linear if not isinstance(v, Use) for o in tp.ingredients(v) if isinstance(o, tp.Known)]
    found = Plan(reading.output, readout, tuple(tp.steps(*beneath, *known)), reading.parameters, reading.laws)
    _check([*found.inner, *readout])
    return found


def _entries(use: Use) -> int:
    """The entries of a parameter that one coordinate of the product meets."""
    return math.prod(use.shape) if isinstance(use, tp.Vector) else counts(use)[0] * entries_met(use)


def _linear(output: tp.Value) -> list[tp.Value]:
    """The values between the output and the uses of parameters that it is a linear image of."""
    found, stack = {}, [output]
    while stack:
        v = stack.pop()
        if id(v) not in found:
            found[id(v)] = v
            stack.extend(() if isinstance(v, Use) else v.parts)
    return list(found.values())


def goes_on(use: Use) -> bool:
    """Whether a derivative goes on behind a use: what it is applied to is random."""
    return isinstance(use, tp.MatMul) and not isinstance(use.h, tp.Given)


def family(use: Use) -> Hashable:
    """Uses with the same entries: their draws are one Gaussian family."""
    return use.weight.path, use.weight.contracted, use.weight.block


def _check(uses: Sequence[Use]) -> None:
    by_path: dict[str, dict[Hashable, Use]] = {}
    for use in uses:
        by_path.setdefault(use.weight.path, {})[family(use)] = use
    for path, families in by_path.items():
        for a, b in itertools.combinations(families.values(), 2):
            _check_apart(path, a, b)


def _check_apart(path: str, a: Use, b: Use) -> None:
    """Two families of one parameter: W and Wᵀ, or blocks without a common entry."""
    if a.weight.contracted != b.weight.contracted:
        raise trace.Refusal(
            f"the parameter {path!r} is used in two orientations (W and its transpose) at {a.where} and {b.where}: "
            "the second product is then correlated with the first, and there is no rule for that yet. Use two parameters."
        )
    if not a.weight.has_other_entries(b.weight):
        raise trace.Refusal(
            f"the parameter {path!r} is used at {a.where} and {b.where} with blocks that overlap in part; slice it in the "
            "same way at each use"
        )

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
    def slopes(self) -> tuple[tp.Slope, ...]:
        """The derivatives between products with a matrix and its transpose."""
        return tuple(v for v in self.steps if isinstance(v, tp.Slope))

    @functools.cached_property
    def linear(self) -> tuple[tp.Value, ...]:
        """The values between the readout and the output, operands first."""
        linear = {id(v) for v in _linear(self.output)}
        return tuple(v for v in tp.reachable(self.output) if id(v) in linear)

    def noise(self, inputs: int) -> int:
        """How many rows of noise are drawn at so many inputs, forwards and backwards."""
        own = {family(u): u for u in self.inner if not is_averaged(u)}
        read = {family(u): u for u in self.readout if goes_on(u)}
        once = sum(_entries(u) for u in (*own.values(), *read.values()))
        forwards = sum(math.prod(u.shape) for u in self.inner if is_averaged(u))
        backwards = sum(math.prod(u.shape) * entries_met(u) for u in self.inner if goes_on(u))
        return once + inputs * (forwards + math.prod(self.output.shape) * backwards)

    def deviation(self, use: Use) -> float:
        """σ of the parameter, in the limit's units."""
        return 1.0 if isinstance(use, tp.Fluctuation) else math.sqrt(self.parameters[use.weight.path].variance)

    def rate(self, use: Use) -> float:
        """λ of the parameter, in the limit's units."""
        return 0.0 if isinstance(use, tp.Fluctuation) else self.parameters[use.weight.path].rate


def plan(reading: trace.Reading) -> Plan:
    """Lay a network's program out, or refuse it."""
    linear = _linear(reading.output)
    readout = tuple(v for v in linear if isinstance(v, Use))
    beneath = [v.h for v in readout if not isinstance(v, tp.Vector)]
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
    return not isinstance(use, tp.Vector) and not isinstance(use.h, tp.Given | tp.Profile)


def family(use: Use) -> Hashable:
    """Uses with the same entries: their draws are one Gaussian family. Fluctuations are one of their own."""
    if isinstance(use, tp.Fluctuation):
        return None
    return use.weight.path, use.weight.contracted, use.weight.block


def amplitude(use: Use) -> float:
    return 1.0 if isinstance(use, tp.Fluctuation) else use.weight.amplitude


def is_averaged(use: Use) -> bool:
    """Whether a draw is Gaussian whatever the law of the entries, as a sum over a wide axis."""
    return isinstance(use, tp.Fluctuation) or use.weight.is_averaged


def _check(uses: Sequence[Use]) -> None:
    """Two families of one orientation must have no entry in common; W and Wᵀ differ by the part Ż, a term of its own."""
    families = {family(u): u for u in uses if not isinstance(u, tp.Fluctuation)}
    for a, b in itertools.combinations(families.values(), 2):
        if a.weight.contracted == b.weight.contracted and not a.weight.has_other_entries(b.weight):
            raise trace.Refusal(
                f"the parameter {a.weight.path!r} is used at {a.where} and {b.where} with blocks that overlap in part; "
                "slice it in the same way at each use"
            )

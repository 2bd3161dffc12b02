"""Walking the programs that JAX writes down: the only file that knows `jax.extend`.

A network is traced once for each width of a small family; the programs are walked in step, equation by
equation, and a rule is asked what each step does to abstract values. Calls (`jit`, `remat`, `custom_jvp`, …)
are walked through; everything else is the rule's.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend
import numpy as np
from jax.extend import core, source_info_util

from widelimit._primitives import CALLS


@dataclasses.dataclass(frozen=True)
class Body:
    """A traced program with the constants it closes over."""

    jaxpr: Any
    consts: tuple


@dataclasses.dataclass(frozen=True)
class Step:
    """One equation of the program, as it stands in the trace of each width."""

    eqns: tuple[Any, ...]
    caller: str = ""

    @property
    def name(self) -> str:
        return self.eqns[0].primitive.name

    @property
    def params(self) -> dict[str, Any]:
        return self.eqns[0].params

    def each(self, param: str) -> list[Any]:
        """The parameter's value at every width."""
        return [eqn.params[param] for eqn in self.eqns]

    def shapes(self, output: int = 0) -> list[tuple[int, ...]]:
        """The output's shape at every width."""
        return [eqn.outvars[output].aval.shape for eqn in self.eqns]

    def dtype(self, output: int = 0) -> Any:
        return self.eqns[0].outvars[output].aval.dtype

    def bodies(self, param: str) -> list[Body]:
        """The inner programs held in a parameter, one a width."""
        return [opened(eqn.params[param]) for eqn in self.eqns]

    def bind(self, *values: Any, width: int = 0) -> list[Any]:
        """Evaluate the step on concrete or traced arrays, as the trace of the given width has it."""
        return bind(self.eqns[width], *values)

    @property
    def where(self) -> str:
        """The user's file and line: the innermost frame that is not of a library of layers; in a call, that of the caller."""
        frames = source_info_util.summarize(self.eqns[0].source_info, num_frames=40).splitlines()[::-1]
        mine = [f for f in frames if f and f != "unknown"]
        return next((f for f in mine if not _of_library(f)), self.caller or next(iter(mine), ""))


_LAYERS_OF_OTHERS = ("site-packages", "dist-packages")
_OWN = tuple(os.path.join("widelimit", folder) for folder in ("trace", "network", "limit", "finite"))


def _of_library(frame: str) -> bool:
    return any(f"{os.sep}{name}{os.sep}" in frame for name in (*_LAYERS_OF_OTHERS, *_OWN)) and not _is_demo(frame)


def _is_demo(frame: str) -> bool:
    """The demonstration's network is user's code, wherever the package is installed."""
    return os.path.join("widelimit", "cli") in frame


Rule = Callable[[Step, list[Any]], list[Any]]
Lift = Callable[[Sequence[Any]], Any]


def trace(fn: Callable, *args: Any) -> tuple[Body, Any]:
    """The program of `fn` and the shapes of its result; `args` may be shapes (`jax.ShapeDtypeStruct`)."""
    jaxpr, out = jax.make_jaxpr(fn, return_shape=True)(*args)
    return opened(jaxpr), out


def opened(jaxpr: Any) -> Body:
    """A closed or open jaxpr as program and constants (they became one class in JAX 0.11)."""
    if isinstance(jaxpr, core.ClosedJaxpr):
        return Body(jaxpr.jaxpr, tuple(jaxpr.consts))
    return Body(jaxpr, ())


def bind(eqn: Any, *values: Any) -> list[Any]:
    out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


@dataclasses.dataclass(frozen=True)
class Walker:
    """How a program is walked.

    `rule` gives the outputs of a step, `lift` makes a value of a constant's values at the widths, and `enter` is told of
    every call before it is walked through.
    """

    rule: Rule
    lift: Lift
    enter: Callable[[Step, list[Any]], None] = lambda step, values: None

    def walk(
        self, bodies: Sequence[Body], inputs: Sequence[Any], caller: str = "", wanted: Sequence[bool] | None = None
    ) -> list[Any]:
        """Walk the programs of all widths in step; what no wanted output needs is passed over (None where not wanted)."""
        first, environment = bodies[0].jaxpr, _bind_inputs(bodies, inputs, self.lift)
        wanted = [True] * len(first.outvars) if wanted is None else wanted

        def read(atoms: Sequence[Any]) -> Any:
            if isinstance(atoms[0], core.Literal):
                return self.lift([np.asarray(a.val, a.aval.dtype) for a in atoms])
            return environment[atoms[0]]

        used = _used(first, wanted)
        for eqns in _in_step([b.jaxpr.eqns for b in bodies]):
            needed = [v in used for v in eqns[0].outvars]
            if any(needed):
                values = [read(atoms) for atoms in zip(*(e.invars for e in eqns), strict=True)]
                found = self._step(Step(tuple(eqns), caller), values, needed)
                environment.update(zip(eqns[0].outvars, found, strict=True))
        outputs = zip(*(b.jaxpr.outvars for b in bodies), strict=True)
        return [read(atoms) if one else None for atoms, one in zip(outputs, wanted, strict=True)]

    def _step(self, step: Step, values: list[Any], needed: Sequence[bool]) -> list[Any]:
        if step.name not in CALLS:
            return self.rule(step, values)
        self.enter(step, values)
        return self.walk(step.bodies(CALLS[step.name]), values, step.where, needed)


def _used(jaxpr: Any, wanted: Sequence[bool]) -> set[Any]:
    """The variables that the wanted outputs are computed from (running averages, say, are computed for nobody).

    Every operand of a needed call is read, whether or not its body needs it.
    """
    used = {v for v, one in zip(jaxpr.outvars, wanted, strict=True) if one and not is_literal(v)}
    for eqn in reversed(jaxpr.eqns):
        if any(v in used for v in eqn.outvars):
            used.update(v for v in eqn.invars if not is_literal(v))
    return used


def walk(bodies: Sequence[Body], inputs: Sequence[Any], rule: Rule, lift: Lift, caller: str = "") -> list[Any]:
    """Walk the programs of all widths in step; `lift` makes a value of a constant's values at the widths."""
    return Walker(rule, lift).walk(bodies, inputs, caller)


def _bind_inputs(bodies: Sequence[Body], inputs: Sequence[Any], lift: Lift) -> dict[Any, Any]:
    first = bodies[0].jaxpr
    consts = [lift(values) for values in zip(*(b.consts for b in bodies), strict=True)]
    constvars = list(first.constvars)[: len(consts)]
    return dict(zip([*constvars, *first.invars], [*consts, *inputs], strict=True))


def _in_step(equations: Sequence[Sequence[Any]]):
    names = [[e.primitive.name for e in eqns] for eqns in equations]
    if any(n != names[0] for n in names[1:]):
        raise StructureError(
            "the network's program is not the same at every width: at the widths traced it has "
            f"{[len(n) for n in names]} operations. Write it so that the width changes sizes, not the list of operations."
        )
    return zip(*equations, strict=True)


class StructureError(ValueError):
    """The traces at different widths are different programs."""


def scan_counts(step: Step) -> tuple[int, int]:
    """How many of a scan's operands are constants and how many are carried (the rest are scanned over)."""
    params = step.params
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts), len(carry)


def body_of(step: Step) -> Body:
    """What a call evaluates, at the first width."""
    return step.bodies(CALLS[step.name])[0]


def called(eqn: Any) -> Body | None:
    """What an equation evaluates if it is a call."""
    return opened(eqn.params[CALLS[eqn.primitive.name]]) if eqn.primitive.name in CALLS else None


def is_literal(atom: Any) -> bool:
    return isinstance(atom, core.Literal)


def callable_of(body: Body) -> Callable:
    """The body as a function of arrays: for evaluating what is known."""

    def run(*args: Any) -> list[Any]:
        return jax.core.eval_jaxpr(body.jaxpr, body.consts, *args)

    return run


def call_names() -> frozenset[str]:
    """Primitives that are walked through."""
    return frozenset(CALLS)


def primitives() -> dict[str, Any]:
    """Every primitive that `jax.lax` and `jax.extend` export, by name."""
    found = [getattr(m, n) for m in (jax.lax, core.primitives) for n in dir(m) if n.endswith("_p")]
    return {p.name: p for p in found if isinstance(p, core.Primitive)}

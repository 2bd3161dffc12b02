"""Walking the programs that JAX writes down: the only file that knows `jax.extend`.

A network is traced once for each width of a small family; the programs are walked in step, equation by
equation, and a rule is asked what each step does to abstract values. Calls (`jit`, `remat`, `custom_jvp`, …)
are walked through; everything else is the rule's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend
import numpy as np
from jax.extend import core, source_info_util

# Where the body of a call equation is kept, by the primitive's name; the names changed between versions of JAX.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "eval_jaxpr": "call_jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}


@dataclasses.dataclass(frozen=True)
class Body:
    """A traced program with the constants it closes over."""

    jaxpr: Any
    consts: tuple

    @property
    def in_shapes(self) -> list[tuple[int, ...]]:
        return [v.aval.shape for v in self.jaxpr.invars]

    @property
    def out_shapes(self) -> list[tuple[int, ...]]:
        return [v.aval.shape for v in self.jaxpr.outvars]


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
        """The user's file and line; inside a library's call, those of the call."""
        here = source_info_util.summarize(self.eqns[0].source_info)
        return here if here and here != "unknown" else self.caller


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


def walk(bodies: Sequence[Body], inputs: Sequence[Any], rule: Rule, lift: Lift, caller: str = "") -> list[Any]:
    """Walk the programs of all widths in step; `lift` makes a value of a constant's values at the widths."""
    environment = _bind_inputs(bodies, inputs, lift)

    def read(atoms: Sequence[Any]) -> Any:
        if isinstance(atoms[0], core.Literal):
            return lift([np.asarray(a.val, a.aval.dtype) for a in atoms])
        return environment[atoms[0]]

    for eqns in _in_step([b.jaxpr.eqns for b in bodies]):
        step = Step(tuple(eqns), caller)
        values = [read(atoms) for atoms in zip(*(e.invars for e in eqns), strict=True)]
        outputs = _call(step, values, rule, lift) if step.name in _CALLS else rule(step, values)
        environment.update(zip(eqns[0].outvars, outputs, strict=True))
    return [read(atoms) for atoms in zip(*(b.jaxpr.outvars for b in bodies), strict=True)]


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


def _call(step: Step, values: list[Any], rule: Rule, lift: Lift) -> list[Any]:
    return walk(step.bodies(_CALLS[step.name]), values, rule, lift, step.where)


class StructureError(ValueError):
    """The traces at different widths are different programs."""


def scan_counts(step: Step) -> tuple[int, int]:
    """How many of a scan's operands are constants and how many are carried (the rest are scanned over)."""
    params = step.params
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts), len(carry)


def callable_of(body: Body) -> Callable:
    """The body as a function of arrays: for evaluating what is known."""

    def run(*args: Any) -> list[Any]:
        return jax.core.eval_jaxpr(body.jaxpr, body.consts, *args)

    return run


def call_names() -> frozenset[str]:
    """Primitives that are walked through."""
    return frozenset(_CALLS)


def primitives() -> dict[str, Any]:
    """Every primitive that `jax.lax` and `jax.extend` export, by name."""
    found = [getattr(m, n) for m in (jax.lax, core.primitives) for n in dir(m) if n.endswith("_p")]
    return {p.name: p for p in found if isinstance(p, core.Primitive)}

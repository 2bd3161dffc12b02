"""Rules for loops and branches: what is static is unrolled, what depends on random values is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from widelimit.trace._abstract import Concrete, Leaf, Refusal
from widelimit.trace._complex import Complex, split
from widelimit.trace._jaxpr import Step, opened, scan_counts
from widelimit.trace._place import place
from widelimit.trace._structural import add_dim, drop_dim, joined, sliced
from widelimit.trace._table import rule
from widelimit.trace._widths import traced_widths


@rule("scan")
def scan(step: Step, *operands: Any) -> list[Any]:
    """A loop of known length, step after step; its weights are the same objects in each, hence shared."""
    from widelimit.trace._dispatch import read_program

    n_consts, n_carry = scan_counts(step)
    consts, carry, xs = (
        operands[:n_consts],
        list(operands[n_consts : n_consts + n_carry]),
        operands[n_consts + n_carry :],
    )
    lengths = step.each("length")
    if len(set(lengths)) > 1:
        raise Refusal(f"at {step.where}: a loop whose length grows with the width ({lengths})")
    bodies, rows = step.bodies("jaxpr"), []
    order = range(lengths[0])[::-1] if step.params["reverse"] else range(lengths[0])
    for t in order:
        inputs = [*consts, *carry, *(_entry(x, t, step.where) for x in xs)]
        outputs = read_program(bodies, inputs, step.where)
        carry, row = outputs[:n_carry], outputs[n_carry:]
        rows.append(row)
    rows = rows[::-1] if step.params["reverse"] else rows
    stacks = [_stacked(list(ys), lengths[0], step, n_carry + i) for i, ys in enumerate(zip(*rows, strict=True))]
    return [*carry, *stacks]


def _entry(x: Any, t: int, where: str) -> Any:
    if isinstance(x, Complex):
        return dataclasses.replace(x, re=_part(x.re, t, where), im=_part(x.im, t, where))
    if isinstance(x, Concrete):
        return Concrete(tuple(np.asarray(v[t]) for v in x.values))
    count = len(traced_widths())
    return drop_dim(sliced(x, 0, (t,) * count, (t + 1,) * count, where=where), 0)


def _part(x: Any, t: int, where: str) -> Any:
    return None if x is None else _entry(x, t, where)


def _stacked(ys: list[Any], length: int, step: Step, output: int) -> Any:
    if any(isinstance(y, Complex) for y in ys):
        return _stacked_pairs(ys, length, step, output)
    if all(isinstance(y, Concrete) for y in ys):
        return Concrete(tuple(np.stack([y.values[w] for y in ys]) for w in range(len(traced_widths()))))
    count = len(traced_widths())
    parts = [add_dim(y if isinstance(y, Leaf) else place(y, None, step.where), 0, count) for y in ys]
    return joined(parts, 0, [(1,) * count] * len(parts), (length,) * count, step.where)


def _stacked_pairs(ys: list[Any], length: int, step: Step, output: int) -> Complex:
    pairs = [split(y) for y in ys]
    if len({z.is_exponent for z in pairs}) > 1:
        raise Refusal(
            f"at {step.where}: a loop that stacks exponentials and other complex numbers; add 0 to the former"
        )
    zeros = Concrete(tuple(np.zeros(shape[1:]) for shape in step.shapes(output)))

    def part(values: list[Any]) -> Any:
        if all(v is None for v in values):
            return None
        return _stacked([zeros if v is None else v for v in values], length, step, output)

    return Complex(part([z.re for z in pairs]), part([z.im for z in pairs]), pairs[0].is_exponent)


@rule("cond")
def cond(step: Step, which: Any, *operands: Any) -> list[Any]:
    """A branch: which one is taken must not depend on the example or on random values."""
    from widelimit.trace._dispatch import read_program

    if not isinstance(which, Concrete) or len({int(v) for v in which.values}) > 1:
        raise Refusal(f"at {step.where}: a branch that depends on the example or on random values; use `jnp.where`")
    bodies = [opened(e.params["branches"][int(which.values[0])]) for e in step.eqns]
    return read_program(bodies, operands, step.where)


@rule("while")
def while_(step: Step, *operands: Any) -> list[Any]:
    raise Refusal(
        f"at {step.where}: a `while` loop over random values; use a loop of fixed length (`lax.scan`, `lax.fori_loop` with static bounds)"
    )

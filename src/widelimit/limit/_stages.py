"""Running a long program in stages, so that each layer's covariance is written to memory once.

XLA on a CPU fuses a straight-line kernel program into itself and recomputes a layer inside every read of it. So the
program of a tile is cut at the covariances of the nonlinear values (marked by `boundary`), the pieces are compiled apart,
and pieces that are the same program, as those of repeated layers are, are compiled once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array

from widelimit.trace import cut_program


def boundary(k: Array) -> Array:
    """Mark a value that is to be written to memory (and its tangent)."""
    return jax.lax.optimization_barrier(k)


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A compiled piece: which values it reads and makes, by number, and which are of no more use after it."""

    run: Callable[..., Sequence[Array]]
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    drops: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Staged:
    """A function of arrays, compiled in stages for one shape of its arguments."""

    stages: tuple[Stage, ...]
    consts: dict[int, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def __call__(self, *args: Array) -> list[Array]:
        values = {**self.consts, **dict(zip(self.inputs, args, strict=True))}
        for stage in self.stages:
            made = stage.run(*(values[i] for i in stage.reads))
            values.update(zip(stage.makes, made, strict=True))
            for i in stage.drops:
                del values[i]
        return [values[i] for i in self.outputs]


def staged(fn: Callable[..., Any], *args: Any) -> Staged:
    """Compile `fn` (of flat arrays, giving flat arrays) in stages."""
    program = cut_program(fn, *args, at="optimization_barrier")
    compiled: dict[str, Any] = {}
    last = {i: n for n, piece in enumerate(program.pieces) for i in piece.reads}
    kept = {*program.outputs, *program.consts}
    stages = []
    for n, piece in enumerate(program.pieces):
        drops = [i for i in {*piece.reads, *piece.makes} if last.get(i, n) == n and i not in kept]
        stages.append(Stage(_compiled(piece, compiled), piece.reads, piece.makes, tuple(drops)))
    return Staged(tuple(stages), program.consts, program.inputs, program.outputs)


def _compiled(piece: Any, cache: dict[str, Any]) -> Any:
    """The executable of a piece; equal programs share one."""
    lowered = jax.jit(piece.run, keep_unused=True).lower(*piece.structs)  # equal programs must take the same arguments
    text = lowered.as_text()
    if text not in cache:
        cache[text] = lowered.compile()
    return cache[text]

"""Running a long program in stages, so that each layer's covariance is written to memory once.

XLA on a CPU fuses a straight-line kernel program into itself and recomputes a layer inside every read of it. So the
program of a pair is cut at the covariances of the nonlinear values (marked by `boundary`), and the pieces are mapped over
the examples of a tile and compiled apart. Pieces that are the same program, as those of repeated layers are, are mapped
and compiled once. What depends on one input alone is computed once an example, what depends on none once in all.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from widelimit import gaussian, trace


def boundary(k: Array) -> Array:
    """Mark a value that is to be written to memory (and its tangent)."""
    return jax.lax.optimization_barrier(k)


@jax.custom_jvp
def in_one(value: Array, gap: Array, k11: Array, k22: Array) -> tuple[Array, Array]:
    """Mark c = E[φψ] >= 0 and the gap E[(φ − ψ)²] = k11 + k22 − 2c as one array to be written to memory.

    Of near pairs the gap is kept, with its sign changed, and of all others c: the other of the two follows from it without
    loss. No derivative is taken of the gap.
    """
    # The absolute values set the signs of rounding errors below 0, and of -0.
    kept = jnp.where(gap < gaussian.NEAR * (k11 + k22), -jnp.abs(gap), jnp.abs(value))
    return _apart(boundary(kept), k11, k22)


@trace.made_again
def _apart(kept: Array, k11: Array, k22: Array) -> tuple[Array, Array]:
    near, total = jnp.signbit(kept), k11 + k22
    return jnp.where(near, (total + kept) / 2, kept), jnp.where(near, -kept, total - 2 * kept)


@in_one.defjvp
def _in_one_jvp(primals: tuple, tangents: tuple) -> tuple:
    value, gap = in_one(*primals)
    return (value, gap), (boundary(tangents[0]), jnp.zeros_like(gap))


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A compiled piece: which values it reads and makes, by number, which are of no more use after it, and its sides."""

    run: Callable[..., Sequence[Array]]
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    drops: tuple[int, ...]
    side: int

    def into(self, values: dict[int, Any]) -> None:
        values.update(zip(self.makes, self.run(*[values[i] for i in self.reads]), strict=True))


@dataclasses.dataclass(frozen=True, eq=False)
class Staged:
    """A function of two lists of inputs on all their pairs, compiled in stages for one length of the lists."""

    stages: tuple[Stage, ...]
    consts: dict[int, Any]
    program: trace.Cut
    counts: tuple[int, int]

    def __call__(self, left: Sequence[Array] | dict, right: Sequence[Array] | dict) -> list[Array]:
        """All pairs of inputs, or of what `alone` made of them."""
        values = {**self.consts, **self._named(left, trace.LEFT), **self._named(right, trace.RIGHT)}
        done = {side for side, given in ((trace.LEFT, left), (trace.RIGHT, right)) if isinstance(given, dict)}
        for stage in self.stages:
            if stage.side not in done:
                stage.into(values)
            for i in stage.drops:
                values.pop(i, None)
        return [self._on_all(values[i], side) for i, side in zip(self.program.outputs, self.program.sides, strict=True)]

    def alone(self, leaves: Sequence[Array], side: int) -> dict[int, Array]:
        """What pairs need of inputs of one side, to be used with many of the other."""
        values, carried = {**self.consts, **self._named(leaves, side)}, self._carried(side)
        for stage in self.stages:
            if stage.side == side:
                stage.into(values)
                for i in {*stage.drops}.difference(carried):
                    values.pop(i, None)
        return {i: values[i] for i in carried}

    def mirrored(self, left: dict[int, Array]) -> dict[int, Array]:
        """What `alone` made of inputs of the left side, as what it would make of the same ones on the right."""
        return {right: left[i] for right, i in self._mirrors.items()}

    @property
    def is_mirrored(self) -> bool:
        """Whether both sides are computed alike."""
        return self._mirrors.keys() == self._needed(trace.RIGHT)

    @functools.cached_property
    def _mirrors(self) -> dict[int, int]:
        """For what pairs need of the right, what is the same of the left."""
        if self.counts[0] != self.counts[1]:
            return {}
        own, mirrors = self._own(trace.LEFT), self.program.mirrors
        return {i: mirrors[i] for i in self._needed(trace.RIGHT) if mirrors.get(i) in own}

    def alone_bytes(self, side: int) -> int:
        """The memory that `alone` takes for one input."""
        avals = (self.program.avals[i] for i in self._carried(side))
        return sum(a.size * a.dtype.itemsize for a in avals)

    def _carried(self, side: int) -> list[int]:
        others = self._mirrors.values() if side == trace.LEFT and self.is_mirrored else ()
        return sorted(self._needed(side).union(others))

    def _needed(self, side: int) -> set[int]:
        """What of one side alone is read by what is of both, or is a result."""
        read = {i for stage in self.stages if stage.side != side for i in stage.reads} | {*self.program.outputs}
        return self._own(side) & read

    def _own(self, side: int) -> set[int]:
        return {*self._inputs(side)} | {i for stage in self.stages if stage.side == side for i in stage.makes}

    def _named(self, leaves: Sequence[Array] | dict, side: int) -> dict[int, Array]:
        return leaves if isinstance(leaves, dict) else dict(zip(self._inputs(side), leaves, strict=True))

    def _inputs(self, side: int) -> tuple[int, ...]:
        half = len(self.program.inputs) // 2
        return self.program.inputs[:half] if side == trace.LEFT else self.program.inputs[half:]

    def _on_all(self, value: Any, side: int) -> Array:
        """What does not depend on both inputs, for all pairs."""
        if side == trace.BOTH:
            return value
        missing = [axis for axis, one in enumerate((trace.LEFT, trace.RIGHT)) if not side & one]
        value = jnp.expand_dims(value, missing)
        return jnp.broadcast_to(value, (*self.counts, *value.shape[2:]))


def staged(program: Any, counts: tuple[int, int]) -> Staged:
    """Compile a closed program of pairs, whose inputs are those of one side and as many of the other, in stages.

    The result takes `counts` examples on both sides and gives all pairs.
    """
    arguments = len(program.jaxpr.invars) // 2
    cut = trace.cut(program, [trace.LEFT] * arguments + [trace.RIGHT] * arguments, counts, at="optimization_barrier")
    compiled: dict[Any, Any] = {}
    consts, stages = dict(cut.consts), []
    last = {i: n for n, piece in enumerate(cut.pieces) for i in piece.reads}
    for n, piece in enumerate(cut.pieces):
        run = _compiled(piece, counts, compiled)
        if not any((*piece.sides[0], *piece.sides[1])):
            consts.update(zip(piece.makes, run(*[consts[i] for i in piece.reads]), strict=True))
            continue
        kept = {*cut.outputs, *consts}
        drops = [i for i in {*piece.reads, *piece.makes} if last.get(i, n) == n and i not in kept]
        side = functools.reduce(operator.or_, piece.sides[1])
        stages.append(Stage(run, piece.reads, piece.makes, tuple(drops), side))
    return Staged(tuple(stages), consts, cut, counts)


def _compiled(piece: trace.Piece, counts: tuple[int, int], cache: dict[Any, Any]) -> Any:
    """The executable of a piece on lists of examples; equal pieces share one, and so do equal pieces of the two sides."""
    sides = piece.sides
    if not any(s & trace.LEFT for s in (*sides[0], *sides[1])):
        counts, sides = counts[::-1], tuple(tuple(trace.LEFT if s else 0 for s in group) for group in sides)
    key = (piece.key, sides, counts)
    if key not in cache:
        structs = [_listed(struct, side, counts) for struct, side in zip(piece.structs, sides[0], strict=True)]
        # Equal programs must take the same arguments.
        cache[key] = jax.jit(_mapped(piece.run, sides), keep_unused=True).lower(*structs).compile()
    return cache[key]


def _mapped(run: Callable[..., list[Array]], sides: tuple[tuple[int, ...], ...]) -> Callable[..., list[Array]]:
    """`run` over the examples of both sides, as far as its arguments depend on them."""
    for one in (trace.RIGHT, trace.LEFT):
        reads, makes = ([0 if s & one else None for s in group] for group in sides)
        if 0 in reads:
            run = jax.vmap(run, in_axes=tuple(reads), out_axes=makes)
    return run


def _listed(struct: Any, side: int, counts: tuple[int, int]) -> Any:
    lengths = [n for n, one in zip(counts, (trace.LEFT, trace.RIGHT), strict=True) if side & one]
    return jax.ShapeDtypeStruct((*lengths, *struct.shape), struct.dtype)

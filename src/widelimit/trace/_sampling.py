"""What each value of an `init` program is: a number, a key, or an array of independent draws from one law.

The program is walked at one width with an example key. Keys are then concrete, so that the same key used twice is
seen for what it is, however it was split, folded or passed on; what is drawn from them stays abstract: the random bits
behind each entry, and the function from bits to entry, known by its values at a grid of bits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.trace import _draws, _numeric
from widelimit.trace._entries import Entries, Ledger, joined
from widelimit.trace._jaxpr import Body, Step, opened, scan_counts, walk
from widelimit.trace._orthogonal import Orthonormal, Triangle, decomposed, followed
from widelimit.trace._same import array_key, key_of

_REARRANGES = frozenset(
    {"reshape", "transpose", "squeeze", "expand_dims", "slice", "rev", "split", "unstack", "dynamic_slice"}
)
_REPEATS = frozenset({"broadcast_in_dim", "gather", "tile"})
_JOINS = frozenset({"concatenate", "stack"})
_LONGEST_LOOP = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Number:
    """An array that no key enters: in float64, of relative precision `eps`.

    Or the law of large numbers made one of a sum of `terms` draws, whose number must then grow with the width.
    """

    array: np.ndarray
    eps: float
    terms: int = 0
    where: str = ""

    @property
    def uniform(self) -> bool:
        """Whether all entries are one number (seen at once where it was broadcast from a scalar)."""
        return not any(self.array.strides) or bool(np.all(self.array == self.array.ravel()[:1]))

    @property
    def scalar(self) -> np.ndarray:
        return np.asarray(self.array.flat[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Key:
    """A key, its words, or whole numbers computed from them; `fixed` where it is not that of `init(key, width)`."""

    array: jax.Array
    fixed: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """Entries x(u) of random bits u, each of its own: `probe` are the values of x at the grid `u`."""

    u: np.ndarray
    probe: np.ndarray
    entries: Entries
    eps: float
    where: str

    def law(self) -> _draws.Moments | None:
        return _draws.recognise(self.u, self.probe, eps=self.eps)


@dataclasses.dataclass(frozen=True, eq=False)
class Unread:
    """What has no law that can be read, and why."""

    why: str


Sample = Number | Key | Draw | Orthonormal | Triangle | Unread


def samples(bodies: Sequence[Body]) -> list[list[Sample]]:
    """What each output of the programs of `init(key)` at several widths is."""
    with jax.ensure_compile_time_eval():
        inputs = [Key(_example_key(v.aval), fixed=False) for v in bodies[0].jaxpr.invars]
        once = _Once()
        return [_Walk(once).run(body, inputs) for body in bodies]


def _example_key(aval: Any) -> jax.Array:
    """A key of the shape and kind that the program takes."""
    if not _numeric.is_key(aval.dtype):
        return jnp.arange(1, 1 + int(np.prod(aval.shape)), dtype=aval.dtype).reshape(aval.shape)
    keys = [jax.random.key(0, impl=impl) for impl in ("threefry2x32", "rbg", "unsafe_rbg")]
    return next(jax.random.split(k, aval.shape) if aval.shape else k for k in keys if k.dtype == aval.dtype)


def lift(values: Sequence[Any]) -> Sample:
    """A constant of the program."""
    (value,) = values
    if _numeric.is_key(value.dtype):
        return Key(jnp.asarray(value), fixed=True)
    return Number(_numeric.widened(value), _numeric.eps(value.dtype))


class _Once:
    """What operations give of arrays, found once for the same ones: layers draw alike, and so does a layer at every width."""

    def __init__(self) -> None:
        self._found: dict[Any, tuple[Any, Any]] = {}

    def __call__(self, step: Step, arrays: Sequence[Any], make: Callable[[], Any]) -> Any:
        """What `make` gives for this step of these arrays, which are kept, so that no others take their identity."""
        (eqn, *_), same = step.eqns, tuple(map(_identity, arrays))
        key = (eqn.primitive, key_of(eqn.params), *(v.aval.dtype for v in (*eqn.invars, *eqn.outvars)), *same)
        if key not in self._found:
            self._found[key] = (make(), arrays)
        return self._found[key][0]


def _identity(array: Any) -> Any:
    return array_key(array) if isinstance(array, np.ndarray) and array.size <= 1 else id(array)


class _Walk:
    """One walk through a program; the ledger says which draws share bits."""

    def __init__(self, once: _Once) -> None:
        self.ledger = Ledger()
        self.once = once

    def run(self, body: Body, inputs: Sequence[Sample]) -> list[Sample]:
        return walk([body], inputs, self.rule, lift)

    def rule(self, step: Step, values: list[Sample]) -> list[Sample]:
        unread = next((v for v in values if isinstance(v, Unread)), None)
        if unread is not None:
            return [unread] * len(_outputs(step))
        if step.name == "random_bits":
            return [self._bits(step, *values)]
        if all(isinstance(v, Number) for v in values):
            return _numbers(step, values)
        if step.name == "scan":
            return self._loop(step, values)
        if step.name == "cond" and isinstance(values[0], Number):
            branches = step.params["branches"]
            index = int(np.clip(values[0].scalar, 0, len(branches) - 1))
            return self.run(opened(branches[index]), values[1:])
        if step.name == "qr" or any(isinstance(v, Orthonormal | Triangle) for v in values):
            return _orthogonal(step, values)
        if any(isinstance(v, Draw) for v in values):
            return _drawn(step, values, self.once)
        return _keys(step, values, self.once)

    def _bits(self, step: Step, key: Sample) -> Sample:
        if not isinstance(key, Key) or key.fixed:
            return Unread(
                f"it is drawn with a key that `init` makes itself, not with the `key` that it is given ({step.where}), "
                "so that every call gives the same numbers"
            )
        bits, u = _draws.levels(step.params["bit_width"])
        return Draw(u, bits, self.ledger.draw(key.array, step.params["shape"]), 0.0, step.where)

    def _loop(self, step: Step, values: list[Sample]) -> list[Sample]:
        """A scan, unrolled: the law of what it stacks is that of its rounds, if they have one law."""
        (body,), length = step.bodies("jaxpr"), step.params["length"]
        if length > _LONGEST_LOOP:
            return [_unread(step)] * len(_outputs(step))
        consts, carried = scan_counts(step)
        fixed, carry, scanned = values[:consts], values[consts : consts + carried], values[consts + carried :]
        rounds = []
        for i in reversed(range(length)) if step.params["reverse"] else range(length):
            out = self.run(body, [*fixed, *carry, *(_row(v, i) for v in scanned)])
            carry = out[:carried]
            rounds.append(out[carried:])
        order = rounds[::-1] if step.params["reverse"] else rounds
        return [*carry, *(_stacked(step, rows) for rows in zip(*order, strict=True))]


def _outputs(step: Step) -> Sequence[Any]:
    return step.eqns[0].outvars


def _unread(step: Step, what: str = "its entries come through") -> Unread:
    return Unread(f"{what} `{step.name}` ({step.where})")


# Numbers and keys: evaluated


def _numbers(step: Step, values: Sequence[Number]) -> list[Sample]:
    """Numbers of numbers; they are sums of as many draws as the shortest sum among them."""
    found, summed = _evaluated_numbers(step, values), [v for v in values if v.terms]
    if not summed:
        return found
    shortest = min(summed, key=lambda v: v.terms)
    return [
        dataclasses.replace(x, terms=shortest.terms, where=shortest.where) if isinstance(x, Number) else x
        for x in found
    ]


def _evaluated_numbers(step: Step, values: Sequence[Number]) -> list[Sample]:
    shape, precision = step.shapes()[0], max([_numeric.eps(step.dtype()), *(v.eps for v in values)])
    plain = step.name in _numeric.ELEMENTWISE and step.name != "bitcast_convert_type"
    if plain and all(v.uniform for v in values) and all(v.array.size for v in values):
        scalar = _numeric.evaluate(step, [v.scalar for v in values])
        return [Number(np.broadcast_to(scalar, shape), precision)]
    if plain:
        return [Number(np.broadcast_to(_numeric.evaluate(step, [v.array for v in values]), shape), precision)]
    if step.name in ("broadcast_in_dim", "reshape") and len(values) == 1 and values[0].array.size and values[0].uniform:
        return [Number(np.broadcast_to(values[0].scalar, shape), precision)]
    return [_evaluated(out, precision, fixed=True) for out in step.bind(*_native(step, values))]


def _keys(step: Step, values: Sequence[Number | Key], once: _Once) -> list[Sample]:
    if any(_numeric.is_float(v.aval.dtype) for v in _outputs(step)):
        return [_unread(step)] * len(_outputs(step))
    fixed = all(v.fixed for v in values if isinstance(v, Key))
    make = {"unstack": _unstacked, "slice": _sliced}.get(step.name, Step.bind)
    found = once(step, [v.array for v in values], lambda: list(make(step, *_native(step, values))))
    return [Key(out, fixed) for out in found]


# Keys are cut without compiling: a program a key, or one of as many outputs, takes longer than all else.


def _unstacked(step: Step, keys: jax.Array) -> list[jax.Array]:
    axis = step.params["axis"] + (keys.ndim if step.params["axis"] < 0 else 0)
    return _of_bits(keys, lambda bits: np.moveaxis(bits, axis, 0))


def _sliced(step: Step, keys: jax.Array) -> list[jax.Array]:
    starts, limits = step.params["start_indices"], step.params["limit_indices"]
    strides = step.params["strides"] or (1,) * len(starts)
    cut = tuple(map(slice, starts, limits, strides))
    return _of_bits(keys, lambda bits: [bits[cut]])


def _of_bits(keys: jax.Array, parts: Callable[[np.ndarray], Iterable[np.ndarray]]) -> list[jax.Array]:
    """Parts of an array of keys, or of their bits; `parts` acts on the leading axes."""
    if not _numeric.is_key(keys.dtype):
        return list(map(jnp.asarray, parts(np.asarray(keys))))
    impl = jax.random.key_impl(keys)
    return [jax.random.wrap_key_data(jnp.asarray(b), impl=impl) for b in parts(np.asarray(jax.random.key_data(keys)))]


def _evaluated(out: jax.Array, precision: float, *, fixed: bool) -> Sample:
    return Key(out, fixed) if _numeric.is_key(out.dtype) else Number(_numeric.widened(out), precision)


def _native(step: Step, values: Sequence[Number | Key]) -> list[jax.Array]:
    """The operands in the dtypes that the program has them in."""
    avals = [v.aval for v in step.eqns[0].invars]
    return [
        v.array if isinstance(v, Key) else jnp.asarray(v.array, a.dtype) for v, a in zip(values, avals, strict=True)
    ]


# Draws


def _drawn(step: Step, values: Sequence[Sample], once: _Once) -> list[Sample]:
    if any(isinstance(v, Key) for v in values):
        return [_unread(step)] * len(_outputs(step))
    if step.name == "optimization_barrier":
        return list(values)
    if step.name in _numeric.ELEMENTWISE:
        return [_elementwise(step, values, once)]
    if step.name in _REARRANGES | _REPEATS and isinstance(values[0], Draw):
        return _rearranged(step, values)
    if step.name in _JOINS:
        return [_joined(step, values)]
    if step.name == "reduce_sum":
        return [_summed(step, *values)]
    return [_unread(step)] * len(_outputs(step))


def _orthogonal(step: Step, values: Sequence[Sample]) -> list[Sample]:
    """A QR decomposition of draws, and what is made of it."""
    found = None
    if isinstance(values[0], Draw) and step.name == "qr":
        found = decomposed(step, values[0].entries, values[0].law(), values[0].eps)
    elif all(isinstance(v, Number | Orthonormal | Triangle) for v in values):
        avals = [v.aval for v in step.eqns[0].invars]
        arrays = [
            None if isinstance(v, Orthonormal) else jnp.asarray(v.array, a.dtype)
            for v, a in zip(values, avals, strict=True)
        ]
        found = followed(step, values, arrays)
    return [_unread(step)] * len(_outputs(step)) if found is None else found


def _summed(step: Step, draw: Draw) -> Sample:
    """Σ x_i = m E x to leading order in the number m of its terms (the norms that weight normalisation starts its gains at)."""
    shape = step.eqns[0].invars[0].aval.shape
    terms = math.prod(shape[axis] for axis in step.params["axes"])
    if not draw.entries.distinct:
        return _unread(step)
    mean = _draws.mean_of_square(draw.u, draw.probe, eps=draw.eps)
    if mean is None:
        return _unread(step)
    return Number(np.broadcast_to(np.asarray(terms * mean), step.shapes()[0]), max(draw.eps, 1e-7), terms, step.where)


def _elementwise(step: Step, values: Sequence[Number | Draw], once: _Once) -> Sample:
    draws = [v for v in values if isinstance(v, Draw)]
    if any(d.entries is not draws[0].entries for d in draws):
        return _unread(step, "it joins several draws by")
    if not all(v.uniform for v in values if isinstance(v, Number)):
        return _unread(
            step, "its entries are drawn alike, but then meet an array that is not the same number everywhere, in"
        )
    arrays = [v.probe if isinstance(v, Draw) else v.scalar for v in values]
    probe = once(step, arrays, lambda: _numeric.evaluate(step, arrays))
    eps = max(_numeric.eps(step.dtype()), *(v.eps for v in values), 0.0)
    entries = _broadcast(step, values, draws[0].entries)
    return dataclasses.replace(draws[0], probe=probe, eps=eps, entries=entries)


def _broadcast(step: Step, values: Sequence[Number | Draw], entries: Entries) -> Entries:
    """The entries once an operand of size one has been spread along the other's axes."""
    shape = step.shapes()[0]
    shapes = {v.aval.shape for v, x in zip(step.eqns[0].invars, values, strict=True) if isinstance(x, Draw)}
    if shapes == {shape}:
        return entries
    return entries.moved(lambda numbers: np.broadcast_to(numbers, shape), keeps=False)


def _rearranged(step: Step, values: Sequence[Sample]) -> list[Sample]:
    draw, *others = values
    if not all(isinstance(v, Number) for v in others):
        return [_unread(step)] * len(_outputs(step))
    operands = _native(step, [Number(np.zeros(()), 0.0), *others])[1:]

    def moved(output: int) -> Draw:
        def fn(numbers: np.ndarray) -> np.ndarray:
            return np.asarray(step.bind(jnp.asarray(numbers), *operands)[output])

        return dataclasses.replace(draw, entries=draw.entries.moved(fn, keeps=step.name in _REARRANGES))

    return [moved(output) for output in range(len(_outputs(step)))]


def _joined(step: Step, parts: Sequence[Sample]) -> Sample:
    def fn(*numbers: np.ndarray) -> np.ndarray:
        return np.asarray(step.bind(*(jnp.asarray(n) for n in numbers))[0])

    return _of_one_law(step, parts) or _together(parts, joined([p.entries for p in parts], fn))


def _stacked(step: Step, rows: Sequence[Sample]) -> Sample:
    """The rounds of a loop, stacked along a new first axis."""
    unread = next((r for r in rows if isinstance(r, Unread)), None)
    if unread is not None:
        return unread
    if all(isinstance(r, Number) for r in rows):
        return Number(np.stack([r.array for r in rows]), max(r.eps for r in rows))
    if all(isinstance(r, Key) for r in rows):
        return Key(jnp.stack([r.array for r in rows]), all(r.fixed for r in rows))
    return _of_one_law(step, rows) or _together(rows, joined([r.entries for r in rows], lambda *n: np.stack(n)))


def _of_one_law(step: Step, parts: Sequence[Sample]) -> Unread | None:
    """A complaint where parts that are put together are not drawn from one law."""
    if not all(isinstance(p, Draw) for p in parts):
        return _unread(step, "draws and constants are put together by")
    first = parts[0]
    if all(p.probe.shape == first.probe.shape and np.allclose(p.probe, first.probe, rtol=1e-6, atol=0) for p in parts):
        return None
    return _unread(step, "parts with different laws are put together by")


def _together(parts: Sequence[Draw], entries: Entries) -> Draw:
    return dataclasses.replace(parts[0], entries=entries, eps=max(p.eps for p in parts))


def _row(value: Sample, i: int) -> Sample:
    """Row i of what a loop runs over."""
    if isinstance(value, Number):
        return Number(np.asarray(value.array[i]), value.eps)
    if isinstance(value, Key):
        return Key(value.array[i], value.fixed)
    return dataclasses.replace(value, entries=value.entries.moved(lambda numbers: numbers[i], keeps=True))

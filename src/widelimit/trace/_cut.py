"""Cutting the program of a pair of inputs into pieces that are compiled apart.

A program that JAX wrote down is made flat (calls are opened, an operation that stands twice is kept once, what nothing
needs is left out), each value is known by a number and by the inputs that it depends on, and the operations are parted
at marks. What depends on one input alone is a piece of its own: it is computed once for that input, not once a pair.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from widelimit.trace._jaxpr import Body, bind, called, is_literal, opened
from widelimit.trace._same import array_key, key_of

LEFT, RIGHT = 1, 2  # a value's dependence on the inputs of the two sides, as bits
BOTH = LEFT | RIGHT

_LARGE = 2**13  # entries of an array that is worth a piece of its own
_TOGETHER = 4  # small arrays in a piece
_PASSING = frozenset(("stop_gradient",))  # what they pass is the same value: nothing is differentiated any more
_REPEATED = frozenset(
    ("broadcast_in_dim", "iota")
)  # made again where they are read: that is cheaper than to store them


def made_again(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose operations are made again wherever a piece reads their results: they are not stored."""

    def remade(*args: Any) -> Any:
        return fn(*args)

    return jax.jit(remade)


@dataclasses.dataclass(frozen=True, eq=False)
class Literal:
    """An operand that is written in the program; the same object for equal numbers in one program."""

    value: np.ndarray


Operand = int | Literal


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """An equation of a body, read once however often the body is called.

    `key` is equal for lines that do the same with their operands; `body` is what it calls, if it is a call.
    """

    eqn: Any
    key: int | None
    body: Body | None
    atoms: tuple[Any, ...]  # variables and `Literal`s
    again: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """An equation whose operands and results are known by number."""

    eqn: Any
    key: int
    reads: tuple[Operand, ...]
    makes: tuple[int, ...]

    @functools.cached_property
    def numbers(self) -> list[int]:
        return [i for i in self.reads if not isinstance(i, Literal)]


@dataclasses.dataclass(frozen=True)
class Group:
    """Operations between marks, and those of others that lead them."""

    lead: list[Operation]
    own: list[Operation]

    @property
    def operations(self) -> list[Operation]:
        return [*self.lead, *self.own]

    @functools.cached_property
    def reads(self) -> list[int]:
        """The numbers of what others make, in the order of first use."""
        made = {i for o in self.operations for i in o.makes}
        return list(dict.fromkeys(i for o in self.operations for i in o.numbers if i not in made))


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Operations as a function of arrays: the numbers that it reads and makes.

    Attributes:
        key: Equal for pieces of one cut that are the same function of arrays of the same shapes, whichever inputs they depend on.
        sides: On which inputs each value read, then each value made, depends.
        structs: Shapes of the values read, for one pair.
    """

    run: Callable[..., list[Any]]
    key: Any
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    sides: tuple[tuple[int, ...], tuple[int, ...]]
    structs: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Cut:
    """A program in pieces, in an order in which they can be run; `avals` are the shapes of all values, for one pair.

    `mirrors` names, for values of the right side, those of the left that are the same function of the other input.
    """

    pieces: tuple[Piece, ...]
    consts: dict[int, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sides: tuple[int, ...]
    avals: tuple[Any, ...]
    mirrors: dict[int, int]


def cut(program: Any, sides: Sequence[int], counts: tuple[int, int], *, at: str) -> Cut:
    """Cut a closed program after every run of operations `at`, which pass values through.

    `sides` are those of the program's inputs, `counts` the numbers of examples on both sides that a piece is to run on:
    an array over them that is large is worth a piece of its own.
    """
    flat = _Flat(at)
    inputs = tuple(flat.new(v.aval, side) for v, side in zip(program.jaxpr.invars, sides, strict=True))
    outputs = tuple(flat.number(o) for o in flat.walk(opened(program), inputs))
    mirrors = flat.mirror(inputs)
    groups = _groups(flat, _needed(flat, outputs, mirrors), counts)
    wanted = {*outputs, *(i for group in groups for i in group.reads)}
    wanted |= {mirrors[i] for i in wanted if i in mirrors}
    pieces = _in_order([piece for group in groups if (piece := _piece(group, flat, wanted)).makes])
    sides_of = tuple(flat.sides[i] for i in outputs)
    return Cut(tuple(pieces), flat.consts, inputs, outputs, sides_of, tuple(flat.avals), mirrors)


class _Flat:
    """The operations of a program with its calls opened. A number for each value, with its shape and its sides."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.operations: list[Operation | None] = []  # None is a mark
        self.marked: list[int | None] = []
        self.avals: list[Any] = []
        self.sides: list[int] = []
        self.consts: dict[int, Any] = {}
        self.again: set[int] = set()  # values that are made again where they are read
        self._known: dict[Any, tuple[int, ...]] = {}
        self._keys: dict[Any, int] = {}
        self._literals: dict[Any, Literal] = {}
        self._lines: dict[int, tuple[Any, list[Line]]] = {}

    def new(self, aval: Any, side: int) -> int:
        self.avals.append(aval)
        self.sides.append(side)
        return len(self.avals) - 1

    def number(self, operand: Operand) -> int:
        return operand if isinstance(operand, int) else self._const(operand.value, operand)

    def _const(self, value: Any, key: Any) -> int:
        if key not in self._known:
            self._known[key] = (self.new(jax.typeof(value), 0),)
            self.consts[self._known[key][0]] = value
        return self._known[key][0]

    def walk(self, body: Body, inputs: Sequence[Operand], *, again: bool = False) -> list[Operand]:
        jaxpr = body.jaxpr
        known: dict[Any, Operand] = dict(zip(jaxpr.invars, inputs, strict=True))
        known.update((v, self._const(c, id(c))) for v, c in zip(jaxpr.constvars, body.consts, strict=False))
        for line in self._read(jaxpr):
            operands = [known.get(atom, atom) for atom in line.atoms]
            known.update(zip(line.eqn.outvars, self._made(line, operands, again or line.again), strict=True))
        return [self._literal(v) if is_literal(v) else known[v] for v in jaxpr.outvars]

    def _read(self, jaxpr: Any) -> list[Line]:
        """The lines of a body, which is kept so that no other takes its identity."""
        if id(jaxpr) not in self._lines:
            self._lines[id(jaxpr)] = (jaxpr, [self._line(eqn) for eqn in jaxpr.eqns])
        return self._lines[id(jaxpr)][1]

    def _line(self, eqn: Any) -> Line:
        name, body = eqn.primitive.name, called(eqn)
        atoms = tuple(self._literal(v) if is_literal(v) else v for v in eqn.invars)
        if body is not None:
            return Line(eqn, None, body, atoms, eqn.params.get("name") == "remade")
        key = (eqn.primitive, key_of(eqn.params))
        return Line(eqn, self._keys.setdefault(key, len(self._keys)), None, atoms, name in _REPEATED)

    def _literal(self, atom: Any) -> Literal:
        value = np.asarray(atom.val, atom.aval.dtype)
        return self._literals.setdefault(array_key(value), Literal(value))

    def _made(self, line: Line, operands: list[Operand], again: bool) -> Sequence[Operand]:
        if line.body is not None:
            return self.walk(line.body, operands, again=again)
        name = line.eqn.primitive.name
        if name == self.at:
            return self._mark(operands)
        if name in _PASSING:
            return operands
        made = self._kept(line.eqn, line.key, operands)
        if again:
            self.again.update(made)
        return made

    def _kept(self, eqn: Any, key: int, operands: Sequence[Operand]) -> tuple[int, ...]:
        """What an operation makes, which is kept once."""
        whole = (key, *operands)
        if whole not in self._known:
            side = 0
            for o in operands:
                side |= 0 if isinstance(o, Literal) else self.sides[o]
            self._known[whole] = tuple(self.new(v.aval, side) for v in eqn.outvars)
            self.operations.append(Operation(eqn, key, tuple(operands), self._known[whole]))
        return self._known[whole]

    def mirror(self, inputs: Sequence[int]) -> dict[int, int]:
        """For values of the right side, those of the left that the same operations make of the other side's inputs.

        Operations that stand on the right only are added for the left; whether anything needs them is another question.
        """
        left, right = ([i for i in inputs if self.sides[i] == one] for one in (LEFT, RIGHT))
        if [self.avals[i] for i in left] != [self.avals[i] for i in right]:
            return {}
        mirrors, count = dict(zip(right, left, strict=True)), len(self.operations)
        for o in [o for o in self.operations if o is not None and {self.sides[i] for i in o.makes} == {RIGHT}]:
            operands = [i if isinstance(i, Literal) else mirrors.get(i, i) for i in o.reads]
            mirrors.update(zip(o.makes, self._kept(o.eqn, o.key, operands), strict=True))
            self.again.update(mirrors[i] for i in o.makes if i in self.again)
        self._put_in_place(count)
        return mirrors

    def _put_in_place(self, count: int) -> None:
        """Move the operations after the first `count` behind the last one whose results they read: so are they parted by marks."""
        places = {i: n for n, o in enumerate(self.operations[:count]) if o is not None for i in o.makes}
        order = [*range(count)]
        for o in self.operations[count:]:
            order.append(max((places.get(i, -1) for i in o.numbers), default=-1))
            places.update(dict.fromkeys(o.makes, order[-1]))
        ranked = sorted(range(len(order)), key=order.__getitem__)
        self.operations = [self.operations[n] for n in ranked]

    def _mark(self, operands: list[Operand]) -> list[Operand]:
        """A run of marks counts once."""
        if self.operations and self.operations[-1] is not None and not isinstance(operands[0], Literal):
            self.operations.append(None)
            self.marked.append(operands[0])
        return operands


# --- groups -----------------------------------------------------------------------------------------------------------


def _groups(flat: _Flat, kept: Sequence[Operation | None], counts: tuple[int, int]) -> list[Group]:
    """Operations parted by their sides and at the marks among them, with what they make again."""
    marks = iter(flat.marked)
    groups: dict[tuple[int, int], list[Operation]] = {}
    weights = dict.fromkeys(range(4), 0.0)
    for operation in kept:
        if operation is None:
            size = flat.avals[next(marks)].size
            for side in weights:
                weights[side] += 1.0 if size * _pairs(side, counts) >= _LARGE else 1.0 / _TOGETHER
            continue
        side = flat.sides[operation.makes[0]]
        groups.setdefault((side, int(weights[side]) if side else 0), []).append(operation)
    maker = {i: o for o in kept if o is not None for i in o.makes if i in flat.again}
    return [_with_repeated(group, maker) for group in groups.values()]


def _needed(flat: _Flat, outputs: Sequence[int], mirrors: dict[int, int]) -> list[Operation | None]:
    """The operations that results need, and the marks; what a pair takes of the right is needed of the left as well."""
    maker = {i: o for o in flat.operations if o is not None for i in o.makes}
    needed, waiting = set(), [*outputs, *(mirrors[i] for i in outputs if i in mirrors)]
    while waiting:
        i = waiting.pop()
        if i not in needed and i in maker:
            waiting += maker[i].numbers
            waiting += [mirrors[r] for r in maker[i].numbers if r in mirrors and flat.sides[i] == BOTH]
        needed.add(i)
    return [o for o in flat.operations if o is None or not needed.isdisjoint(o.makes)]


def _pairs(side: int, counts: tuple[int, int]) -> int:
    return (counts[0] if side & LEFT else 1) * (counts[1] if side & RIGHT else 1)


def _with_repeated(group: list[Operation], maker: dict[int, Operation]) -> Group:
    """The group, led by the operations of others that it does again itself."""
    inside, lead = {i for o in group for i in o.makes}, []
    waiting = [i for o in group for i in o.numbers]
    while waiting:
        i = waiting.pop()
        if i in maker and i not in inside:
            inside |= set(maker[i].makes)
            lead.append(maker[i])
            waiting += maker[i].numbers
    return Group(sorted(lead, key=lambda o: o.makes), group)


# --- pieces -----------------------------------------------------------------------------------------------------------


def _piece(group: Group, flat: _Flat, wanted: set[int]) -> Piece:
    reads, operations = tuple(group.reads), group.operations
    makes = tuple(i for o in group.own for i in o.makes if i in wanted)

    def run(*arrays: Any) -> list[Any]:
        values = dict(zip(reads, arrays, strict=True))
        for o in operations:
            operands = [i.value if isinstance(i, Literal) else values[i] for i in o.reads]
            values.update(zip(o.makes, bind(o.eqn, *operands), strict=True))
        return [values[i] for i in makes]

    sides = tuple(tuple(flat.sides[i] for i in numbers) for numbers in (reads, makes))
    structs = tuple(jax.ShapeDtypeStruct(flat.avals[i].shape, flat.avals[i].dtype) for i in reads)
    return Piece(run, (_renumbered(operations, reads, makes), structs), reads, makes, sides, structs)


def _renumbered(operations: Sequence[Operation], reads: Sequence[int], makes: Sequence[int]) -> tuple:
    """What the operations do, whatever the numbers of their values."""
    local = {i: n for n, i in enumerate(reads)}
    lines = []
    for o in operations:
        operands = tuple(i if isinstance(i, Literal) else local[i] for i in o.reads)
        local.update({i: len(local) + n for n, i in enumerate(o.makes)})
        lines.append((o.key, operands))
    return tuple(lines), tuple(local[i] for i in makes)


def _in_order(pieces: Sequence[Piece]) -> list[Piece]:
    """Each piece after those whose values it reads, and no earlier than something of both sides asks for it."""
    maker = {i: piece for piece in pieces for i in piece.makes}
    ordered: dict[Piece, None] = {}

    def add(piece: Piece) -> None:
        waiting = [piece]
        while waiting:
            before = [maker[i] for i in waiting[-1].reads if i in maker and maker[i] not in ordered]
            if before:
                waiting += before
            else:
                ordered[waiting.pop()] = None

    for piece in sorted(pieces, key=lambda p: BOTH not in p.sides[1]):
        add(piece)
    return list(ordered)

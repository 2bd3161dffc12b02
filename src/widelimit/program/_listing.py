"""The reduced form of a program: its variables in the order of computation, each with the formula it is made by.

Chains of coordinatewise operations are one Nonlin, linear combinations one LinComb, as far as no other variable reads a
part of them (Yang & Littwin, Tensor Programs IIb, Definition 5.4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from widelimit.program import _formula as f
from widelimit.program._familiar import familiar
from widelimit.program._known import Apply, Constant, Input, Known, Mapped, Moment, Slope
from widelimit.program._operations import operation
from widelimit.program._rearranged import count, mapped, rearranges_only
from widelimit.program._value import (
    Depthwise,
    Fluctuation,
    Given,
    Image,
    MatMul,
    Pointwise,
    Product,
    Scaled,
    Sum,
    Value,
    Vector,
    Weight,
)
from widelimit.program._walk import ingredients, steps

Node = Value | Known
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_MANY = 3  # Gaussians in a sum that is named inside of a nonlinearity


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """One variable: the instruction that makes it and its formula."""

    node: Node
    kind: str
    formula: f.Formula
    weight: Weight | None = None
    factor: float = 1.0
    note: str = ""

    @property
    def letter(self) -> str:
        """g (Gaussian), x (another vector) or θ (a scalar), as in the papers."""
        if isinstance(self.node, Known):
            return "θ"
        return "g" if self.node.is_gaussian else "x"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.node.shape

    @property
    def where(self) -> str:
        """The place in the code: file, line and function."""
        place, _, function = getattr(self.node, "where", "").rpartition("/")[2].partition(" (")
        inner = [part for part in function.rstrip(")").split(".") if not part.startswith("<")]
        return " ".join([place.rpartition(":")[0] if place.count(":") > 1 else place, *inner[-1:]])

    @property
    def reads(self) -> list[Any]:
        """The variables (and inputs) that the formula names."""
        return self.formula.variables()

    @property
    def amplitude(self) -> float:
        """What the weight's entries are multiplied by in this use."""
        return self.factor * self.weight.amplitude if self.weight else 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """All variables of a program with their names; `output` is the line of the network's output."""

    lines: tuple[Line, ...]
    names: dict[int, str]
    output: f.Formula

    def name(self, node: Any) -> str:
        return self.names[id(node)]

    def text(self, formula: f.Formula) -> str:
        return formula.text(self.name)


def listing(output: Value, label: Callable[[Weight], str], inputs: int = 1) -> Listing:
    """The program that makes the output; `label` names a use of a parameter."""
    reader = _Reader(output, label)
    lines = tuple(reader.lines())
    names = {id(n): "ξ" if inputs == 1 else f"ξ{_subscript(n.index + 1)}" for n in reader.order if isinstance(n, Input)}
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.letter] = counts.get(line.letter, 0) + 1
        names[id(line.node)] = line.letter + _subscript(counts[line.letter])
    return Listing(lines, names, reader.of(output))


def _subscript(n: int) -> str:
    return str(n).translate(_SUBSCRIPTS)


class _Reader:
    """Which nodes are variables of their own, and the formulas in between."""

    def __init__(self, output: Value, label: Callable[[Weight], str]):
        self.order, self.label = steps(output), label
        self.readers: dict[int, list[Node | None]] = {id(output): [None]}
        self.factors: dict[int, float] = {}
        self.folded: set[int] = set()
        self.owners: dict[int, set[int]] = {}
        self.roots: set[int] = set()
        self.gaussians: dict[int, frozenset[int]] = {}
        self.formulas: dict[int, f.Formula] = {}
        self.chosen: dict[int, Node] = {}
        self._find_readers()
        self._find_roots()

    # --- which nodes are variables ------------------------------------------------------------------------------------

    def _find_readers(self) -> None:
        """For each node the nodes that read it, looking through those that only rearrange or repeat it."""
        for node in reversed(self.order):
            seen_by = self.readers.setdefault(id(node), [])
            for part in ingredients(node):
                into = self.readers.setdefault(id(part), [])
                into.extend(seen_by if self._is_transparent(node) else [node])
        for node in self.order:
            self._fold(node)

    def _fold(self, node: Node) -> None:
        """A product that is only read times a number takes the number in."""
        if isinstance(node, Scaled) and (c := uniform(node.known)) is not None:
            base = _through(node.h)
            if isinstance(base, MatMul | Vector) and len(self.readers[id(base)]) == 1:
                self.factors[id(base)] = c
                self.folded.add(id(node))

    def _is_transparent(self, node: Node) -> bool:
        if isinstance(node, Image | Mapped):
            return rearranges_only(node.maps)
        return isinstance(node, Given)

    def _find_roots(self) -> None:
        for node in reversed(self.order):
            readers = self.readers[id(node)]
            self.owners[id(node)] = set().union(*(self._owner(r) for r in readers))
            if self._is_root(node, readers):
                self.roots.add(id(node))

    def _owner(self, reader: Node | None) -> set[int]:
        if reader is None or id(reader) in self.roots:
            return {id(reader)}
        return self.owners[id(reader)]

    def _is_root(self, node: Node, readers: list[Node | None]) -> bool:
        if isinstance(node, MatMul | Vector | Fluctuation | Moment | Slope):
            return True
        if isinstance(node, Constant | Input) or self._is_transparent(node) or id(node) in self.folded:
            return False
        if isinstance(node, Known):
            return len(self.owners[id(node)]) > 1 or any(isinstance(r, Image) for r in readers)
        if len(self.owners[id(node)]) > 1 or (node.is_gaussian and len(readers) > 1) or self._is_state(node, readers):
            return True
        return any(r is None or isinstance(r, MatMul | Slope) for r in readers)

    def _is_state(self, node: Value, readers: list[Node | None]) -> bool:
        """A sum of several gates that enters a nonlinearity, such as the state of an LSTM cell, has a name of its own."""
        if not isinstance(node, Sum) or node.is_gaussian or not any(isinstance(r, Pointwise) for r in readers):
            return False
        return len(self._gaussians(node)) >= _MANY

    def _gaussians(self, node: Value) -> frozenset[int]:
        """The Gaussian values that a chain is made of."""
        if node.is_gaussian:
            return frozenset() if isinstance(node, Given) else frozenset((id(node),))
        if id(node) not in self.gaussians:
            self.gaussians[id(node)] = frozenset().union(*map(self._gaussians, node.parts))
        return self.gaussians[id(node)]

    # --- their formulas -------------------------------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """The variables; those of equal formulas are one."""
        found: dict[Any, Line] = {}
        for node in self.order:
            if id(node) in self.roots:
                line = self._line(node)
                kept = found.setdefault((line.kind, line.formula, line.shape, line.factor), line)
                self.chosen[id(node)] = kept.node
        return list(found.values())

    def _line(self, node: Node) -> Line:
        match node:
            case MatMul():
                h = f.applied(self.label(node.weight), self.of(node.h))
                kind = "MatMul" if node.weight.is_averaged else "Initial"
                return Line(node, kind, h, node.weight, self.factors.get(id(node), 1.0), _taps(node))
            case Vector():
                label = f.words(self.label(node.weight))
                return Line(node, "Initial", label, node.weight, self.factors.get(id(node), 1.0))
            case Fluctuation():
                return Line(node, "CLT", f.call("m^(−½) Σ", self.of(node.h)))
            case Moment():
                return Line(node, "Moment", self._moment(node))
            case Slope():
                slope = f.slope(self.of(node.of), self.of(node.by))
                return Line(node, "Moment", f.times(f.words(f"σ²({node.by.weight.path})"), slope))
            case Known():
                return Line(node, "Scalar", self._made(node))
        return Line(node, "LinComb" if self._is_linear(node) else "Nonlin", self._made(node))

    def _moment(self, node: Moment) -> f.Formula:
        factors = [node.left] if node.right is None else [node.left, node.right]
        return f.call("E", f.times(*map(self.of, factors)))

    def _is_linear(self, node: Node) -> bool:
        if id(node) in self.chosen or isinstance(node, Known | MatMul | Vector) or id(node) in self.roots - {id(node)}:
            return True
        if isinstance(node, Pointwise | Product | Depthwise):
            return False
        return all(id(p) in self.roots or self._is_linear(p) for p in ingredients(node))

    def of(self, node: Node) -> f.Formula:
        """A node as it is written inside another's formula."""
        if id(node) in self.chosen:
            return f.variable(self.chosen[id(node)])
        if id(node) not in self.formulas:
            self.formulas[id(node)] = self._made(node)
        return self.formulas[id(node)]

    def _made(self, node: Node) -> f.Formula:
        match node:
            case Input():
                return f.variable(node)
            case Constant():
                c = uniform(node)
                return f.words(f"constant[{count(node.shape)}]") if c is None else f.number(c)
            case Given():
                return self.of(node.known)
            case Mapped():
                first, *matrices = map(self.of, node.args)
                return mapped(first, node.maps, matrices)
            case Image():
                matrices = [self.of(m.matrix) for m in node.maps if m.matrix is not None]
                return mapped(self.of(node.h), node.maps, matrices)
            case Sum():
                return self._named(node) or f.plus(*map(self.of, node.terms))
            case Scaled():
                return self.of(node.h) if id(node) in self.folded else f.times(self.of(node.known), self.of(node.h))
            case Product():
                return self._named(node) or f.times(*map(self.of, node.factors))
            case Pointwise():
                return self._named(node) or operation(node.name, node.fn, [self.of(o) for o in node.operands])
            case Depthwise():
                return f.call("depthwise", self.of(node.filter), self.of(node.h))
            case Apply():
                return operation(node.name, node.fn, [self.of(a) for a in node.args])
        return f.call(type(node).__name__, *map(self.of, ingredients(node)))

    # --- activations by name --------------------------------------------------------------------------------------------

    def _named(self, node: Value) -> f.Formula | None:
        """A function of one variable, or of one linear combination, by its common name."""
        if node.is_gaussian or (
            isinstance(node, Pointwise) and len(node.operands) == 1 and self._is_leaf(node.parts[0])
        ):
            return None
        leaves: dict[int, Value] = {}
        if not self._collect(node, leaves) or len(leaves) != 1:
            return None
        (leaf,) = leaves.values()
        name = familiar(lambda z: self._evaluated(node, {id(leaf): z}))
        return None if name is None else f.call(name, self.of(leaf))

    def _is_leaf(self, node: Node) -> bool:
        if id(node) in self.chosen:
            return True
        if not isinstance(node, Value) or isinstance(node, Given) or not node.is_gaussian:
            return False
        return not (isinstance(node, Scaled) and uniform(node.known) is not None)

    def _collect(self, node: Node, leaves: dict[int, Value]) -> bool:
        """Gather what a chain is a function of; False where it is more than coordinatewise."""
        if self._is_leaf(node):
            kept = self.chosen.get(id(node), node)
            leaves[id(kept)] = kept
            return isinstance(kept, Value) and len(leaves) < 2
        if isinstance(node, Known):
            return uniform(node) is not None
        if isinstance(node, Image):
            return False
        return all(self._collect(part, leaves) for part in ingredients(node))

    def _evaluated(self, node: Node, done: dict[int, Any]) -> Any:
        kept = self.chosen.get(id(node), node)
        if id(kept) not in done:
            done[id(kept)] = self._computed(kept, done)
        return done[id(kept)]

    def _computed(self, node: Node, done: dict[int, Any]) -> Any:
        if isinstance(node, Constant):
            return np.float32(uniform(node)) if node.value.dtype.kind == "f" else node.value.flat[0]
        parts = [self._evaluated(p, done) for p in ingredients(node)]
        match node:
            case Pointwise():
                return node.fn(*parts)
            case Sum():
                return sum(parts[1:], parts[0])
            case Given():
                return parts[0]
        product = parts[0]
        for part in parts[1:]:
            product = product * part
        return product


def uniform(known: Known) -> float | None:
    """The number that a constant is everywhere."""
    if isinstance(known, Constant) and known.value.size and np.all(known.value == known.value.flat[0]):
        return float(known.value.flat[0])
    return None


def _through(node: Node) -> Node:
    """What is rearranged."""
    while isinstance(node, Image) and rearranges_only(node.maps):
        node = node.h
    return node


def _taps(node: MatMul) -> str:
    taps = tuple(w.size for w in node.windows if not w.trivial)
    summed = tuple(node.h.shape[i] for i in node.contracted)
    return " ".join(
        part
        for part in (
            f"{count(taps)} taps" if taps else "",
            f"a matrix for each of {count(summed)} positions" if summed and node.weight.is_averaged else "",
        )
        if part
    )

"""A Tensor Program in the graphical notation of Yang & Littwin, Tensor Programs IIb (2021), Figures 1 to 5."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from widelimit.limit import Program
from widelimit.program import Formula, Line

from ._layers import Box, Layout, layered
from ._legend import legend
from ._scene import Disc, Group, Label, Point, Scene, Stroke
from ._style import BLUE, GREEN, INK, ORANGE, PURPLE

RADIUS = 14.0
GATE = 26.0  # a gate's size along the computation
WIRE = 12.0  # the room of a wire that enters a gate
DASH = (5.0, 3.5)
MARGIN = 18.0
CAPTION = 15.0  # the height of an initial vector's caption
_COLORS = (BLUE, ORANGE, GREEN, PURPLE, "#B07A00", "#0E8A8A", "#A83279", "#5B6BBF")
_LETTER, _SMALL = 6.4, 10.0  # the width of a letter of text, the size of captions
_WORDS = 24  # letters of a formula that a gate holds
_SHORT = 10  # layers of a program that is drawn to the right


@dataclass(frozen=True)
class Item:
    """What has a place in the picture: a variable, a gate in front of it, or the label of a product's edge."""

    kind: str  # "variable", "gate", "weight", "input"
    text: str
    line: Any
    color: str = INK
    tip: str = ""

    @property
    def width(self) -> float:
        return text_width(self.text)


def text_width(text: str, size: float = 11.0) -> float:
    return _LETTER * len(text) * size / 11.0


def draw_program(program: Program, path: str | PathLike, *, direction: str | None = None) -> None:
    """Write the picture of a program; `path` ends in svg, pdf or png, `direction` is "right" or "down"."""
    if direction not in (None, "right", "down"):
        raise ValueError(f'`program.draw(path, direction={direction!r})`: expected "right" or "down"')
    program_scene(program, direction).save(path)


def program_scene(program: Program, direction: str | None = None) -> Scene:
    """The picture as shapes."""
    graph = _Graph(program)
    right = direction == "right" or (direction is None and graph.depth() <= _SHORT)
    return _Drawing(graph, right=right).scene()


class _Graph:
    """The items of a program and their edges."""

    def __init__(self, program: Program):
        self.program, self.listing = program, program.listing
        self.items: list[Item] = []
        self.edges: list[tuple[int, int]] = []
        self.styles: dict[tuple[int, int], tuple[str, bool]] = {}  # colour, whether dashed
        self.at: dict[int, int] = {}
        self.functions: list[tuple[str, str]] = []
        self.colors = self._colors()
        for line in self.listing.lines:
            self._add(line)

    def _colors(self) -> dict[str, str]:
        """A colour for every parameter that is used more than once."""
        uses: dict[str, int] = {}
        for line in self.listing.lines:
            if line.weight is not None:
                uses[line.weight.path] = uses.get(line.weight.path, 0) + 1
        shared = [path for path, n in uses.items() if n > 1]
        return {path: _COLORS[i % len(_COLORS)] for i, path in enumerate(shared)}

    def _add(self, line: Line) -> None:
        sources = line.reads
        product = line.kind == "MatMul" and bool(sources)
        made = line.weight is not None and not product
        color = self.colors.get(line.weight.path, INK) if line.weight is not None else INK
        caption = self.listing.text(short_weights(line.formula)) if made else ""
        here = self._item(Item("variable", caption, line, color, self._tip(line)))
        self.at[id(line.node)] = here
        if product:
            self._product(line, here, color)
        elif not made:
            self._gate(line, here)

    def _product(self, line: Line, here: int, color: str) -> None:
        weight, h = line.formula.args
        index = f"[{h.args[1]}]" if h.operation == "index" else ""
        sign = "−" if line.amplitude < 0 else ""
        label = self._item(Item("weight", sign + short_path(weight) + index, line, color, self._tip(line)))
        for node in line.reads:
            self._edge(self._source(node), label, color, dashed=True)
        self._edge(label, here, color, dashed=True)

    def _gate(self, line: Line, here: int) -> None:
        gate = self._item(Item("gate", self._gate_text(line), line, INK, self._tip(line)))
        for node in line.reads:
            self._edge(self._source(node), gate, INK, dashed=False)
        self._edge(gate, here, INK, dashed=False)

    def _source(self, node: Any) -> int:
        if id(node) not in self.at:
            self.at[id(node)] = self._item(Item("input", "", None, INK, "the example"))
            self.items[-1] = Item("input", self.listing.name(node), None, INK, "the example")
        return self.at[id(node)]

    def _item(self, item: Item) -> int:
        self.items.append(item)
        return len(self.items) - 1

    def _edge(self, a: int, b: int, color: str, *, dashed: bool) -> None:
        self.edges.append((a, b))
        self.styles[a, b] = (color, dashed)

    def _gate_text(self, line: Line) -> str:
        """What the gate computes: a function's name, a short formula, or ψ with a number that the legend explains."""
        inner = line.formula
        if inner.operation == "call" and inner.args[0] == "E":
            inner = inner.args[1]
        elif inner.operation == "call" and len(inner.parts) == 1 and _is_sum(inner.parts[0]):
            return str(inner.args[0])
        if _is_sum(inner) and inner.operation == "sum":
            return "+"
        text = self.listing.text(inner)
        if len(text) <= _WORDS:
            return text
        name = f"ψ{len(self.functions) + 1}".translate(_SUBSCRIPTS)
        self.functions.append((name, text))
        return name

    def _tip(self, line: Line) -> str:
        shape = f"positions {'×'.join(map(str, line.shape))}" if line.shape else ""
        parts = (
            f"{line.kind}: {self.listing.name(line.node)} := {self.listing.text(line.formula)}",
            shape,
            line.note,
            line.where,
        )
        return "\n".join(filter(None, parts))

    def depth(self) -> int:
        """How many variables follow each other at most."""
        level: dict[int, int] = {}
        for line in self.listing.lines:
            level[id(line.node)] = 1 + max((level.get(id(n), 0) for n in line.reads), default=0)
        return max(level.values(), default=0)


_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_TRAILING = ("kernel", "weight", "w", "value")


def _is_sum(formula: Formula) -> bool:
    """Whether a formula is a variable, or a sum of several."""
    parts = formula.args if formula.operation == "sum" else (formula,)
    return all(p.operation == "variable" or (p.operation == "index" and _is_sum(p.args[0])) for p in parts)


def short_path(path: str) -> str:
    """The telling end of a parameter's path."""
    parts = path.split("/")
    while len(parts) > 1 and parts[-1].rstrip("ᵀ") in _TRAILING:
        mark = "ᵀ" if parts[-1].endswith("ᵀ") else ""
        parts = [*parts[:-2], parts[-2] + mark]
    return "/".join(parts[-2:]) if len("/".join(parts[-2:])) <= 16 else parts[-1]


def short_weights(formula: Formula) -> Formula:
    """The formula of an initial vector with its parameter's short path."""
    first, *rest = formula.args
    return Formula(formula.operation, (short_path(first), *rest)) if isinstance(first, str) else formula


class _Drawing:
    """The items at their places, as shapes."""

    def __init__(self, graph: _Graph, *, right: bool):
        self.graph, self.right = graph, right
        self.placed = self._layout()

    def _layout(self) -> Layout:
        boxes = list(map(self._box, range(len(self.graph.items))))
        return layered(boxes, self.graph.edges, step=26.0 if self.right else 20.0)

    def _box(self, i: int) -> Box:
        """What an item takes; a gate has room for all that enters it."""
        item = self.graph.items[i]
        wires = sum(b == i for _, b in self.graph.edges)
        caption = CAPTION if item.kind == "variable" and item.text else 0.0
        match item.kind:
            case "gate":
                size = (max(item.width + 26.0, 38.0), GATE)
                size = (size[0], max(GATE, WIRE * wires)) if self.right else (max(size[0], WIRE * wires), GATE)
            case "weight":
                size = (item.width + 8.0, 16.0)
            case _:
                size = (max(2 * RADIUS + 2, item.width if caption else 0.0), 2 * RADIUS + caption)
        return Box(*size[::-1]) if self.right else Box(*size)

    def point(self, across_along: Point) -> Point:
        across, along = across_along
        x, y = (along, across) if self.right else (across, along)
        return x + MARGIN, y + MARGIN

    def scene(self) -> Scene:
        across, along = self.placed.size
        width, height = (along, across) if self.right else (across, along)
        start = (MARGIN, height + 3 * MARGIN) if self.right else (width + 4 * MARGIN, 1.5 * MARGIN)
        explained = legend(self.graph, start, in_a_row=self.right)
        groups = [self._edges(), *map(self._item, range(len(self.graph.items))), self._output(), explained.group]
        whole = (max(width, explained.right) + 2 * MARGIN, max(height + MARGIN, explained.bottom) + MARGIN)
        return Scene(groups, whole, "Tensor Program")

    def _middle(self, i: int) -> Point:
        """Where the sign of an item is: under the caption of a variable."""
        across, along = self.placed.at[i]
        down = CAPTION / 2 if self.graph.items[i].kind == "variable" and self.graph.items[i].text else 0.0
        return (across + down, along) if self.right else (across, along + down)

    # --- edges --------------------------------------------------------------------------------------------------------

    def _edges(self) -> Group:
        return Group([self._edge(edge) for edge in dict.fromkeys(self.graph.edges)])

    def _edge(self, edge: tuple[int, int]) -> Stroke:
        color, dashed = self.graph.styles[edge]
        points = [self._middle(edge[0]), *self.placed.bends[edge], self._entry(edge)]
        return Stroke(self._curve(points), color, 1.6 if color != INK else 1.2, DASH if dashed else ())

    def _curve(self, points: Sequence[Point]) -> list[tuple]:
        """A smooth line through the points, along the computation at its ends."""
        slopes = [0.0] * len(points)
        for k in range(1, len(points) - 1):
            (x0, y0), (x1, y1) = points[k - 1], points[k + 1]
            slopes[k] = (x1 - x0) / (y1 - y0)
        commands: list[tuple] = [("M", self.point(points[0]))]
        for (p, m), (q, n) in itertools.pairwise(zip(points, slopes, strict=True)):
            reach = (q[1] - p[1]) / (3 if m or n else 2)
            first, second = (p[0] + m * reach, p[1] + reach), (q[0] - n * reach, q[1] - reach)
            commands.append(("C", self.point(first), self.point(second), self.point(q)))
        return commands

    def _entry(self, edge: tuple[int, int]) -> Point:
        """Where an edge ends: at the middle, or side by side on the input side of a gate."""
        a, b = edge
        if self.graph.items[b].kind != "gate":
            return self._middle(b)
        across, along = self.placed.at[b]
        ends = {p: (self.placed.bends[p, b] or [self.placed.at[p]])[-1][0] for p, q in self.graph.edges if q == b}
        order = sorted(ends, key=ends.__getitem__)
        room = self._box(b).across * 0.62
        share = 0.5 if len(order) == 1 else order.index(a) / (len(order) - 1)
        length = self._box(b).along
        return across + (share - 0.5) * room, along - length / 2

    # --- items --------------------------------------------------------------------------------------------------------

    def _item(self, i: int) -> Group:
        item, at = self.graph.items[i], self.point(self._middle(i))
        if item.kind == "gate":
            return Group(self._gate(i, at), item.tip)
        draw = {"weight": self._weight, "input": self._input}.get(item.kind, self._variable)
        return Group(draw(item, at), item.tip)

    def _variable(self, item: Item, at: Point) -> list[Any]:
        name = self.graph.listing.name(item.line.node)
        caption = Label((at[0], at[1] - RADIUS - 8.0), item.text, _SMALL + 0.5, color=item.color)
        return [*([caption] if item.text else []), *variable(item.line.letter, at, name, item.color)]

    def _input(self, item: Item, at: Point) -> list[Any]:
        return variable("θ", at, item.text)

    def _weight(self, item: Item, at: Point) -> list[Any]:
        (x, y), half = at, item.width / 2 + 3
        page = [
            ("M", (x - half, y - 8)),
            ("L", (x + half, y - 8)),
            ("L", (x + half, y + 8)),
            ("L", (x - half, y + 8)),
            ("Z",),
        ]
        return [Stroke(page, "none", 0.0, (), "white"), Label(at, item.text, color=item.color)]

    def _gate(self, i: int, at: Point) -> list[Any]:
        item, box = self.graph.items[i], self._box(i)
        size = (box.along, box.across) if self.right else (box.across, box.along)
        return gate(at, size, item.text, right=self.right, barred=item.line.kind == "Moment")

    def _output(self) -> Group:
        nodes = self.graph.listing.output.variables()
        ends = [self.graph.at[id(n)] for n in nodes if id(n) in self.graph.at]
        labels = []
        for end in ends:
            x, y = self.point(self._middle(end))
            at = (x, y + RADIUS + 11.0)
            labels.append(Label(at, "output", _SMALL))
        return Group(labels)


def variable(letter: str, at: Point, name: str, color: str = INK, radius: float = RADIUS) -> list[Any]:
    """An empty circle (G), a filled one (X) or a square (scalar), with its name inside."""
    if letter == "θ":
        x, y, r = *at, radius - 1.5
        square = [("M", (x - r, y - r)), ("L", (x + r, y - r)), ("L", (x + r, y + r)), ("L", (x - r, y + r)), ("Z",)]
        return [Stroke(square, INK, 1.4, (), "white"), Label(at, name, _SMALL)]
    if letter == "x":
        return [Disc(at, radius, INK), Label(at, name, _SMALL, color="white")]
    return [Disc(at, radius, "white", color), Label(at, name, _SMALL)]


def gate(at: Point, size: Point, text: str, *, right: bool, barred: bool = False) -> list[Any]:
    """A trapezoid, wide where wires enter; a bar on its output side marks a Moment."""
    (x, y), (w, h) = at, (size[0] / 2, size[1] / 2)
    if right:
        inset = 5.0
        corners: Sequence[Point] = [(x - w, y - h), (x + w, y - h + inset), (x + w, y + h - inset), (x - w, y + h)]
        bar = [("M", (x + w + 2.5, y - h + 2)), ("L", (x + w + 2.5, y + h - 2))]
    else:
        inset = min(8.0, w / 3)
        corners = [(x - w, y - h), (x + w, y - h), (x + w - inset, y + h), (x - w + inset, y + h)]
        bar = [("M", (x - w + inset - 3, y + h + 2.5)), ("L", (x + w - inset + 3, y + h + 2.5))]
    outline = [("M", corners[0]), *(("L", c) for c in corners[1:]), ("Z",)]
    shapes: list[Any] = [Stroke(outline, INK, 1.2, (), "#F4F4F1"), Label(at, text)]
    return [*shapes, Stroke(bar, INK, 3.0)] if barred else shapes

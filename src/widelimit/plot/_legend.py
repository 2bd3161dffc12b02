"""The legend of a program's picture: what its signs mean, which weights are shared, what the gates' ψ are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ._scene import Group, Label, Point, Stroke
from ._style import INK

_ROW, _SIGN = 22.0, 34.0  # the height of a row, the room of a sign
_SIZE, _LETTER = 10.0, 5.9
_DASH = (5.0, 3.5)


@dataclass(frozen=True)
class Legend:
    """The shapes, and how far they reach."""

    group: Group
    right: float
    bottom: float


def legend(graph: Any, at: Point, *, in_a_row: bool) -> Legend:
    """What the signs mean, in a row or a column; below it the shared weights and the functions."""
    x, y = at
    shapes, right = [], x
    for sign, text in _signs(graph):
        shapes += [*sign((x + 14, y)), Label((x + _SIGN, y), text, _SIZE, "start")]
        end = x + _SIGN + _LETTER * len(text)
        right = max(right, end)
        x, y = (end + 18.0, y) if in_a_row else (x, y + _ROW)
    x, y = at[0], y + (_ROW if in_a_row else 0.0)
    for sign, text, color in _rows(graph):
        shapes += [*sign((x + 14, y)), Label((x + _SIGN, y), text, _SIZE, "start", color)]
        right, y = max(right, x + _SIGN + _LETTER * len(text)), y + _ROW
    return Legend(Group(shapes), right, y)


def _signs(graph: Any) -> Iterator[tuple[Any, str]]:
    from ._program import gate, variable

    kinds = {line.kind for line in graph.listing.lines}
    letters = {line.letter for line in graph.listing.lines}
    for letter, text in (("g", "G-variable (Gaussian)"), ("x", "X-variable"), ("θ", "scalar")):
        if letter in letters:
            yield (lambda p, letter=letter: variable(letter, p, "", radius=8.0)), text
    if "MatMul" in kinds:
        yield (lambda p: [_dashed(p, INK)]), "MatMul"
    if kinds & {"Nonlin", "LinComb", "Scalar", "CLT"}:
        yield (lambda p: gate(p, (26.0, 16.0), "", right=False)), "Nonlin, LinComb"
    if "Moment" in kinds:
        yield (lambda p: gate(p, (26.0, 14.0), "", right=False, barred=True)), "Moment"


def _rows(graph: Any) -> Iterator[tuple[Any, str, str]]:
    lines = graph.listing.lines
    for path, color in graph.colors.items():
        uses = sum(line.weight is not None and line.weight.path == path for line in lines)
        yield (lambda p, color=color: [_dashed(p, color)]), f"{path}, shared by {uses} uses", color
    for name, text in graph.functions:
        yield (lambda p, name=name: [Label(p, name, _SIZE)]), text, INK


def _dashed(at: Point, color: str) -> Stroke:
    return Stroke([("M", (at[0] - 14, at[1])), ("L", (at[0] + 14, at[1]))], color, 1.6, _DASH)

"""A drawing of lines, circles and text, written as SVG by itself, or as PDF and PNG through matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ._style import INK, figure, save

Point = tuple[float, float]
FONT = "DejaVu Sans, Verdana, sans-serif"


@dataclass(frozen=True)
class Stroke:
    """A path: ("M", p), ("L", p), ("C", p, q, r), ("Z",)."""

    commands: Sequence[tuple]
    color: str = INK
    width: float = 1.3
    dash: tuple[float, ...] = ()
    fill: str = "none"


@dataclass(frozen=True)
class Disc:
    at: Point
    radius: float
    fill: str
    color: str = INK


@dataclass(frozen=True)
class Label:
    """Text around a point; `anchor` is start, middle or end."""

    at: Point
    text: str
    size: float = 11.0
    anchor: str = "middle"
    color: str = INK


@dataclass(frozen=True)
class Group:
    """Shapes with a tool tip."""

    shapes: Sequence[Any]
    tip: str = ""


@dataclass(frozen=True)
class Scene:
    """Groups in the order of drawing on a white page."""

    groups: Sequence[Group]
    size: Point
    title: str

    def save(self, path: str | PathLike) -> None:
        """Write the drawing; the ending of `path` (svg, pdf, png) chooses the format."""
        if fspath(path).endswith(".svg"):
            Path(path).write_text(self.svg(), encoding="utf-8")
        else:
            save(self._figure(), path)

    # --- SVG ----------------------------------------------------------------------------------------------------------

    def svg(self) -> str:
        width, height = (f"{v:.0f}" for v in self.size)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="{FONT}" role="img" aria-label="{escape(self.title)}">'
        )
        page = f'<rect width="{width}" height="{height}" fill="white"/>'
        return "\n".join([head, page, *map(_svg_group, self.groups), "</svg>"]) + "\n"

    # --- matplotlib ---------------------------------------------------------------------------------------------------

    def _figure(self) -> Any:
        width, height = self.size
        drawing = figure(width / 72, height / 72)
        drawing.set_layout_engine("none")
        axes = drawing.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), frameon=False)
        axes.set_axis_off()
        for group in self.groups:
            for shape in group.shapes:
                _add(axes, shape)
        return drawing


def _svg_group(group: Group) -> str:
    tip = f"<title>{escape(group.tip)}</title>" if group.tip else ""
    return f"<g>{tip}{''.join(map(_svg, group.shapes))}</g>"


def _svg(shape: Any) -> str:
    match shape:
        case Disc():
            (x, y), r = shape.at, shape.radius
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" fill="{shape.fill}" stroke="{shape.color}" stroke-width="1.4"/>'
        case Label():
            x, y = shape.at
            return (
                f'<text x="{x:.1f}" y="{y + 0.35 * shape.size:.1f}" font-size="{shape.size:g}" text-anchor="{shape.anchor}" '
                f'fill="{shape.color}">{escape(shape.text)}</text>'
            )
    path = " ".join(name + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) for name, *points in shape.commands)
    dash = f' stroke-dasharray="{" ".join(f"{d:g}" for d in shape.dash)}"' if shape.dash else ""
    return f'<path d="{path}" fill="{shape.fill}" stroke="{shape.color}" stroke-width="{shape.width:g}"{dash}/>'


def _add(axes: Any, shape: Any) -> None:
    from matplotlib.patches import Circle, PathPatch
    from matplotlib.path import Path as Curve

    match shape:
        case Disc():
            axes.add_patch(Circle(shape.at, shape.radius, facecolor=shape.fill, edgecolor=shape.color, linewidth=1.4))
        case Label():
            side = {"start": "left", "middle": "center", "end": "right"}[shape.anchor]
            axes.text(*shape.at, shape.text, fontsize=shape.size, ha=side, va="center_baseline", color=shape.color)
        case Stroke():
            kinds = {"M": [Curve.MOVETO], "L": [Curve.LINETO], "C": [Curve.CURVE4] * 3, "Z": [Curve.CLOSEPOLY]}
            codes = [code for name, *_ in shape.commands for code in kinds[name]]
            points = [p for _, *given in shape.commands for p in (given or [(0.0, 0.0)])]
            line = (0, shape.dash) if shape.dash else "-"
            patch = PathPatch(
                Curve(points, codes), facecolor=shape.fill, edgecolor=shape.color, linewidth=shape.width, linestyle=line
            )
            axes.add_patch(patch)

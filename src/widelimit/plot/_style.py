"""How the pictures look: one palette, one set of type sizes, no global state."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision, and in grey by the markers beside it
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#767676"
INK = "#222222"

_RC: dict[str, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "svg.fonttype": "none",
    "savefig.dpi": 160,
}


def style() -> Any:
    """The pictures' settings as a context: they end with it."""
    return _matplotlib().rc_context(_RC)


def figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, outside pyplot: no window, no registry."""
    _matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(drawing: "Figure", path: str | PathLike) -> None:
    """Write a figure; the ending of `path` (svg, png, pdf) chooses the format."""
    with style():
        drawing.savefig(path)


def width_axis(axes: "Axes", widths: Sequence[int]) -> None:
    """A logarithmic axis of widths with the widths in use as its only ticks."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(widths), [str(width) for width in widths])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("width n (units a layer)")


def slope_guide(axes: "Axes", widths: Sequence[int], start: float, exponent: float, label: str) -> None:
    """A grey line ∝ n^exponent through `start` at the smallest width: dotted for -1/2, dashed for -1."""
    end = start * (widths[-1] / widths[0]) ** exponent
    axes.plot(
        [widths[0], widths[-1]],
        [start, end],
        "--" if exponent == -1 else ":",
        color=GREY,
        linewidth=1.4,
        label=label,
        zorder=1,
    )


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ImportError('drawing needs matplotlib: `pip install "widelimit[plot]"`') from error
    return mpl

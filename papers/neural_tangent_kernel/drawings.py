"""The three figures, drawn."""

from pathlib import Path

import numpy as np
from circle import ANGLES, Functions, Kernels
from digits import Straight

from widelimit import plot

COLOURS = plot.ORANGE, plot.GREEN, plot.PURPLE, plot.GREY
TURNS = np.pi * np.array([-1, -0.5, 0, 0.5, 1]), ["−π", "−π/2", "0", "π/2", "π"]


def kernels(found: Kernels, path: Path) -> None:
    """Figure 1: before and after training, side by side."""
    with plot.style():
        drawing = plot.figure(9.4, 4.0)
        panels = drawing.subplots(1, 2, sharey=True)
        whens = (found.before, "at the start"), (found.after, "after 200 steps")
        for axes, (values, when) in zip(panels, whens, strict=True):
            _curves(axes, values)
            axes.plot(ANGLES, found.limit, color=plot.BLUE, linewidth=2, label="n = ∞")
            axes.set(xlabel="γ", title=f"Tangent kernels of 10 networks, {when}")
            axes.set_xticks(*TURNS)
        panels[0].set_ylabel("Θ((1, 0), (cos γ, sin γ))")
        panels[0].legend()
        plot.save(drawing, path)


def functions(found: Functions, path: Path) -> None:
    """Figure 2: a panel a width."""
    with plot.style():
        drawing = plot.figure(9.4, 4.0)
        panels = drawing.subplots(1, len(found.networks), sharey=True, squeeze=False)[0]
        for axes, colour, (width, values) in zip(panels, COLOURS, found.networks.items(), strict=False):
            _law(axes, found.percentiles)
            _curves(axes, {width: values}, colour)
            axes.plot(found.x, found.y, "o", color="black", zorder=5, label="training points")
            axes.set(xlabel="γ", title=f"10 networks of width {width}")
            axes.set_xticks(*TURNS)
            axes.legend(fontsize=8)
        panels[0].set_ylabel("f(cos γ, sin γ)")
        plot.save(drawing, path)


def _law(axes, percentiles: np.ndarray) -> None:
    low, middle, high = percentiles
    axes.fill_between(ANGLES, low, high, color=plot.BLUE, alpha=0.18, label="n = ∞, 10 to 90 %")
    axes.plot(ANGLES, middle, color=plot.BLUE, label="n = ∞, median")


def _curves(axes, by_width: dict[int, np.ndarray], *colours: str) -> None:
    for (width, curves), colour in zip(by_width.items(), colours or COLOURS, strict=False):
        for i, one in enumerate(curves):
            axes.plot(ANGLES, one, color=colour, linewidth=0.8, alpha=0.8, label=None if i else f"n = {width}")


def line(found: Straight, path: Path) -> None:
    """Figure 3: along the line, and across it."""
    with plot.style():
        drawing = plot.figure(9.4, 3.8)
        along, across = drawing.subplots(1, 2)
        for width, colour in zip(found.along, COLOURS, strict=False):
            along.plot(found.times, found.along[width].mean(0), color=colour, label=f"n = {width}")
            across.plot(found.times, found.across[width].mean(0), color=colour, label=f"n = {width}")
        along.plot(found.times, found.decay, "--", color=plot.BLUE, label="n = ∞: ½ exp(−λ₂ t)")
        along.set(xlabel="t", ylabel="component of f* − f along f⁽²⁾", title="Along the line")
        across.plot(found.times, 0 * found.times, "--", color=plot.BLUE, label="n = ∞")
        across.set(xlabel="t", ylabel="norm of the rest of f − f₀", title="Across the line")
        along.legend()
        across.legend()
        plot.save(drawing, path)

"""The picture of a verification: spread and bias by width, and every entry's score."""

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from ._style import BLUE, GREY, ORANGE, figure, slope_guide, style, width_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from widelimit.finite import Comparison, Report


def draw_verify(report: "Report") -> "Figure":
    """Three panels: deviation from the limit by width for the NTK and the NNGP, and the z-scores of all entries."""
    with style():
        drawing = figure(11.5, 3.7)
        ntk, nngp, scores = drawing.subplots(1, 3)
        _deviation(ntk, report.widths, report.ntk, "Tangent kernel (NTK)")
        _deviation(nngp, report.widths, report.nngp, "Covariance at initialisation (NNGP)")
        _same_heights(ntk, nngp)
        _scores(scores, report)
    return drawing


def _deviation(axes: "Axes", widths: tuple[int, ...], kernel: "Comparison", title: str) -> None:
    spreads, biases = ([getattr(row, name) for row in kernel.rows] for name in ("spread", "bias"))
    axes.errorbar(
        widths,
        [100 * spread.value for spread in spreads],
        [200 * spread.error for spread in spreads],
        fmt="o-",
        color=BLUE,
        label="spread of one network",
    )
    slope_guide(axes, widths, 100 * spreads[0].value, -0.5, r"$\propto n^{-1/2}$")
    _biases(axes, widths, biases)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    width_axis(axes, widths)
    axes.set_ylabel("deviation (% of largest entry)")
    axes.set_title(title)
    axes.legend(fontsize=8, loc="upper right")


def _same_heights(*axes: "Axes") -> None:
    """One range for all, with room for the legend above."""
    limits = np.array([each.get_ylim() for each in axes])
    for each in axes:
        each.set_ylim(limits[:, 0].min() / 1.2, 9 * limits[:, 1].max())


def _biases(axes: "Axes", widths: tuple[int, ...], biases: list) -> None:
    seen = [(n, 100 * b.value, 200 * b.error) for n, b in zip(widths, biases, strict=True) if b.resolved]
    unseen = [(n, 100 * b.error) for n, b in zip(widths, biases, strict=True) if not b.resolved]
    if seen:
        n, value, error = map(np.array, zip(*seen, strict=True))
        low = np.minimum(error, 0.9 * value)
        axes.errorbar(n, value, [low, error], fmt="s-", color=ORANGE, label="bias of the mean")
        slope_guide(axes, widths, value[0] * n[0] / widths[0], -1.0, r"$\propto n^{-1}$")
    if unseen:
        axes.plot(*zip(*unseen, strict=True), "v", color=ORANGE, fillstyle="none", label="bias is below (noise)")


def _scores(axes: "Axes", report: "Report") -> None:
    for kernel, name, marker, color in ((report.nngp, "NNGP", "s", ORANGE), (report.ntk, "NTK", "o", BLUE)):
        z = np.sort(np.asarray(kernel.z).ravel())
        expected = [NormalDist().inv_cdf((rank + 0.5) / len(z)) for rank in range(len(z))]
        axes.plot(expected, z, marker, color=color, label=name, alpha=0.75, markersize=4.5)
    reach = 1.2 * report.threshold
    axes.plot([-reach, reach], [-reach, reach], ":", color=GREY, linewidth=1.4, label="standard normal")
    axes.axhline(report.threshold, color=GREY, linewidth=1.2, label=f"bound |z| = {report.threshold:.1f}")
    axes.axhline(-report.threshold, color=GREY, linewidth=1.2)
    top = max(reach, 1.1 * report.nngp.largest_z, 1.1 * report.ntk.largest_z)
    axes.set(xlim=(-3, 3), ylim=(-top, top), xlabel="normal quantile", ylabel="z of an entry at infinite width")
    axes.set_title(f"Every entry: {'passed' if report.passed else 'failed'} at |z| ≤ {report.threshold:.1f}")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 0.93))

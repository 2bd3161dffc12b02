"""The picture of the demonstration: finite networks converging to their limit on real images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ._kernel import show_kernel
from ._style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, figure, slope_guide, style, width_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration measured.

    Accuracies are shares between 0 and 1 on the test images: `nngp_accuracy` and `ntk_accuracy` of kernel regression,
    `limit_accuracy` of the limit trained as the networks are. `finite_accuracy` and `disagreement` have one entry a
    width. `disagreement` is the distance between trained networks' outputs and the limit's, over the size of the
    limit's; `first_disagreement` the same after one step of training. `images` are up to ten examples with their
    `image_labels`; `kernel` is the NTK of some examples sorted by class, `kernel_labels` their classes. `seconds` maps
    each stage to its time, in order.
    """

    widths: Sequence[int]
    finite_accuracy: Sequence[float] | ndarray
    nngp_accuracy: float
    ntk_accuracy: float
    disagreement: Sequence[float] | ndarray
    images: Float[ndarray, "k height width"]
    image_labels: Int[ndarray, " k"]
    kernel: Float[ndarray, "n n"]
    kernel_labels: Int[ndarray, " n"]
    seconds: Mapping[str, float]
    title: str = "A network and its infinite-width limit"
    finite_error: Sequence[float] | ndarray | None = None
    disagreement_error: Sequence[float] | ndarray | None = None
    limit_accuracy: float | None = None
    first_disagreement: Sequence[float] | ndarray | None = None
    first_disagreement_error: Sequence[float] | ndarray | None = None


def draw_demo(result: DemoResult) -> "Figure":
    """One picture: the data, the limit's kernel, accuracy and agreement by width, and where the time went."""
    with style():
        drawing = figure(12.5, 7.4)
        drawing.suptitle(result.title, x=0.012, ha="left", fontsize=13.5, fontweight="bold")
        top, bottom = drawing.subfigures(2, 1, height_ratios=[1.25, 1])
        kernel, right = top.subfigures(1, 2, width_ratios=[1, 1.75])
        show_kernel(kernel.subplots(), result.kernel, result.kernel_labels, title="The limit's tangent kernel (NTK)")
        accuracy, disagreement = right.subplots(1, 2)
        _accuracy(accuracy, result)
        _disagreement(disagreement, result)
        images, times = bottom.subfigures(1, 2, width_ratios=[1, 1.75])
        _images(images, result)
        _times(times.subplots(), result.seconds)
    return drawing


def _accuracy(axes: Any, result: DemoResult) -> None:
    for value, color, name, dash in (
        (result.ntk_accuracy, BLUE, "kernel regression, NTK", "-"),
        (result.nngp_accuracy, GREEN, "kernel regression, NNGP", "--"),
        (result.limit_accuracy, INK, "limit, trained as the networks", ":"),
    ):
        if value is not None:
            axes.axhline(100 * value, color=color, linestyle=dash, label=f"{name}: {value:.1%}")
    errors = None if result.finite_error is None else 100 * np.asarray(result.finite_error)
    axes.errorbar(
        result.widths,
        100 * np.asarray(result.finite_accuracy),
        errors,
        fmt="o-",
        color=ORANGE,
        label="finite networks, trained",
    )
    width_axis(axes, result.widths)
    axes.set_ylabel("test accuracy (%)")
    axes.set_title("Accuracy")
    axes.margins(y=0.08)
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.45 * (high - low), high)  # room for the legend under everything
    axes.legend(fontsize=8, loc="lower right")


def _disagreement(axes: Any, result: DemoResult) -> None:
    for values, errors, color, marker, label in (
        (result.disagreement, result.disagreement_error, ORANGE, "o-", "finite networks, trained"),
        (result.first_disagreement, result.first_disagreement_error, PURPLE, "s--", "after the first step"),
    ):
        if values is not None:
            axes.errorbar(result.widths, values, errors, fmt=marker, color=color, label=label)
    start = result.disagreement if result.first_disagreement is None else result.first_disagreement
    slope_guide(axes, list(result.widths), 1.12 * start[0], -0.5, r"$\propto n^{-1/2}$")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.get_major_locator().set_params(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
    axes.tick_params(axis="y", which="minor", left=False)
    axes.yaxis.set_minor_formatter("")
    width_axis(axes, result.widths)
    axes.set_ylabel("rms difference of outputs / rms of the limit's")
    axes.set_title("Distance from the limit's predictions")
    axes.legend(fontsize=8, loc="upper right")


def _images(panel: Any, result: DemoResult) -> None:
    panel.suptitle("Examples and their classes", x=0.06, ha="left", fontsize=10.5, fontweight="bold")
    grid = panel.subplots(2, 5, gridspec_kw={"wspace": 0.02, "hspace": 0.02}).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, label in zip(grid, result.images, result.image_labels, strict=False):
        axes.imshow(image, cmap="gray_r", interpolation="nearest")
        axes.set_title(str(label), loc="center", fontsize=9, fontweight="normal", pad=2)


def _times(axes: Any, seconds: Mapping[str, float]) -> None:
    names, values = list(seconds), list(seconds.values())
    bars = axes.barh(names, values, color=GREY, height=0.62)
    axes.bar_label(
        bars,
        [f"{value:.1f} s" if value < 100 else f"{value:.0f} s" for value in values],
        padding=4,
        fontsize=9,
        color=INK,
    )
    axes.invert_yaxis()
    axes.grid(False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.margins(x=0.12)
    axes.set_title(f"Time by stage (wall clock, {sum(values):.0f} s in all)")

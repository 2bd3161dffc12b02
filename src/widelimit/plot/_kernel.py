"""A kernel matrix as an image, its examples sorted by class."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ._style import INK, figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_kernel(
    kernel: Float[ndarray, "n n"], labels: Int[ndarray, " n"] | None = None, *, title: str = "Kernel"
) -> "Figure":
    """One kernel matrix as correlations, classes marked along its sides where `labels` are given (in sorted order)."""
    with style():
        drawing = figure(4.6, 4.2)
        show_kernel(drawing.subplots(), kernel, labels, title=title)
    return drawing


def show_kernel(axes: "Axes", kernel: Float[ndarray, "n n"], labels: Int[ndarray, " n"] | None, *, title: str) -> None:
    """The matrix K(x, x') / √(K(x, x) K(x', x')) on given axes, with a colour bar.

    The colours span the bulk of the entries off the diagonal, since correlations of a kernel often fill only a part of
    [-1, 1].
    """
    correlation = correlations(np.asarray(kernel))
    low, high = np.quantile(correlation[~np.eye(len(correlation), dtype=bool)], [0.01, 0.995])
    image = axes.imshow(correlation, cmap="viridis", vmin=low, vmax=high, interpolation="nearest", aspect="equal")
    axes.grid(False)
    axes.set_title(title)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, extend="both")
    bar.set_label("correlation K(x, x′) / √(K(x, x) K(x′, x′))", fontsize=8)
    bar.outline.set_visible(False)
    if labels is not None:
        _classes(axes, np.asarray(labels))


def correlations(kernel: Float[ndarray, "n n"]) -> Float[ndarray, "n n"]:
    root = np.sqrt(np.diagonal(kernel))
    return kernel / np.outer(root, root)


def _classes(axes: "Axes", labels: Int[ndarray, " n"]) -> None:
    if np.any(np.diff(labels) < 0):
        raise ValueError("`labels` must be sorted, and the kernel's examples in the same order")
    names, first, counts = np.unique(labels, return_index=True, return_counts=True)
    middles = first + (counts - 1) / 2
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks(middles, [str(name) for name in names])
    axes.tick_params(length=0, colors=INK)
    axes.set_xlabel("class of x′")
    axes.set_ylabel("class of x")
    for edge in first[1:] - 0.5:
        axes.axhline(edge, color="white", linewidth=0.5, alpha=0.6)
        axes.axvline(edge, color="white", linewidth=0.5, alpha=0.6)

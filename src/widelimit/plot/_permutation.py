"""Pictures of exact learning: how large an ensemble must be, and whether real networks do what the limit says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Num
from numpy import ndarray

from ._style import BLUE, GREEN, GREY, INK, ORANGE, figure, style, width_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REGIMES = {"ntk": (BLUE, "both layers train (NTK)", "o"), "last": (ORANGE, "last layer trains", "s")}


@dataclass(frozen=True)
class EnsembleSizes:
    """Ensemble sizes by number of bits.

    `bits` are the small k of the first panel; by regime ("ntk", "last") over them: `bound` (after the paper), `exact`, and `simulated`
    (trials, k) from the limit's Gaussian process. `published` maps a name to (k, counts). `many_bits` are the k of
    the second panel, `growth` its curves by label; `fits` their exponents for the legend.
    """

    bits: Sequence
    bound: Mapping[str, Sequence]
    exact: Mapping[str, Sequence]
    simulated: Mapping[str, Num[ndarray, "trials k"]]
    published: tuple[Sequence, Sequence]
    many_bits: Sequence
    growth: Mapping[str, Sequence]
    fits: Mapping[str, str]


@dataclass(frozen=True)
class RealNetworks:
    """What real networks did, by number of bits k.

    `widths` with `bias` and its standard `error` of the mean of a set and an unset bit, keys (k, "set") and (k, "unset"); `variance`
    the ratio of the observed variance to the limit's, with `variance_error`. Of the probability that one input comes out
    right, `curve` has sizes, the limit's prediction and the one with the bias of the width, `observed` sizes, shares and errors.
    """

    widths: Sequence
    bias: Mapping[tuple[int, str], Sequence]
    error: Mapping[tuple[int, str], Sequence]
    variance: Mapping[int, Sequence]
    variance_error: Mapping[int, Sequence]
    curve: Mapping[int, tuple[Sequence, Sequence, Sequence]]
    observed: Mapping[int, tuple[Sequence, Sequence, Sequence]]


def draw_ensemble_sizes(sizes: EnsembleSizes) -> "Figure":
    """Two panels: one input with two ones, against k as in the paper; and growth for large k."""
    with style():
        drawing = figure(11.5, 4.9)
        left, right = drawing.subplots(1, 2)
        _by_bits(left, sizes)
        _growth(right, sizes)
    return drawing


def draw_networks(networks: RealNetworks) -> "Figure":
    """Three panels: the bias of the mean, the variance, and the probability of success."""
    with style():
        drawing = figure(12.5, 4.0)
        bias, variance, success = drawing.subplots(1, 3)
        _bias(bias, networks)
        _variance(variance, networks)
        _success(success, networks)
    return drawing


def _by_bits(axes: Any, sizes: EnsembleSizes) -> None:
    for regime, (color, name, marker) in _REGIMES.items():
        axes.plot(sizes.bits, sizes.bound[regime], "--", color=color)
        axes.plot(sizes.bits, sizes.exact[regime], "-", color=color)
        runs = sizes.simulated[regime]
        middle, low, high = np.median(runs, 0), runs.min(0), runs.max(0)
        spread = [middle - low, high - middle]
        axes.errorbar(
            sizes.bits, middle, spread, fmt=marker, color=color, fillstyle="none", markersize=4.5, linewidth=0.8
        )
        for counts, height in ((sizes.bound[regime], 1.25), (sizes.exact[regime], 1.6)):
            axes.annotate(name, (sizes.bits[-1], height * counts[-1]), color=color, fontsize=8.5, ha="right")
    axes.plot(*sizes.published, "x", color=INK, markersize=5.5, markeredgewidth=1.5, zorder=4)
    _styles(axes)
    axes.set_yscale("log")
    axes.set_ylim(0.8, 4e5)
    axes.set_xlabel("bits k")
    axes.set_ylabel("networks in the ensemble")
    axes.set_title("An input of two ones is right 9 times in 10")


def _styles(axes: Any) -> None:
    """What lines and markers mean, whatever their colour."""
    shown = (
        ("--", "bound, for 1,000 such inputs at once"),
        ("-", "exact count in the limit"),
        ("o", "simulated from the limit: median and range"),
    )
    for style_, label in shown:
        axes.plot([], [], style_, color=GREY, fillstyle="none", label=label)
    axes.plot([], [], "x", color=INK, markeredgewidth=1.5, label="published experiment")
    axes.legend(fontsize=8, loc="upper left")


def _growth(axes: Any, sizes: EnsembleSizes) -> None:
    colors = {"one": BLUE, "all": GREEN}
    for label, counts in sizes.growth.items():
        inputs, _, kind = label.partition(", ")
        dash = {"bound": "--", "exact": "-"}.get(kind, ":")
        axes.plot(sizes.many_bits, counts, dash, color=colors[inputs.split()[0]], label=f"{label}: {sizes.fits[label]}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=3e10)
    axes.set_xlabel("bits k")
    axes.set_title("Growth with k: both layers train, δ = 0.1")
    axes.legend(fontsize=8, loc="upper left")


def _bias(axes: Any, networks: RealNetworks) -> None:
    shown = {"set": ("-", 1), "unset": ("--", -1)}
    for (k, kind), values in networks.bias.items():
        dash, sign = shown[kind]
        color, marker = _by_k(networks, k)
        sizes = sign * np.asarray(values)
        label = f"k = {k}, {kind} bit{'' if sign > 0 else ' (× −1)'}"
        axes.errorbar(
            networks.widths,
            sizes,
            2 * np.asarray(networks.error[k, kind]),
            fmt=f"{marker}{dash}",
            color=color,
            label=label,
        )
    first = max(abs(values[0]) for values in networks.bias.values())
    for exponent, dash, name in ((-0.5, ":", r"$\propto n^{-1/2}$"), (-1.0, "-.", r"$\propto n^{-1}$")):
        guide = 1.5 * first * (np.asarray(networks.widths) / networks.widths[0]) ** exponent
        axes.plot(networks.widths, guide, dash, color=GREY, linewidth=1.4, label=name, zorder=1)
    axes.set_yscale("log")
    width_axis(axes, networks.widths)
    axes.set_xlabel("width n")
    axes.set_ylabel("mean of real networks − limit's")
    axes.set_title("Bias of the mean")
    axes.legend(fontsize=7.5, loc="lower left")


def _variance(axes: Any, networks: RealNetworks) -> None:
    axes.axhline(1, color=GREY, linewidth=1.2, label="the limit")
    for k, values in networks.variance.items():
        color, marker = _by_k(networks, k)
        axes.errorbar(
            networks.widths,
            values,
            2 * np.asarray(networks.variance_error[k]),
            fmt=f"{marker}-",
            color=color,
            label=f"k = {k}",
        )
    width_axis(axes, networks.widths)
    axes.set_xlabel("width n")
    axes.set_ylabel("variance of real networks / limit's")
    axes.set_title("Variance")
    axes.legend(fontsize=8)


def _success(axes: Any, networks: RealNetworks) -> None:
    for k, (sizes, limit, shifted) in networks.curve.items():
        color, marker = _by_k(networks, k)
        axes.plot(sizes, limit, "-", color=color)
        axes.plot(sizes, shifted, ":", color=color)
        counts, shares, errors = networks.observed[k]
        axes.errorbar(counts, shares, 2 * np.asarray(errors), fmt=marker, color=color, label=f"real networks, k = {k}")
    for dash, label in (("-", "predicted by the limit"), (":", "with the bias of this width")):
        axes.plot([], [], dash, color=GREY, label=label)
    axes.set_xscale("log")
    ticks = sorted({size for sizes, *_ in networks.observed.values() for size in sizes})
    axes.set_xticks(ticks, [str(size) for size in ticks], fontsize=8)
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("networks in the ensemble")
    axes.set_ylabel("share of inputs of two ones that are exact")
    axes.set_title("Probability of success")
    axes.legend(fontsize=8, loc="lower right")


def _by_k(networks: RealNetworks, k: int) -> tuple[str, str]:
    return ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"))[list(networks.variance).index(k) % 3]

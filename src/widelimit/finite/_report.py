"""What a comparison of finite networks with a limit found."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from typing import NamedTuple

from jaxtyping import Float
from numpy import ndarray

from ._statistics import Estimate


class Row(NamedTuple):
    """One kernel at one width. Errors, biases and spreads are relative to the kernel's largest entry.

    `z` is the largest |z| over the entries of the mean against the limit, finite-width bias included; `error` the
    largest standard error of an entry; `bias` the root mean square of mean - limit with the noise taken out (value 0
    when it is below the noise); `spread` the standard deviation of one network's kernel.
    """

    z: float
    error: float
    bias: Estimate
    spread: Estimate


@dataclass(frozen=True)
class Comparison:
    """One kernel against its limit: at every width, and extrapolated to infinite width.

    `z`, `error` have the shape of the kernel: the score of each entry of the extrapolated mean against the limit, and
    its standard error relative to the kernel's largest entry. `entries` counts those that are not copies of others by
    symmetry. `bias_exponent` is `None` where fewer than two widths show a bias above their noise.
    """

    rows: tuple[Row, ...]
    z: Float[ndarray, "n1 n2 ..."]
    error: Float[ndarray, "n1 n2 ..."]
    bias_exponent: Estimate | None
    spread_exponent: Estimate | None
    entries: int

    @property
    def largest_z(self) -> float:
        return float(abs(self.z).max())


@dataclass(frozen=True)
class Report:
    """Finite networks against the limit. `str(report)` is a table, `report.draw(path)` a picture.

    `passed`: no entry of either kernel, extrapolated to infinite width, is further from the limit than `threshold`
    standard errors, the bound that the largest of so many entries of a right limit keeps as surely as a single one
    keeps 3.
    """

    widths: tuple[int, ...]
    draws: tuple[int, ...]
    nngp: Comparison
    ntk: Comparison
    threshold: float
    accuracy: float | int

    @property
    def passed(self) -> bool:
        return max(self.nngp.largest_z, self.ntk.largest_z) <= self.threshold

    @property
    def resolution(self) -> float:
        """The relative error of a limit's largest entries that this comparison finds 19 times out of 20."""
        return (self.threshold + 1.645) * float(max(self.nngp.error.max(), self.ntk.error.max()))

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        """Header and rows of the printed table, as strings."""
        rows = (
            (str(width), str(draws), *_cells(nngp), *_cells(ntk))
            for width, draws, nngp, ntk in zip(self.widths, self.draws, self.nngp.rows, self.ntk.rows, strict=True)
        )
        return (_HEADER, *rows, ("∞", "", *_limit_cells(self.nngp), *_limit_cells(self.ntk)))

    def __str__(self) -> str:
        return "\n".join((*_aligned(self.table), "", *self._exponents(), *self._remarks(), self._verdict()))

    def draw(self, path: str | PathLike) -> None:
        """Write the picture of this report; the file's ending chooses the format. Needs matplotlib."""
        # drawing stands above this layer, so it is fetched by name and only when a picture is wanted
        plot = import_module("widelimit.plot")
        plot.save(plot.draw_verify(self), path)

    def _exponents(self) -> list[str]:
        pairs = [("NNGP", self.nngp), ("NTK", self.ntk)]
        return [
            f"{name}: spread ∝ n^{_power(each.spread_exponent)}{expected}, bias ∝ n^{_power(each.bias_exponent)} (theory -1)"
            if each.bias_exponent
            else f"{name}: spread ∝ n^{_power(each.spread_exponent)}{expected}, bias below the noise of the draws"
            for (name, each), expected in zip(pairs, ("", " (theory -0.5)"), strict=True)
        ]

    def _remarks(self) -> list[str]:
        reached = max(self.nngp.rows[-1].error, self.ntk.rows[-1].error)
        if reached <= 1.2 * self.accuracy:  # the pilot knows the spread to some 10 %
            return []
        return [
            f"error {reached:.2%} at the largest width where {self.accuracy:.2%} was asked for: raise `cost` or `draws`"
        ]

    def _verdict(self) -> str:
        largest = max(self.nngp.largest_z, self.ntk.largest_z)
        word, sign = ("PASSED", "<=") if self.passed else ("FAILED", ">")
        return (
            f"{word}: largest |z| at infinite width {largest:.2f} {sign} {self.threshold:.2f}"
            f" (of {self.nngp.entries + self.ntk.entries} entries); finds a limit wrong by {self.resolution:.1%}"
        )


_HEADER = (
    "width",
    "draws",
    *(f"{name} {what}" for name in ("nngp", "ntk") for what in ("max|z|", "error", "bias", "spread")),
)


def _cells(row: Row) -> tuple[str, ...]:
    bias = f"{row.bias.value:.2%}" if row.bias.resolved else f"<{row.bias.error:.2%}"
    return f"{row.z:.2f}", f"{row.error:.2%}", bias, f"{row.spread.value:.2%}"


def _limit_cells(comparison: Comparison) -> tuple[str, ...]:
    return f"{comparison.largest_z:.2f}", f"{comparison.error.max():.2%}", "", ""


def _power(estimate: Estimate | None) -> str:
    return "?" if estimate is None else f"{estimate.value:.2f}±{estimate.error:.2f}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    sizes = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.rjust(size) for cell, size in zip(row, sizes, strict=True)) for row in table]

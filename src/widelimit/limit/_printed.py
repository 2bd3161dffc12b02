"""The Tensor Program that a network was read as, printed and drawn in the notation of the papers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from importlib import import_module
from os import PathLike

from widelimit import program as tp
from widelimit import trace

_SAME = 1e-6  # relative difference of two factors that is rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """The Tensor Program of a network: `str()` prints it, `draw(path)` draws it.

    It is in reduced form: chains of coordinatewise operations are one Nonlin, linear combinations one LinComb. Variables
    are g (G-variables: Gaussian), x (X-variables: any other vector) and θ (scalars), ξ is the example. Steps of a recurrence and
    equal layers are written as a loop.
    """

    reading: trace.Reading

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def text(self, *, rolled: bool = True) -> str:
        """As text; without `rolled` every variable has its own line, also where lines repeat."""
        return "\n".join([*self._inputs(), "", *self._parameters(), "", *tp.aligned(self.rows(rolled=rolled))])

    def rows(self, *, rolled: bool = True) -> list[tp.Row]:
        """The lines of the text in their columns."""
        return tp.rows(self.listing, self._differing, rolled=rolled)

    def draw(self, path: str | PathLike, *, direction: str | None = None) -> None:
        """Write the program's picture in the graphical notation of Tensor Programs IIb.

        The file's ending chooses the format: svg needs nothing, pdf and png need matplotlib. `direction` is "right" or "down", the way
        computation goes (by default right for short programs).
        """
        # drawing stands above this layer, so it is fetched by name and only when a picture is wanted
        import_module("widelimit.plot").draw_program(self, path, direction=direction)

    @functools.cached_property
    def listing(self) -> tp.Listing:
        """The variables in the order of computation."""
        output = self.reading.output
        return tp.listing(output, tp.Labels(output), len(self.reading.inputs))

    # --- parameters ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _uses(self) -> dict[str, list[tp.Line]]:
        found: dict[str, list[tp.Line]] = {}
        for line in self.listing.lines:
            if line.weight is not None:
                found.setdefault(line.weight.path, []).append(line)
        return found

    @functools.cached_property
    def _differing(self) -> dict[str, bool]:
        """Whether the uses of a parameter differ in their factor."""
        sizes = {p: [abs(line.amplitude) for line in lines] for p, lines in self._uses.items()}
        return {p: max(a) - min(a) > _SAME * max(a) for p, a in sizes.items()}

    def variance(self, path: str) -> float:
        """σ², with Cov(Z^Wh, Z^Wh') = σ² E[Z^h Z^h'], of a parameter that is used."""
        amplitude = 1.0 if self._differing[path] else self._uses[path][0].amplitude
        return self.reading.parameters[path].variance * amplitude**2

    def _inputs(self) -> list[str]:
        names = ["ξ"] if len(self.reading.inputs) == 1 else [f"ξ{i + 1}" for i in range(len(self.reading.inputs))]
        return [f"input {n}: {s.dtype}{list(s.shape)}" for n, s in zip(names, self.reading.inputs, strict=True)]

    def _parameters(self) -> list[str]:
        """A-variables (matrices summed over the width) first, then those that make initial vectors; as the program meets them."""
        kinds = {p: "MatMul" if any(u.kind == "MatMul" for u in uses) else "Initial" for p, uses in self._uses.items()}
        table = [("A-variable", "shape", "entry as the code holds it", "σ²", "learning rate")]
        table += [self._parameter(p) for p, kind in kinds.items() if kind == "MatMul"]
        table += [("initial vector", "", "", "", "")] * ("Initial" in kinds.values())
        table += [self._parameter(p) for p, kind in kinds.items() if kind == "Initial"]
        return _columns(table)

    def _parameter(self, path: str) -> tuple[str, ...]:
        law, rate = self.reading.laws[path], self.reading.rates[path]
        shape = ", ".join(tp.grown(sizes, self.reading.widths) for sizes in self.reading.shapes[path])
        return (
            f"  {path}",
            f"({shape})",
            _law(law),
            f"{self.variance(path):.4g}",
            _scale(rate) if rate.coefficient else "frozen",
        )


def _law(law: trace.Law) -> str:
    mean = "" if law.mean.is_zero else f"mean {_scale(law.mean)}, "
    if law.kind == "constant":
        return f"constant {_scale(law.mean)}"
    return f"{law.kind.replace('_', ' ')}, {mean}variance {_scale(law.variance)}"


def _scale(scale: trace.Scale) -> str:
    """c·n^a as `2/n`, `1/√n`, `3n`."""
    c, a = f"{scale.coefficient:.4g}", scale.exponent
    if a == 0:
        return c
    size = abs(a)
    power = {1: "n", 0.5: "√n"}.get(float(size), f"n^{size if size.denominator == 1 else f'({size})'}")
    if a < 0:
        return f"{c}/{power}"
    return power if c == "1" else f"{c}·{power}"


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    sizes = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip() for row in table]

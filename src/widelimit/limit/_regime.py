"""What a diagnosis of a network's scaling found, and the regime that follows from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

_ZERO, _HALF = Fraction(0), Fraction(1, 2)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One parameter: the exponents a, b, c of Tensor Programs IV, and what they do.

    `b`: entries of the initialisation are of order n^-b (None: it starts at zero or at a constant). `a`: they are used with
    factors of order n^-a. `c`: the learning rate is of order n^-c (None: frozen). `forward`: the product's coordinates are of
    order n^forward where they are read. `update`: one step changes them by a relative n^-update (r in the paper; None
    where no gradient arrives). `share`: one step changes the output by n^share through this parameter. `is_output`: the product
    has finitely many coordinates; `is_hidden`: the parameter is a matrix from width to width. `uses` counts how often it is used.
    """

    path: str
    shape: str
    b: Fraction | None
    a: Fraction
    c: Fraction | None
    forward: Fraction
    update: Fraction | None
    share: Fraction | None
    is_output: bool
    is_hidden: bool
    uses: int
    where: str

    @property
    def remark(self) -> str:
        """What the parameter does in training."""
        if self.c is None:
            return "frozen"
        if self.update is None or self.share is None:
            return "gets no gradient"
        if self.share > 0 or (self.update < 0 and not self.is_output):
            return "blows up in a step"
        if self.is_output:
            return "moves the output" if self.share == 0 else "moves nothing"
        if self.update == 0:
            return "learns features"
        return "moves the output, features stay" if self.share == 0 else "moves nothing"

    @property
    def largest_rate(self) -> Fraction | None:
        """The exponent of the largest learning rate at which it does not blow up."""
        if self.c is None or self.update is None or self.share is None:
            return None
        return -self.c - max(self.share, _ZERO if self.is_output else -self.update)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A product that makes what enters a nonlinearity grow or vanish, by n^gain; where it is made, and where it is read."""

    path: str
    where: str
    gain: Fraction
    read: str

    def __str__(self) -> str:
        verb = "grow" if self.gain > 0 else "shrink"
        return (
            f"{self.where}: the product with {self.path!r} makes coordinates {verb} like {power(self.gain)}, which enter a nonlinearity "
            f"at {self.read}: multiply it by {power(-self.gain)}, or the variance of its initialisation by {power(-2 * self.gain)}"
        )


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """How a network scales with its width n. `str()` prints the table and the verdict.

    `layers` are the parameters in the order of computation; the output at initialisation is of order n^`output`. `regime` is one of

    - "NTK": of order one, and training moves the output by order one while features stay: the limit of `wl.limit`,
    - "feature learning": features move by order one (mean-field for one hidden layer; μP where every layer's do),
    - "kernel": as "NTK", with an output that vanishes at initialisation,
    - "trivial": training does not move the output,
    - "unstable": one step makes features or output diverge at these learning rates,
    - "divergent", "vanishing": the forward pass does, at initialisation.
    """

    layers: tuple[Layer, ...]
    output: Fraction
    problems: tuple[Problem, ...]

    @property
    def regime(self) -> str:
        growing = [p for p in self.problems if p.gain > 0]
        if growing or self.output > 0:
            return "divergent"
        if self.problems:
            return "vanishing"
        moving = [x for x in self.layers if x.update is not None and x.share is not None]
        if any(x.remark.startswith("blows up") for x in moving):
            return "unstable"
        if not any(x.share == 0 for x in moving):
            return "trivial"
        if any(x.update == 0 for x in moving if not x.is_output):
            return "feature learning"
        return "NTK" if self.output == 0 else "kernel"

    @property
    def is_maximal(self) -> bool:
        """Whether every trained parameter moves features, or the output, by order one (maximal update, μP)."""
        moving = [x for x in self.layers if x.update is not None]
        return self.regime == "feature learning" and all(x.share == 0 if x.is_output else x.update == 0 for x in moving)

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        """Header and rows of the printed table, as strings."""
        return (_HEADER, *map(_cells, self.layers))

    def __str__(self) -> str:
        lines = [*_aligned(self.table), "", f"output at initialisation: {power(self.output)}", *self._verdict()]
        return "\n".join(lines)

    def _verdict(self) -> list[str]:
        text = f"{self.regime.upper() if self.regime == 'NTK' else self.regime}: {self._reason()}"
        return [text, *(f"  {p}" for p in self.problems), *self._advice()]

    def _reason(self) -> str:
        match self.regime:
            case "NTK":
                return "the output moves by order one in training while features stay; `wl.limit` gives this limit"
            case "feature learning":
                if not self.is_maximal:
                    return "features of some layers move by order one in training"
                deep = any(x.is_hidden for x in self.layers)
                return f"every layer moves by order one in training ({'μP, maximal update' if deep else 'mean-field'})"
            case "kernel":
                return "features stay; the output is zero at initialisation and moves as under a kernel"
            case "trivial":
                return "nothing moves in training: raise the learning rates"
            case "unstable":
                return "of order one at initialisation, but one step at these rates diverges"
            case "divergent":
                return "the forward pass grows with the width at initialisation"
        return "the forward pass vanishes with the width at initialisation"

    def _advice(self) -> list[str]:
        if self.regime == "divergent" and not self.problems:
            last = [x for x in self.layers if x.is_output][-1:]
            return [
                f"  {x.where}: the output is of order {power(self.output)}: multiply the product with {x.path!r} by {power(-self.output)}"
                for x in last
            ]
        if self.regime != "unstable":
            return []
        return [
            f"  {x.path!r}: rates of order {power(x.largest_rate)} at most (now {power(-x.c)})"
            for x in self.layers
            if x.remark.startswith("blows up") and x.largest_rate is not None and x.c is not None
        ]


_HEADER = (
    "parameter",
    "shape",
    "init n^-b",
    "factor n^-a",
    "forward",
    "rate n^-c",
    "update n^-r",
    "output moves",
    "",
    "",
)


def _cells(x: Layer) -> tuple[str, ...]:
    uses = f" ×{x.uses}" if x.uses > 1 else ""
    return (
        f"{x.path}{uses}",
        x.shape,
        "0" if x.b is None else power(-x.b),
        power(-x.a),
        power(x.forward),
        "frozen" if x.c is None else power(-x.c),
        "" if x.update is None else power(-x.update),
        "" if x.share is None else power(x.share),
        x.remark,
        x.where,
    )


def power(exponent: Fraction) -> str:
    """n^a as text: 1, n, √n, 1/n, n^(3/2)."""
    size = abs(exponent)
    text = {_ZERO: "1", Fraction(1): "n", _HALF: "√n"}.get(size) or (
        f"n^{size}" if size.denominator == 1 else f"n^({size})"
    )
    return f"1/{text}" if exponent < 0 else text


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    sizes = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip() for row in table]

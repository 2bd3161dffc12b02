"""How a network's parametrisation scales with the width: the abc-parametrisation of Tensor Programs IV, for any program.

A weight whose entries have variance n^v, used with the factor n^-a and trained at the rate n^-c, makes g = n^-a w h. Write every vector as
n^p times one with coordinates of order one, and q for the exponent of the loss's derivative with respect to the latter. One step of
gradient descent changes w by n^-c ∂L/∂w, and so

    Δg / g ~ n^(q + ρ),    Δf ~ n^(2q + ρ + o),    ρ = −c − v,

where o is 1 if g is as wide as the network and 0 if it has finitely many coordinates. Backwards through a product, q becomes
q + (o − i)/2 through the initial matrix (i is 1 where the sum is over the width), and 2q + ρ + o − i through what the step
added to it; the larger counts (the step taken at the largest rate at which it does not blow up). For perceptrons these are the
numbers r = −(q + ρ) and the conditions of Yang & Hu, Tensor Programs IV: Feature Learning in Infinite-Width Neural Networks
(2021), section 3. Through a scalar that is a mean over the width, q loses 1/2.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from jaxtyping import PyTree

from widelimit import program as tp
from widelimit import trace
from widelimit.limit._regime import Diagnosis, Layer, Problem

_ZERO, _HALF = Fraction(0), Fraction(1, 2)


def diagnose(
    net: Any,
    example: PyTree,
    *,
    learning_rates: trace.Rates = 1.0,
    widths: tuple[int, ...] | None = None,
) -> Diagnosis:
    """How initialisation, forward pass and training of a network scale with its width, layer by layer, whatever they do.

    Args:
        net: The network as a family over its width, as for `wl.limit`.
        example: One input, without a batch axis.
        learning_rates: The rates of gradient descent, as for `wl.limit`: a number (1.0: as the code holds the parameters), "ntk" (the
            variance of each parameter's initialisation), a function of the width, or a dict from path to any of these.
        widths: At least three widths at which the network is traced.

    Returns:
        A `Diagnosis`: `str()` prints a table of exponents and says which regime the network is in: NTK (kernel), feature
        learning (mean-field, μP), unstable, trivial, divergent or vanishing, and at which line.

    Raises:
        Refusal: Where a step of the network has no rule for other reasons than its scaling.

    Yang & Hu, Tensor Programs IV (2021); Yang et al., Tensor Programs V (2022).
    """
    reading, exponents = trace.read_exponents(net, example, learning_rates, widths)
    walk = _Walk(reading, exponents)
    return Diagnosis(tuple(walk.layers()), exponents.output, tuple(walk.problems()))


@dataclasses.dataclass(frozen=True, eq=False)
class _Use:
    """One use of a parameter: its product (or initial vector), and the exponents around it."""

    value: Any
    fan: Fraction  # of the coordinates summed
    wide: Fraction  # of the coordinates of the product
    variance: Fraction | None  # None: it starts at zero
    rate: Fraction | None  # None: it is frozen
    formal: Fraction  # the exponent its vectors are written in units of

    @property
    def speed(self) -> Fraction | None:
        """ρ: the rate over the variance."""
        return None if self.rate is None else self.rate - self.formal


class _Walk:
    """Forward exponents as noted, adjoints from the output backwards."""

    def __init__(self, reading: trace.Reading, exponents: trace.Exponents):
        self.reading, self.exponents = reading, exponents
        self.order = tp.steps(reading.output)
        self.adjoint: dict[int, Fraction] = {id(reading.output): exponents.output}
        self.seen: dict[int, Fraction] = {id(reading.output): _ZERO}  # how a value counts in the sums that read it
        for node in reversed(self.order):
            for part, adjoint, seen in self._backwards(node):
                self.adjoint[id(part)] = max(adjoint, self.adjoint.get(id(part), adjoint))
                self.seen[id(part)] = max(seen, self.seen.get(id(part), seen))

    def _backwards(self, node: Any) -> Iterator[tuple[Any, Fraction, Fraction]]:
        """What a node passes to its parts: the exponent of the adjoint, and their order beside other terms."""
        q = self.adjoint.get(id(node))
        if q is None:
            return
        if isinstance(node, tp.MatMul):
            found = list(self._through_product(node, q))
            if found:
                yield node.h, max(found), _ZERO
            return
        offsets = self.exponents.terms.get(id(node), ())
        linear = isinstance(node, tp.Sum | tp.Scaled | tp.Image)
        for k, part in enumerate(tp.ingredients(node)):
            offset = offsets[k] if offsets else _ZERO
            between = self._crossing(node, part)
            yield part, q + offset + between, offset + self.seen[id(node)] if linear else _ZERO

    def _crossing(self, node: Any, part: Any) -> Fraction:
        """A scalar gathers a sum over the width of its readers; its derivative in one coordinate is of order 1/n.

        A mean of what is uncorrelated is told in units of its fluctuations, of order 1/√n.
        """
        if isinstance(node, tp.Value) and isinstance(part, tp.Known):
            return _HALF
        if not (isinstance(node, tp.Known) and isinstance(part, tp.Value)):
            return _ZERO
        pair = isinstance(node, tp.Moment) and node.right is not None
        return -_HALF if pair and tp.is_uncorrelated(node.left, node.right) else -Fraction(1)

    def _through_product(self, g: tp.MatMul, q: Fraction) -> Iterator[Fraction]:
        use = self._use(g)
        if use.variance is not None:
            yield q + (use.wide - use.fan) / 2
        if (
            use.speed is not None
        ):  # at its largest stable rate where it is trained faster: what it does is said of itself
            speed = min(use.speed, -2 * q - use.wide, *([-q] if use.wide else []))
            yield 2 * q + speed + use.wide - use.fan

    # --- uses of parameters ---------------------------------------------------------------------------------------------

    @functools.cached_property
    def uses(self) -> dict[str, list[_Use]]:
        """The uses of every parameter, in the order of computation."""
        found: dict[str, list[_Use]] = {}
        for node in self.order:
            if isinstance(node, tp.MatMul | tp.Vector):
                found.setdefault(node.weight.path, []).append(self._use(node))
        return found

    def _use(self, value: Any) -> _Use:
        weight = value.weight
        parameter = self.reading.parameters[weight.path]
        sizes = self.reading.shapes[weight.path]
        contracted = {label[-1] for label in weight.contracted}
        wide = sum(len(set(s)) > 1 for d, s in enumerate(sizes) if d not in contracted)
        law, rate = self.reading.laws[weight.path].variance, self.reading.rates[weight.path]
        return _Use(
            value,
            weight.fan_exponent,
            Fraction(wide),
            law.exponent if law.coefficient else None,
            rate.exponent if rate.coefficient else None,
            parameter.exponent,
        )

    def layers(self) -> Iterator[Layer]:
        for path, uses in self.uses.items():
            updates = [u for u in map(self._update, uses) if u is not None]
            shares = [s for s in map(self._share, uses) if s is not None]
            first = uses[0]
            yield Layer(
                path,
                _shape(self.reading, path),
                -first.variance / 2 if first.variance is not None else None,
                self._factor(first),
                -first.rate if first.rate is not None else None,
                max(self._read(u) for u in uses),
                -max(updates) if updates else None,
                max(shares) if shares else None,
                first.wide == 0,
                first.wide > 0 and first.fan > 0,
                len(uses),
                _place(first.value.where),
            )

    def _read(self, use: _Use) -> Fraction:
        own = self.exponents.products[id(use.value.weight)].own
        return self.exponents.read.get(id(use.value), own)

    def _factor(self, use: _Use) -> Fraction:
        """a: the factors n^-a between the parameter as the code holds it and what reads the product."""
        of = self.exponents.products[id(use.value.weight)].of
        return use.formal / 2 + use.fan / 2 + of - self._read(use)

    def _update(self, use: _Use) -> Fraction | None:
        """The order of Δg beside g, or beside the sum that g is a term of."""
        q = self.adjoint.get(id(use.value))
        return None if q is None or use.speed is None else q + use.speed + self.seen[id(use.value)]

    def _share(self, use: _Use) -> Fraction | None:
        """The order of what the update does to the output: of the parameter's share of the tangent kernel."""
        q = self.adjoint.get(id(use.value))
        return None if q is None or use.speed is None else 2 * q + use.speed + use.wide

    # --- what is not of order one -----------------------------------------------------------------------------------------

    def problems(self) -> Iterator[Problem]:
        """Products whose own factor makes what enters a nonlinearity grow or vanish; each once."""
        found: dict[int, None] = {}
        for unsettled in self.exponents.unsettled:
            for value in _made_of(unsettled.value):
                gain = self._gain(value)
                if gain and gain * unsettled.exponent > 0 and id(value) not in found:
                    found[id(value)] = None
                    yield Problem(value.weight.path, _place(value.where), gain, _place(unsettled.where))

    def _gain(self, value: Any) -> Fraction:
        """By how much a product is larger than what it is applied to."""
        product = self.exponents.products.get(id(value.weight))
        return self.exponents.read.get(id(value), product.own) - product.of if product else _ZERO


def _made_of(value: tp.Value) -> list[Any]:
    """The products and initial vectors that a value is a linear combination of."""
    if isinstance(value, tp.MatMul | tp.Vector):
        return [value]
    linear = isinstance(value, tp.Sum | tp.Scaled | tp.Image)
    return [base for part in value.parts for base in _made_of(part)] if linear else []


def _place(where: str) -> str:
    return where.rpartition("/")[2].partition(" (")[0].rpartition(":")[0] or where


def _shape(reading: trace.Reading, path: str) -> str:
    return f"({', '.join(tp.grown(sizes, reading.widths) for sizes in reading.shapes[path])})"

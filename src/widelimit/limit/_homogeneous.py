"""Networks that are homogeneous in one vector: their second moments depend on two inputs through norms and one angle.

Let h(x) be the known array that the first weights contract, without a bias and with nonlinearities φ(a u) = aⁿ φ(u) for
a > 0 after it. Cov(Z^{Wh}, Z^{Wh'}) = σ_W² h·h', and every later moment is made of these; scaling h by a > 0 scales a value by aᵖ
with p the product of the n on its way. So K(x, x') = (|h| |h'|)ᵖ κ(θ) with θ the angle between h and h'; derivatives with
respect to covariances of weights are of the same form.
"""

from __future__ import annotations

import dataclasses

from widelimit import gaussian
from widelimit import program as tp
from widelimit.limit._fuse import FusionError, fused, number_of


@dataclasses.dataclass(frozen=True)
class Homogeneous:
    """The vector h, the degree p of the output in it, and how many nonlinear values are on the way."""

    source: tp.Given
    degree: int
    layers: int


def homogeneous(output: tp.Value) -> Homogeneous | None:
    """How an output depends on the data, if it is homogeneous in one vector, of degree 1 or more, and in nothing else."""
    search = _Search()
    degree = search.degree(output)
    if degree is None or search.source is None:
        return None
    return Homogeneous(search.source, degree, search.layers)


class _Search:
    """From the output backwards, as long as values have no positions."""

    def __init__(self) -> None:
        self.source: tp.Given | None = None
        self.layers = 0
        self._degrees: dict[tp.Value, int | None] = {}

    def degree(self, value: tp.Value) -> int | None:
        if value not in self._degrees:
            self._degrees[value] = None if value.shape else self._found(value)
        return self._degrees[value]

    def _found(self, value: tp.Value) -> int | None:
        degree = None if value.is_gaussian else self._of_function(value)
        return self._by_structure(value) if degree is None else degree

    def _by_structure(self, value: tp.Value) -> int | None:
        match value:
            case tp.MatMul(h=tp.Given() as h):
                return 1 if self._is_source(h) and len(value.contracted) == len(h.shape) else None
            case tp.MatMul():
                return self.degree(value.h)
            case tp.Scaled():
                return None if number_of(value.known) is None else self.degree(value.h)
            case tp.Sum():
                degrees = {self.degree(term) for term in value.terms}
                return degrees.pop() if len(degrees) == 1 else None
            case tp.Product():
                degrees = [self.degree(factor) for factor in value.factors]
                return None if None in degrees else sum(degrees)
        return None

    def _is_source(self, given: tp.Given) -> bool:
        """Whether this is the data, of which there may be one array only."""
        if self.source is None and given.shape and _is_of_data(given.known):
            self.source = given
        return self.source is not None and given.known is self.source.known and given.shape == self.source.shape

    def _of_function(self, value: tp.Value) -> int | None:
        """Of a function of one Gaussian."""
        try:
            whole = fused((value,))
        except FusionError:
            return None
        if len(whole.bases) != 1 or whole.params or (order := gaussian.homogeneity(whole.phi)) is None:
            return None
        self.layers += 1
        inner = self.degree(whole.bases[0])
        return None if inner is None else inner * order


def _is_of_data(known: tp.Known) -> bool:
    """Whether an array is made of inputs, and not of numbers or of the network's random values alone."""
    match known:
        case tp.Input():
            return True
        case tp.Apply():
            varying = [a for a in known.args if not isinstance(a, tp.Constant)]
            return bool(varying) and all(map(_is_of_data, varying))
    return False

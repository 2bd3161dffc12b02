"""The recursion: second moments of the program's random variables for two inputs.

For values u, v of the program and inputs x, x', K(u@x, v@x') = E[Z^u(x) Z^v(x')] follows from their structure:
linear values by bilinearity; two MatMuls with the same weight σ_W² Σ K(h, h'); with different weights 0; two
nonlinear values by a Gaussian expectation (Tensor Programs I, Theorem 5.4 and Corollary 5.5; NETSOR⁺ for Moments).
It is evaluated lazily with memory, from the output backwards, and asked only for the positions that are needed.

A request names, for each axis of v, the axis of u at whose position it is read (`match`), or None for all
positions. The result has the axes of u, then the unmatched axes of v.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from widelimit import gaussian
from widelimit import program as tp
from widelimit.limit._difference import Gap, gap_of, is_positive, second_moments
from widelimit.limit._filters import has_filter, linear_in_filters, moment_of, split_for_filters, through_filter
from widelimit.limit._fuse import Fused, fused, one_function, opened
from widelimit.limit._given_filter import both_filtered, given_filter
from widelimit.limit._images import split_for_maps, through_maps
from widelimit.limit._labels import diagonal_of, into, outer, right_into
from widelimit.limit._profiles import mean_of, profiled
from widelimit.limit._request import Request, same_positions
from widelimit.limit._slope import Probe, by_parts, probed, slope
from widelimit.limit._stages import boundary, in_one
from widelimit.limit._weights import data_product, split_for_weights, through_vector, through_weight

_MANY = 16  # positions of which all pairs are asked for


@dataclasses.dataclass(frozen=True)
class Instead:
    """The value of a known array, in place of the inputs that it is computed from."""

    known: tp.Known
    value: Array


@dataclasses.dataclass(eq=False)
class Recursion:
    """K for one pair of inputs; side 0 is x, side 1 is x'.

    `variances` are the parameters' variances (both copies of a weight alike); `cross` the covariances between
    corresponding entries of the two copies. At cross = variances the copies are one network, and the derivative
    of K with respect to cross, along the learning rates, is the tangent kernel. `base` is the same recursion at that
    point (None: this is it, or the derivative is not of interest). `at_base` tells that this is that point too, and only
    the derivative of `cross` differs: what is zero there need not be computed.
    """

    inputs: tuple[Sequence[Array] | Instead, ...]
    variances: dict[str, Any]
    cross: dict[str, Any]
    dtype: Any
    accuracy: float

    base: Recursion | None = None
    at_base: bool = False

    def __post_init__(self) -> None:
        self._second: dict[Any, Array | None] = {}
        self._mean: dict[Any, Array | None] = {}
        given = ((x, side) for side, x in enumerate(self.inputs) if isinstance(x, Instead))
        self._known: dict[Any, Array] = {(x.known, side): x.value for x, side in given}
        self._products: dict[Any, Array] = {}
        self._expectations: dict[Any, Array] = {}
        self._gaps: dict[Any, Gap] = {}
        self._carried: dict[Any, Array] = {}

    # --- what the example determines ----------------------------------------------------------------------------------

    def known(self, x: tp.Known, side: int) -> Array:
        key = (x, side)
        if key not in self._known:
            self._known[key] = self._cast(self._compute(x, side))
        return self._known[key]

    def _cast(self, a: Any) -> Array:
        a = jnp.asarray(a)
        return a.astype(self.dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a

    def _compute(self, x: tp.Known, side: int) -> Any:
        match x:
            case tp.Input():
                return jnp.reshape(self.inputs[side][x.index], x.shape)
            case tp.Constant():
                return x.value
            case tp.Apply():
                return x.fn(*(self.known(a, side) for a in x.args))
            case tp.Moment():
                return self._moment(x, side)
            case tp.Slope():
                return slope(self, x, side)
        raise TypeError(type(x).__name__)

    def _moment(self, x: tp.Moment, side: int) -> Array:
        """θ = E[Z^left Z^right] at one input: it does not know of the other copy of the weights."""
        value = (
            self.mean(x.left, side) if x.right is None else self.second(Request(x.left, x.right, (side, side), x.match))
        )
        return jnp.zeros(x.shape, self.dtype) if value is None else jnp.broadcast_to(value, x.shape)

    # --- first moments ------------------------------------------------------------------------------------------------

    def mean(self, u: tp.Value, side: int) -> Array | None:
        """E Z^u, or None where it is zero by structure."""
        key = (u, side)
        if key not in self._mean:
            self._mean[key] = self._mean_of(u, side)
        return self._mean[key]

    def _mean_of(self, u: tp.Value, side: int) -> Array | None:
        match u:
            case tp.Given():
                return jnp.broadcast_to(self.known(u.known, side), u.shape)
            case tp.MatMul() | tp.Vector() | tp.Fluctuation() | Probe():
                return None
            case tp.Depthwise() if u.is_centred:
                return None
            case tp.Profile():
                return mean_of(u, self.dtype)
            case tp.Sum():
                return _total([self.mean(t, side) for t in u.terms])
            case tp.Scaled():
                return _times(self.mean(u.h, side), self.known(u.known, side))
            case tp.Image():
                inner = self.mean(u.h, side)
                return None if inner is None else tp.apply_maps(inner, u.maps, lambda k: self.known(k, side))
        return self._expected((u,), side)

    def _expected(self, factors: tuple[tp.Value, ...], side: int) -> Array | None:
        same = Request(factors[0], factors[0], (side, side), same_positions(factors[0]))
        return self.product(factors, (), same)

    # --- second moments -----------------------------------------------------------------------------------------------

    def second(self, r: Request) -> Array | None:
        """E[Z^u Z^v] as requested, or None where it is zero by structure."""
        if r.key not in self._second:
            self._second[r.key] = self._second_of(r)
        return self._second[r.key]

    def _second_of(self, r: Request) -> Array | None:
        u, v = r.u, r.v
        match u, v:
            case tp.Sum(), _ if not one_function(u):
                return _total([self.second(r.replace(u=t)) for t in u.terms])
            case _, tp.Sum() if not one_function(v):
                return _total([self.second(r.replace(v=t)) for t in v.terms])
            case tp.Scaled(), _:
                return _times(self.second(r.replace(u=u.h)), into(self.known(u.known, r.sides[0]), r))
            case _, tp.Scaled():
                return _times(self.second(r.replace(v=v.h)), right_into(self.known(v.known, r.sides[1]), r))
            case tp.Given(), _:
                return None if r.centred else outer(self.mean(u, r.sides[0]), self.mean(v, r.sides[1]), r)
            case _, tp.Given():
                return None if r.centred else outer(self.mean(u, r.sides[0]), self.mean(v, r.sides[1]), r)
            case (tp.Image(), _) | (_, tp.Image()):
                return self._where_matched(r, split_for_maps(r), through_maps)
            case (tp.Depthwise(), _) | (_, tp.Depthwise()):
                return self._where_matched(r, split_for_filters(r), through_filter)
            case tp.MatMul(), tp.MatMul():
                return self._where_matched(r, split_for_weights(r), through_weight)
            case tp.Vector(), tp.Vector():
                return through_vector(self, r)
            case (tp.Profile(), v) | (v, tp.Profile()) if v.is_gaussian:
                return None
            case tp.Fluctuation(), tp.Fluctuation():
                return self.second(r.replace(u=u.h, v=v.h, centred=False))
            case ((tp.MatMul() | tp.Vector()), (tp.MatMul() | tp.Vector())):
                return None
            case (tp.Fluctuation(), (tp.MatMul() | tp.Vector() | Probe())) | (
                (tp.MatMul() | tp.Vector()),
                tp.Fluctuation(),
            ):
                return None
            case ((tp.MatMul() | tp.Vector()), Probe()):
                return probed(self, r)
        return self.product((u,), (v,), r)

    def _where_matched(
        self, r: Request, split: frozenset[int], rule: Callable[[Any, Request], Array | None]
    ) -> Array | None:
        """Ask for all positions of the axes that the rule cannot match, and take the diagonal."""
        if split:
            return diagonal_of(self.second(r.unmatched(split)), r, split)
        return rule(self, r)

    def covariance(self, path: str, sides: tuple[int, int]) -> Any:
        return self.variances[path] if sides[0] == sides[1] else self.cross[path]

    def apart(self, path: str, sides: tuple[int, int]) -> Any:
        """The variance less the covariance of the two copies of a parameter; None where they are one."""
        variance, covariance = self.variances[path], self.covariance(path, sides)
        if sides[0] == sides[1] or self.at_base or self.cross is self.variances or _equal(variance, covariance):
            return None
        return jax.lax.stop_gradient(variance - covariance)

    def data_product(self, r: Request) -> Array:
        """The products of the inputs of one weight, made once."""
        key = (r.u.h, r.v.h, r.u.contracted, r.v.contracted, r.sides, r.match)
        if key not in self._products:
            self._products[key] = data_product(self, r)
        return self._products[key]

    # --- squared differences ------------------------------------------------------------------------------------------

    def gap(self, r: Request) -> Gap:
        """E[(Z^u − Z^v)²] as requested, 0.0 where it is zero by structure, None where it has no rule (`_difference`)."""
        if r.key not in self._gaps:
            self._gaps[r.key] = gap_of(self, r)
        return self._gaps[r.key]

    def carried(self, phi: Fused, psi: Fused, r: Request) -> Array | None:
        """The gap of two functions that was found with the expectation of their product."""
        return self._carried.get((phi.key, psi.key, r.sides, r.match))

    # --- products of values -------------------------------------------------------------------------------------------

    def product(self, left: Sequence[tp.Value], right: Sequence[tp.Value], r: Request) -> Array | None:
        """E[Π left Π right] in the axes of r; factors that are independent of each other are split."""
        left, right = _flat(left), _flat(right)
        if any(map(tp.has_profile, (*left, *right))):
            return profiled(self, left, right, r)
        factors = [(f, 0) for f in left] + [(f, 1) for f in right]
        result: Array | None = jnp.ones((), self.dtype)
        for group in self._groups(factors, r):
            part = self._group([f for f, s in group if s == 0], [f for f, s in group if s == 1], r)
            if part is None:
                return None
            result = part * result
        return jnp.broadcast_to(result, r.shape)

    def _groups(self, factors: list[tuple[tp.Value, int]], r: Request) -> list[list[tuple[tp.Value, int]]]:
        """Factors that share randomness belong together (union over correlated bases)."""
        groups: list[list[tuple[tp.Value, int]]] = []
        for factor in factors:
            joined = [g for g in groups if any(self._dependent(factor, other, r) for other in g)]
            rest = [g for g in groups if g not in joined]
            groups = [*rest, [f for g in joined for f in g] + [factor]]
        return groups

    def _dependent(self, a: tuple[tp.Value, int], b: tuple[tp.Value, int], r: Request) -> bool:
        (u, s), (v, t) = a, b
        if s > t:
            return self._dependent(b, a, r)
        if has_filter(u) or has_filter(v):
            return not tp.independent(u, v)
        return any(
            self.second(r.between(x, y, (s, t), centred=True)) is not None
            for x in fused((u,)).bases
            for y in fused((v,)).bases
        )

    def _group(self, left: list[tp.Value], right: list[tp.Value], r: Request) -> Array | None:
        if max(len(left), len(right)) == 1 and all(map(linear_in_filters, (*left, *right))):
            return moment_of(self, left, right, r)
        if (found := both_filtered(left, right)) is not None:
            return given_filter(self, *found, r)
        phi, psi = fused(tuple(left)), fused(tuple(right))
        if max(len(phi.bases), len(psi.bases)) > 1 and (split := _expandable(left, right)) is not None:
            return self._distributed(split, left, right, r)
        key = (phi.key, psi.key, r.sides, r.match, r.shape)
        if key not in self._expectations:
            self._expectations[key] = self._expectation(phi, psi, r)
        return self._expectations[key]

    def _distributed(
        self, split: tuple[int, int], left: list[tp.Value], right: list[tp.Value], r: Request
    ) -> Array | None:
        """E is linear in a factor that is a sum or a multiple."""
        side, i = split
        mine, other = (left, right) if side == 0 else (right, left)
        factor = mine[i]

        def with_(f: tp.Value) -> Array | None:
            changed = [*mine[:i], f, *mine[i + 1 :]]
            return self.product(*((changed, other) if side == 0 else (other, changed)), r)

        if isinstance(factor, tp.Scaled):
            known = self.known(factor.known, r.sides[side])
            return _times(with_(factor.h), into(known, r) if side == 0 else right_into(known, r))
        return _total([with_(t) for t in factor.terms])

    def _expectation(self, phi: Fused, psi: Fused, r: Request) -> Array:
        """E[φ(u)ψ(v)] under the joint law of the bases; their gap is kept beside it."""
        if psi.bases and isinstance(psi.bases[0], Probe):
            return by_parts(self, phi, r)
        jumping = r.sides == (0, 1) and self.base is not None and (phi.has_jumps or psi.has_jumps)
        value, gap = (self._almost_everywhere if jumping else self._integral)(phi, psi, r)
        value, gap = self._cast(value), None if gap is None else self._cast(gap)
        if r.sides == (0, 1) or None in r.match:
            value, gap = self._written(phi, psi, r, (value, gap))
        if gap is not None:
            self._carried[phi.key, psi.key, r.sides, r.match] = jnp.broadcast_to(gap, r.shape)
        return value

    def _written(
        self, phi: Fused, psi: Fused, r: Request, found: tuple[Array, Array | None]
    ) -> tuple[Array, Array | None]:
        """Both to memory; as one array where the sign can tell which of them is kept."""
        value, gap = found
        if gap is None:
            return boundary(value), None
        single = len(phi.parts) == len(psi.parts) == 1
        if not single or not all(gaussian.is_nonnegative(f.phi) for f in (phi, psi)):
            return boundary(value), boundary(gap)
        squares = second_moments(self, r.replace(u=phi.parts[0], v=psi.parts[0], centred=False))
        return in_one(*jnp.broadcast_arrays(value, gap, *squares))

    def expected_slope(self, phi: Fused, i: int, r: Request) -> Array:
        """E[∂_iφ(u)] on the side of u."""
        return self._cast(self._integral(phi, fused(()), r, (i, None))[0])

    def _integral(
        self, phi: Fused, psi: Fused, r: Request, slope: tuple[int | None, int | None] = (None, None)
    ) -> tuple[Array, Array | None]:
        """E[φψ], or E[∂_iφ ∂_jψ] for `slope` = (i, j); and E[(φ − ψ)²] where it has a closed form."""
        joint = (
            self._block(phi, phi, r, (0, 0)),
            self._block(psi, psi, r, (1, 1)),
            self._block(phi, psi, r, (0, 1)),
            tuple(into(self.mean(b, r.sides[0]), r) for b in phi.bases),
            tuple(right_into(self.mean(b, r.sides[1]), r) for b in psi.bases),
        )
        left = tuple(into(self.known(p, r.sides[0]), r) for p in phi.params)
        right = tuple(right_into(self.known(p, r.sides[1]), r) for p in psi.params)
        f, g = (x.phi if i is None else gaussian.derivative(x.phi, i) for x, i in zip((phi, psi), slope, strict=True))
        gap = self._gap_of_bases(phi, psi, (f, g), r)
        positive = gap is not None and phi.bases == psi.bases and is_positive(phi.bases[0])
        return _expect(f, g, self.accuracy, positive)((*joint, gap), left, right)

    def _gap_of_bases(
        self, phi: Fused, psi: Fused, functions: tuple[gaussian.Pointwise, ...], r: Request
    ) -> Array | None:
        """E[(u − v)²] of centred arguments of functions with kinks, the only ones that need it."""
        if (len(phi.bases), len(psi.bases)) != (1, 1) or phi.params or psi.params:
            return None
        (u,), (v,) = phi.bases, psi.bases
        # Of all pairs of many positions few are nearly equal: their rounding errors are averaged away with the positions.
        if math.prod(n for n, m in zip(v.shape, r.match, strict=True) if m is None) >= _MANY:
            return None
        centred = self.mean(u, r.sides[0]) is None and self.mean(v, r.sides[1]) is None
        if not centred or not all(map(gaussian.has_kink, functions)):
            return None
        gap = self.gap(r.between(u, v, (0, 1), centred=True))
        return gap if isinstance(gap, Array) else None

    def _almost_everywhere(self, phi: Fused, psi: Fused, r: Request) -> tuple[Array, Array | None]:
        """E[φψ] whose derivative in the weights' cross-covariances is E[∂_iφ ∂_jψ] with derivatives almost everywhere.

        The tangent kernel of a network is made of the derivatives that backpropagation takes, which do not see jumps;
        the derivative of E[φψ] itself does (Price's identity holds for distributions). So the value is that at the
        base, cross = variances, and what the cross-covariances add to it, zero there, is linear.
        """
        value, gap = self.base._integral(phi, psi, r)
        for i, a in enumerate(phi.bases):
            for j, b in enumerate(psi.bases):
                pair = r.between(a, b, (0, 1), centred=True)
                moved, still = self.second(pair), self.base.second(pair)
                if moved is not None:
                    value = value + self.base._integral(phi, psi, r, (i, j))[0] * (moved - still)
        return value, gap

    def _block(self, phi: Fused, psi: Fused, r: Request, ends: tuple[int, int]) -> tuple[tuple[Array | None, ...], ...]:
        place = {(0, 0): into, (1, 1): right_into, (0, 1): lambda a, _: a}[ends]
        return tuple(
            tuple(place(self.second(r.between(a, b, ends, centred=True)), r) for b in psi.bases) for a in phi.bases
        )


def _expect(
    phi: gaussian.Pointwise, psi: gaussian.Pointwise, accuracy: float, positive: bool
) -> Callable[..., tuple[Array, Array | None]]:
    """E[φψ] and E[(φ − ψ)²] as functions of the joint law's arrays, traced once for the same functions and shapes.

    The second is None without a gap of the arguments or a closed form. Both are in one program, which finds the angle once.
    """

    def make() -> Callable[..., tuple[Array, Array | None]]:
        def expect(joint: tuple, left: tuple, right: tuple) -> tuple[Array, Array | None]:
            law = gaussian.Joint(*joint, positive=positive)
            value = gaussian.expect(phi, psi, law, left_params=left, right_params=right, accuracy=accuracy)
            return value, None if law.gap is None else gaussian.squared_difference(phi, psi, law)

        return jax.jit(expect)

    made = vars(phi).setdefault("_expectations", {})
    key = (psi, accuracy, positive, gaussian.generation(phi))
    if key not in made:
        made[key] = make()
    return made[key]


def _equal(a: Any, b: Any) -> bool:
    """Whether two numbers are known to be equal; one that is being traced is not known."""
    try:
        return float(a) == float(b)
    except (TypeError, jax.errors.ConcretizationTypeError):
        return False


def _flat(factors: Sequence[tp.Value]) -> list[tp.Value]:
    """The factors, with products and images of products taken apart; depthwise convolutions are left whole."""
    apart = [f if f.is_gaussian or linear_in_filters(f) else opened(f) for f in factors]
    return [g for f in apart for g in (_flat(f.factors) if isinstance(f, tp.Product) else [f])]


def _expandable(left: list[tp.Value], right: list[tp.Value]) -> tuple[int, int] | None:
    """A factor that is a sum or multiple, in a group where taking it apart may separate independent parts."""
    for side, factors in ((0, left), (1, right)):
        for i, f in enumerate(factors):
            if isinstance(f, tp.Sum) and one_function(
                f
            ):  # one Gaussian, such as the gate 1 − σ(g): nothing to separate
                continue
            if isinstance(f, tp.Sum | tp.Scaled) and (len(left) + len(right) > 1 or not f.is_gaussian):
                return side, i
    return None


def _total(parts: Sequence[Array | None]) -> Array | None:
    found = [p for p in parts if p is not None]
    if not found:
        return None
    result = found[0]
    for part in found[1:]:
        result = result + part
    return result


def _times(a: Array | None, b: Array) -> Array | None:
    return None if a is None else a * b

"""Positive definiteness on the sphere: a lower bound on the smallest eigenvalue that can be checked."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from widelimit.spectrum._degree import is_polynomial
from widelimit.spectrum._gegenbauer import harmonics, polynomials
from widelimit.spectrum._peel import Peeled, Peeler, by_harmonics
from widelimit.spectrum._profile import Profile, profile
from widelimit.spectrum._sphere import Sphere, expand

_CALL = "wl.spectrum.certificate(kernel, x)"
_ROUND = 1e-5  # relative spread of norms that counts as rounding
_SAME = 1e-7  # angle below which two examples are one
_DEGREES = (16, 256)
_ENTRIES = 2e7  # of the table P_k(x_i·x_j)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Why a Gram matrix on the sphere is positive definite, by how much, or why it is not.

    Attributes:
        bound: Lower bound on the smallest eigenvalue of the Gram matrix; 0 where none was found.
        reason: In words: what the bound rests on, or why it is 0.
        strict: Whether the kernel is positive definite on every finite set of distinct points of the sphere: no polynomial, and
            eigenvalues of even and of odd degrees that do not end (Gneiting 2013), judged by those that float64 resolves.
        sphere: The coefficients behind it: eigenvalues λ_k and multiplicities by degree.
        removed: c_k / N(d, k) of the polynomials Σ_k c_k P_k taken off before the discs were drawn (λ_k: all of a degree).
        cut: Which degrees were taken off at first.
        polynomial: The degree p if the kernel is a polynomial in x·x', else None.
        rank: For a polynomial: Σ N(d, k) over its degrees, the largest rank; it fails on more points than that.
        closest: The two examples of the smallest angle, and that angle.
    """

    bound: float
    reason: str
    strict: bool
    sphere: Sphere
    removed: Float[ndarray, " k"]
    cut: str
    polynomial: int | None
    rank: int | None
    closest: tuple[int, int, float]

    def __bool__(self) -> bool:
        """Whether the Gram matrix is certified positive definite."""
        return bool(self.bound > 0)

    def __str__(self) -> str:
        head = f"smallest eigenvalue >= {self.bound:.4g}: {self.reason}"
        used = [f"λ_{k} = {self.sphere.eigenvalues[k]:.3g}" for k in self.sphere.degrees[self.sphere.resolved][:8]]
        i, j, angle = self.closest
        return "\n".join(
            [head, "coefficients: " + ", ".join(used), f"closest examples: {i} and {j}, angle {angle:.3g}"]
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Points:
    """Pairs i < j of points of the sphere and their angles."""

    count: int
    rows: ndarray
    columns: ndarray
    angles: Float[ndarray, " m"]

    @property
    def closest(self) -> tuple[int, int, float]:
        at = int(np.argmin(self.angles))
        return int(self.rows[at]), int(self.columns[at]), float(self.angles[at])

    @property
    def antipodal(self) -> int:
        return int(np.sum(np.pi - self.angles < _SAME))


def certificate(
    kernel: Any,
    x: Shaped[Any, "n d"],
    *,
    kind: Literal["nngp", "ntk"] = "ntk",
    degree: int | None = None,
    steps: int = 200,
) -> Certificate:
    """A lower bound on the smallest eigenvalue of K = κ(x_i·x_j) for points of a sphere, from the spectrum of κ alone.

    For an activation that is no polynomial the NTK is positive definite on the sphere (Jacot et al. 2018, Proposition
    2): infinitely many λ_k are positive. In numbers: for every c_k ≥ 0 and v > 0,

        λ_min(K) ≥ T(1) - max_i Σ_{j≠i} |T(x_i·x_j)| v_j / v_i,   T(ρ) = κ(ρ) - Σ_k c_k P_k(ρ),

    because Σ_k c_k P_k(x_i·x_j) is positive semi-definite (Schoenberg 1942) and by Gershgorin's discs of a matrix similar to
    T. With c_k = λ_k N(d, k) for low k what is left is peaked at ρ = 1, and its discs keep away from 0. The bound holds whatever
    the c_k; they are chosen to make it large. No eigenvalue of K is computed.

    Where the λ_k fall too fast for discs, a second bound steps in, with the smallest eigenvalue of the harmonics' own Gram matrix
    Y Yᵀ on the data: λ_min(K) ≥ τ λ_min(Y Yᵀ) over the degrees with λ_k ≥ τ, as all other λ_k ≥ 0.

    The first bound holds for the matrix of the computed entries, the second for the exact one. Where an activation has no closed form
    the two matrices differ by the error in `kernel.explain()`, and their eigenvalues by at most N times that.

    Args:
        kernel: A `wl.Kernel` of one vector, a function of x·x' on the sphere; or a function κ(ρ) of `jax.numpy`.
        x: N inputs of equal norm.
        kind: "ntk" or "nngp".
        degree: The highest degree that may be removed; by default from the closest pair.
        steps: Steps of the search for good c_k.

    Returns:
        A `Certificate`. Duplicates, and polynomials on more points than their rank, have bound 0 and say so.

    Raises:
        ValueError: Where the inputs do not lie on a sphere, or the kernel is not a function of x·x' on it.
    """
    points, radius = _points(x)
    unit = 1.0 if not hasattr(kernel, "reading") else radius
    kappa = profile(kernel, kind=kind, dimension=np.shape(x)[1], radius=unit, call=_CALL)
    spectrum = expand(kappa, degree if degree is not None else _degrees(points))
    order = int(spectrum.degrees[spectrum.resolved][-1]) if is_polynomial(kernel) and any(spectrum.resolved) else None
    rank = None if order is None else _rank(spectrum)
    found = _peeled(kappa, spectrum, points, steps)
    bound, reason = _verdict(found, points, order, rank)
    return Certificate(
        bound=bound,
        reason=reason,
        strict=order is None and _both_parities(spectrum),
        sphere=spectrum,
        removed=found.removed / spectrum.multiplicities,
        cut=found.cut,
        polynomial=order,
        rank=rank,
        closest=points.closest,
    )


def _points(x: Any) -> tuple[_Points, float]:
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 2 or not np.all(np.isfinite(x)):
        raise ValueError(f"`{_CALL}`: x has shape {x.shape}; expected (N, d), N and d at least 2, all entries finite")
    norms = np.linalg.norm(x, axis=1)
    if norms.min() <= 0 or np.ptp(norms) > _ROUND * norms.max():
        raise ValueError(
            f"`{_CALL}`: the norms of the inputs range from {norms.min():.4g} to {norms.max():.4g}; expected equal ones: divide each by "
            "its norm"
        )
    unit = x / norms[:, None]
    i, j = np.triu_indices(len(x), 1)
    angles = np.concatenate([_angles(unit[a], unit[b]) for a, b in zip(*(_pieces(v) for v in (i, j)), strict=True)])
    return _Points(len(x), i, j, angles), float(norms.mean())


def _pieces(index: ndarray) -> list[ndarray]:
    return np.array_split(index, max(1, index.size // 100_000))


def _angles(a: ndarray, b: ndarray) -> ndarray:
    """Of unit vectors, with all digits of small ones and of those near π."""
    return 2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))


def _degrees(points: _Points) -> int:
    """Enough to tell the closest pair apart, and a table that fits."""
    least, most = _DEGREES
    wanted = 8 / max(points.closest[2], 1e-3)
    return int(np.clip(wanted, least, max(least, min(most, _ENTRIES / points.angles.size))))


def _peeled(kappa: Profile, spectrum: Sphere, points: _Points, steps: int) -> Peeled:
    used = np.where(spectrum.resolved, spectrum.eigenvalues, 0.0) * spectrum.multiplicities
    basis = np.stack(list(polynomials(spectrum.dimension, len(used) - 1, np.cos(points.angles))))
    discs = Peeler(points.count, spectrum.diagonal, kappa(points.angles), basis, used).best(steps)
    sure = np.maximum(spectrum.eigenvalues - spectrum.uncertainty, 0.0)
    return max(discs, by_harmonics(points.count, basis, sure, spectrum.multiplicities), key=lambda p: p.bound)


def _rank(spectrum: Sphere) -> int:
    return sum(harmonics(spectrum.dimension, int(k)) for k in spectrum.degrees[spectrum.resolved])


def _both_parities(spectrum: Sphere) -> bool:
    """Whether even and odd degrees are resolved beyond degree 1."""
    good = spectrum.degrees[spectrum.resolved & (spectrum.degrees > 1)]
    return bool(np.any(good % 2 == 0) and np.any(good % 2 == 1))


def _verdict(found: Peeled, points: _Points, order: int | None, rank: int | None) -> tuple[float, str]:
    i, j, angle = points.closest
    if angle < _SAME:
        return 0.0, f"examples {i} and {j} coincide, so the Gram matrix is singular"
    if rank is not None and rank < points.count:
        return 0.0, (
            f"the kernel is a polynomial of degree {order} in x·x', of rank {rank} on the sphere: singular on {points.count} points"
        )
    if found.bound > 0:
        return float(found.bound), (
            f"a positive semi-definite part can be taken off ({found.cut}), and the rest is positive definite on these points"
        )
    pairs = points.antipodal
    return 0.0, "no bound above the rounding of float64 was found: the points are too close for the decay of λ_k" + (
        f" ({pairs} antipodal pair{'s' * (pairs != 1)}: even and odd degrees must then both go on)" if pairs else ""
    )

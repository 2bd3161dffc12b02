"""The spectrum of a kernel on the sphere: Funk and Hecke's eigenvalues by degree."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from widelimit.spectrum._gegenbauer import harmonics, polynomials, rule
from widelimit.spectrum._profile import Profile, profile

_ROUNDING = 64 * 2.0**-52


@dataclasses.dataclass(frozen=True)
class Sphere:
    """The integral operator (Tf)(x) = E_{x'}[κ(x·x') f(x')], x' uniform on the sphere, degree by degree.

    Its eigenfunctions are the spherical harmonics (Funk, Hecke), so all kernels of networks share them:
    κ(x·x') = Σ_k λ_k N(d, k) P_k(x·x'). Host-side NumPy arrays in float64, whatever JAX's setting.

    Attributes:
        dimension: d, of the space in which S^{d-1} lies.
        degrees: k = 0, …, K.
        eigenvalues: λ_k. Eigenvalues of the Gram matrix of N uniform points tend to N λ_k.
        multiplicities: N(d, k), the number of harmonics of degree k (floats: they can exceed integers).
        uncertainty: How far each λ_k may be off, by rounding and, where an activation has no closed form, by the error that
            `kernel.explain()` states; eigenvalues below it are not resolved.
        diagonal: κ(1) = Σ_k λ_k N(d, k) over all degrees.
    """

    dimension: int
    degrees: Int[ndarray, " k"]
    eigenvalues: Float[ndarray, " k"]
    multiplicities: Float[ndarray, " k"]
    uncertainty: Float[ndarray, " k"]
    diagonal: float

    @property
    def share(self) -> Float[ndarray, " k"]:
        """λ_k N(d, k) / κ(1): the part of the trace that each degree holds."""
        return self.eigenvalues * self.multiplicities / self.diagonal

    @property
    def tail(self) -> float:
        """κ(1) - Σ_{k≤K} λ_k N(d, k): what the degrees beyond the highest hold."""
        return self.diagonal - float(np.sum(self.eigenvalues * self.multiplicities))

    @property
    def resolved(self) -> ndarray:
        """Which λ_k exceed their uncertainty."""
        return self.eigenvalues > self.uncertainty

    def __call__(self, rho: Any) -> Float[ndarray, " ..."]:
        """Σ_{k≤K} λ_k N(d, k) P_k(ρ): the kernel resummed (Mercer)."""
        t = np.asarray(rho, np.float64)
        weights = self.eigenvalues * self.multiplicities
        terms = polynomials(self.dimension, len(weights) - 1, t)
        return sum((w * p for w, p in zip(weights, terms, strict=True)), np.zeros_like(t))

    def decay(self, first: int = 10, *, parity: Literal["all", "even", "odd"] = "all") -> Decay:
        """The exponent p of λ_k ~ C k^{-p}, fitted over the resolved degrees k >= first.

        Least squares of log λ_k in log(k + (d-2)/2), the variable in which the asymptotic series has no odd term. For
        ReLU theory has p = d for the NTK and p = d + 2 for the NNGP of S^{d-1} (Bach 2017; Bietti & Bach 2021), odd and even
        degrees alike once there is a bias or a second hidden layer; without, odd degrees above 1 vanish: fit "even".
        For kernels that are analytic at ρ = ±1 the decay is faster than any power: `.residual` then shows a bend.
        """
        step = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}[parity]
        k, values, good = self.degrees[step], self.eigenvalues[step], self.resolved[step]
        good &= k >= first
        if np.sum(good) < 3:
            raise ValueError(
                f"`.decay({first}, parity={parity!r})`: {np.sum(good)} eigenvalues of such degrees are resolved in float64, expected at "
                "least 3: ask for more degrees, lower `first`, or fit the parity that does not vanish"
            )
        x, y = np.log(k[good] + (self.dimension - 2) / 2), np.log(values[good])
        slope, intercept = np.polyfit(x, y, 1)
        residual = float(np.max(np.abs(y - slope * x - intercept)))
        return Decay(-float(slope), math.exp(intercept), residual, (int(k[good][0]), int(k[good][-1])))


@dataclasses.dataclass(frozen=True)
class Decay:
    """λ_k ≈ constant · (k + (d-2)/2)^{-exponent} over `degrees`; `residual` is the largest error of log λ_k."""

    exponent: float
    constant: float
    residual: float
    degrees: tuple[int, int]


def sphere(
    kernel: Any,
    degree: int = 32,
    *,
    kind: Literal["nngp", "ntk"] = "ntk",
    dimension: int | None = None,
    radius: float = 1.0,
) -> Sphere:
    """Eigenvalues of a kernel on the sphere S^{d-1} by degree, with their multiplicities.

        λ_k = E[κ(t) P_k(t)],  t = x·x' of independent uniform x, x' (Funk & Hecke),

    integrated over the angle, in which kernels of networks are analytic, by panels that are graded towards both poles.

    Args:
        kernel: From `wl.limit`, of one vector of d numbers and with a kernel that depends on x·x' alone (checked); or a function
            κ(ρ) of `jax.numpy`.
        degree: The highest degree K.
        kind: "ntk" or "nngp".
        dimension: d, for a function κ(ρ).
        radius: Of the sphere on which the inputs of the network lie; ρ is the cosine of their angle.

    Returns:
        A `Sphere`: `.eigenvalues` (K + 1,), `.multiplicities`, `.share`, `.tail`, `.decay()`; called at ρ it resums the kernel.

    Raises:
        ValueError: Where the kernel is not a function of x·x' on the sphere.
    """
    return expand(
        profile(kernel, kind=kind, dimension=dimension, radius=radius, call="wl.spectrum.sphere(kernel)"), degree
    )


def expand(kappa: Profile, degree: int) -> Sphere:
    """Funk and Hecke's integrals of a profile."""
    d, degrees = kappa.dimension, np.arange(degree + 1)
    theta, weight = rule(d, degree)
    values = kappa(theta)
    weighted, size = weight * values, np.max(np.abs(values))
    eigenvalues = np.array([np.sum(weighted * p) for p in polynomials(d, degree, np.cos(theta))])
    multiplicities = np.array([float(harmonics(d, int(k))) for k in degrees])
    uncertainty = (_ROUNDING + kappa.error) * size / np.sqrt(multiplicities)
    return Sphere(d, degrees, eigenvalues, multiplicities, uncertainty, float(kappa(np.zeros(1))[0]))

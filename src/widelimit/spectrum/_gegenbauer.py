"""Gegenbauer polynomials, the dimensions of spherical harmonics, and integrals over the sphere by the angle."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_HALVINGS = 36  # panels towards each pole: an end of 1e-11 is left to the last one
_NODES = 24


def harmonics(dimension: int, degree: int) -> int:
    """N(d, k), the number of independent spherical harmonics of degree k on S^{d-1}.

    N(d, 0) = 1 and N(d, k) = (2k + d - 2)/k · C(k + d - 3, k - 1); 2 for every k > 0 on the circle (d = 2).
    """
    if degree == 0:
        return 1
    if dimension == 2:
        return 2
    return (2 * degree + dimension - 2) * math.comb(degree + dimension - 3, degree - 1) // degree


def polynomials(dimension: int, degree: int, t: Float[ndarray, "*m"]) -> Iterator[Float[ndarray, "*m"]]:
    """P_0, …, P_K at t, the Gegenbauer polynomials of S^{d-1} with P_k(1) = 1 (Legendre's for d = 3, Chebyshev's for 2).

    (k + d - 2) P_{k+1} = (2k + d - 2) t P_k - k P_{k-1}; orthogonal under `weight`, with E[P_k²] = 1/N(d, k).
    """
    before, now = np.zeros_like(t), np.ones_like(t)
    yield now
    for k in range(degree):
        if k == 0:
            before, now = now, np.array(t, np.float64)
        else:
            before, now = now, ((2 * k + dimension - 2) * t * now - k * before) / (k + dimension - 2)
        yield now


def rule(dimension: int, degree: int) -> tuple[Float[ndarray, " m"], Float[ndarray, " m"]]:
    """Angles θ in (0, π) and weights that integrate functions of t = cos θ over the law of x·x' on S^{d-1}.

    The density of θ is proportional to sin^{d-2} θ. A kernel of a network is analytic in θ inside (0, π), and may have powers of θ and
    π - θ at the poles (√θ after a step and a layer), so Gauss-Legendre panels halve towards both poles; their numbers
    of nodes resolve polynomials of twice the degree and the peak of width 1/√d at π/2.
    """
    ends = np.pi / 2 * np.concatenate([[0.0], 2.0 ** -np.arange(_HALVINGS, -1, -1.0)])
    panels = [_panel(a, b, degree, dimension) for a, b in itertools.pairwise(ends)]
    theta, weight = (np.concatenate(parts) for parts in zip(*panels, strict=True))
    density = np.exp((dimension - 2) * np.log(np.sin(theta))) * weight
    theta, density = np.concatenate([theta, np.pi - theta[::-1]]), np.concatenate([density, density[::-1]])
    return theta, density / density.sum()


def _panel(a: float, b: float, degree: int, dimension: int) -> tuple[ndarray, ndarray]:
    nodes = _NODES + math.ceil((b - a) * (degree + 6 * math.sqrt(dimension)))
    x, w = _legendre(nodes)
    return a + (b - a) * (1 + x) / 2, (b - a) / 2 * w


@functools.lru_cache(maxsize=64)
def _legendre(nodes: int) -> tuple[ndarray, ndarray]:
    return np.polynomial.legendre.leggauss(nodes)

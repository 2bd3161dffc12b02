"""Nodes and weights of N(0, 1)ⁿ: tensor Gauss–Hermite rules, and rank-1 lattices with independent random shifts.

A shifted, tent-transformed lattice costs no table of direction numbers and was measured against scrambled Sobol' points (4,096
and 16,384 of them; maximum, softmax, batch normalisation, indicator of the largest; 4 to 16 dimensions): its standard error
is between 0.3 and 1.8 times theirs, mostly below.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

SHIFTS = 8  # independent shifts of a lattice: their spread is its standard error
SIZES = (1021, 4093, 16381)  # points of a lattice (primes), the next where the one before does not reach the accuracy
_WIDEST = 8  # dimensions up to which the largest lattice is used
_COUNTS = (2, 3, 4, 5, 6, 8, 12, 16, 20, 24, 28, 32, 48, 64, 96)  # Gauss–Hermite nodes an axis
_TENSOR = 32**4  # nodes of the largest tensor rule, before those without weight are left out
_PIECE = 32768
_WHOLE = 4096  # rules so small are not thinned
_TENSOR_WIDE = 16384  # the same above four dimensions


def tensor_counts(n: int) -> tuple[int, ...]:
    """The numbers of nodes an axis that are worth trying in n dimensions."""
    most = _TENSOR if n <= 4 else _TENSOR_WIDE
    return tuple(count for count in _COUNTS if count**n <= most)


def lattice_sizes(n: int) -> tuple[int, ...]:
    """The lattices that are worth trying in n dimensions."""
    return SIZES if n <= _WIDEST else SIZES[:-1]


@lru_cache(maxsize=32)
def tensor(n: int, count: int, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, K) and weights (K,) of N(0, 1)ⁿ, without those whose share of E[(1+|z|²)²] is negligible."""
    x, w = np.polynomial.hermite_e.hermegauss(count)
    nodes = np.stack([g.ravel() for g in np.meshgrid(*[x] * n, indexing="ij")])
    weights = np.prod(np.stack([g.ravel() for g in np.meshgrid(*[w / w.sum()] * n, indexing="ij")]), 0)
    if len(weights) <= _WHOLE:
        return nodes, weights
    share = weights * (1 + np.sum(nodes**2, 0)) ** 2
    order = np.argsort(share)
    keep = np.sort(order[np.cumsum(share[order]) > 1e-2 * accuracy])
    return nodes[:, keep], weights[keep] / weights[keep].sum()


@lru_cache(maxsize=32)
def lattice(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, shifts · points): a lattice shifted at random, folded by the tent map, through the normal quantile."""
    base = np.outer(_generator(n, size), np.arange(size)) % size / size
    shifts = np.random.default_rng(2024).random((n, SHIFTS, 1))
    points = 1 - np.abs(2 * ((base[:, None] + shifts) % 1) - 1)
    count = SHIFTS * size
    return _quantile(np.clip(points, 1e-16, 1 - 1e-16)).reshape(n, count), np.full(count, 1 / count)


def _quantile(points: np.ndarray) -> np.ndarray:
    """Φ⁻¹, in pieces of one shape, hence compiled once."""
    pieces = np.pad(points.ravel(), (0, -points.size % _PIECE), constant_values=0.5).reshape(-1, _PIECE)
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        normal = np.concatenate([np.asarray(_ndtri(jnp.asarray(piece))) for piece in pieces])
    return normal[: points.size]


_ndtri = jax.jit(jax.scipy.special.ndtri)


def _generator(n: int, size: int) -> np.ndarray:
    """z of the lattice {k z / N}, component by component for the P₂ figure of merit with weights 1/j² on axis j.

    For a prime N the candidates' merits are a circular correlation over the powers of a primitive root, so one pair of
    Fourier transforms serves all of them (Nuyens & Cools 2006).
    """
    powers = _powers(size)
    x = powers / size
    kernel = 2 * np.pi**2 * (x * x - x + 1 / 6)
    transformed, product = np.fft.rfft(kernel), np.ones(len(powers))
    places: list[int] = []
    for j in range(n):
        merit = np.fft.irfft(transformed * np.conj(np.fft.rfft(product)), len(powers))
        places.append(int(np.argmin(merit)) if j else 0)
        product = product * (1 + np.roll(kernel, -places[-1]) / (1 + j) ** 2)
    return powers[places]


def _powers(size: int) -> np.ndarray:
    """g⁰, g¹, … mod a prime N for a primitive root g; the first half, as k and −k have one merit."""
    root = next(g for g in range(2, size) if all(pow(g, (size - 1) // q, size) != 1 for q in _prime_factors(size - 1)))
    powers = np.empty((size - 1) // 2, np.int64)
    powers[0] = 1
    for i in range(1, len(powers)):
        powers[i] = powers[i - 1] * root % size
    return powers


def _prime_factors(m: int) -> set[int]:
    return {q for q in range(2, m + 1) if m % q == 0 and all(q % r for r in range(2, int(q**0.5) + 1))}

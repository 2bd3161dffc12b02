"""The tangent kernel as a sum over pairs of paths: Proposition D.3 of Tensor Programs IIb, by quadrature.

A reduced program is a list of nodes: `Embed` (a G-variable U ξ), `MatMul` (a G-variable W x) and `Nonlin` (an X-variable φ(g¹, …, gᵏ)).
All weights have variance one and NTK parametrisation. A path goes from an X-variable, or an input, along MatMuls and Nonlins to the last
X-variable; two paths are alike (≅) if they pass the same matrices. With p⁰ the start and pⁱ, i even, the X-variables on the way,

    ⟨p, q⟩ = E[Z^{p⁰} Z^{q⁰}] Π_{i even} E[∂Z^{pⁱ}/∂Z^{pⁱ⁻¹} ∂Z^{qⁱ}/∂Z^{qⁱ⁻¹}],    Θ = E[Z^x Z^x̃] + Σ_{p ≅ q} ⟨p, q⟩.

There are exponentially many paths: an oracle for tiny programs, that shares nothing with the library.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np

NODES = 24  # of the quadrature, in each dimension


@dataclasses.dataclass(frozen=True, eq=False)
class Embed:
    """U ξ_k: `entry` says which part k of the input, ξ_k of shape (d,)."""

    matrix: str
    entry: int


@dataclasses.dataclass(frozen=True, eq=False)
class MatMul:
    matrix: str
    x: "Nonlin"


@dataclasses.dataclass(frozen=True, eq=False)
class Nonlin:
    """φ and its partial derivatives as functions of arrays."""

    fn: Callable
    slopes: tuple[Callable, ...]
    parts: tuple[Embed | MatMul, ...]


class Kernel:
    """Expectations at two inputs, each a list of parts (entries, d)."""

    def __init__(self, inputs):
        self.inputs = inputs

    @functools.cache  # noqa: B019  (lives as long as one test)
    def covariance(self, g, s, h, t):
        """Σ(g, g') of G-variables: σ² E[Z^x Z^x'] for the same matrix, else 0."""
        if g.matrix != h.matrix:
            return 0.0
        if isinstance(g, Embed):
            a, b = self.inputs[s][g.entry], self.inputs[t][h.entry]
            return float(a @ b) / len(a)
        return self.product(g.x, s, h.x, t)

    def product(self, x, s, y, t):
        """E[Z^x Z^y]."""
        return self.expectation(x, y, s, t, x.fn, y.fn)

    def expectation(self, x, y, s, t, f, g):
        """E[f g] of functions of the arguments of x at input s and of y at input t."""
        places = [(p, s) for p in x.parts] + [(p, t) for p in y.parts]
        matrix = np.array([[self.covariance(*a, *b) for b in places] for a in places])
        values, vectors = np.linalg.eigh(matrix)
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        kept = values > 1e-13 * values.max()
        grid = np.stack(np.meshgrid(*[nodes] * kept.sum(), indexing="ij")).reshape(kept.sum(), -1)
        weight = functools.reduce(np.multiply.outer, [weights / weights.sum()] * kept.sum()).ravel()
        z = (vectors[:, kept] * np.sqrt(values[kept])) @ grid
        count = len(x.parts)
        return float(np.sum(weight * f(*z[:count]) * g(*z[count:])))


def paths(x: Nonlin) -> Iterator[tuple]:
    """Paths that end at an X-variable, from the start: (start, [(G-variable, its place, X-variable), …])."""
    for place, g in enumerate(x.parts):
        if isinstance(g, Embed):
            yield g, ((g, place, x),)
            continue
        yield g.x, ((g, place, x),)
        for start, steps in paths(g.x):
            yield start, (*steps, (g, place, x))


def tangent(x: Nonlin, inputs) -> float:
    """Θ between two inputs, of f = v·x/√n."""
    kernel = Kernel(inputs)
    total = kernel.product(x, 0, x, 1)
    for p, q in itertools.product(paths(x), repeat=2):
        if [g.matrix for g, *_ in p[1]] == [g.matrix for g, *_ in q[1]]:
            total += inner(kernel, p, q)
    return total


def inner(kernel, p, q):
    """⟨p, q⟩."""
    (start, left), (other, right) = p, q
    value = (kernel.covariance if isinstance(start, Embed) else kernel.product)(start, 0, other, 1)
    for (_, i, x), (_, j, y) in zip(left, right, strict=True):
        value *= kernel.expectation(x, y, 0, 1, x.slopes[i], y.slopes[j])
    return value

"""Functions with known parameters: φ(u; θ) = Σ_j w_j(θ) f_j(u), the weights read off from values of φ itself."""

import math
from dataclasses import astuple, dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from widelimit.gaussian._forms import Atom, Form, Product, Ramp, Rectified
from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._probe import component_values
from widelimit.gaussian._recognise import recognise, recognise_at

_DRAWS = 6
_ATOMS = 3
_CANDIDATES = np.array([-2.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0, -0.25, 0.25, 2.5, -2.5, 3.0, -3.0])


@dataclass(frozen=True)
class Family:
    """Components with constant inner parameters, and how to find their weights.

    Attributes:
        powers: of the polynomial part, ascending.
        atoms: the other components.
        points: as many points as components.
        inverse: (components, points) matrix from values at the points to weights.
        name: what a reader calls it.
    """

    powers: tuple[int, ...]
    atoms: tuple[Atom, ...]
    points: np.ndarray
    inverse: np.ndarray
    name: str

    def at(self, phi: Pointwise, params: tuple, dtype: Any) -> Form:
        """The form for these parameters, its weights arrays of their shape."""
        values = [jnp.asarray(phi.fn(jnp.asarray(x, dtype), *params), dtype) for x in self.points.tolist()]
        weights = [_dot(row, values) for row in self.inverse.tolist()]
        polynomial = dict(zip(self.powers, weights, strict=False))
        length = max(self.powers, default=-1) + 1
        terms = tuple(zip(weights[len(self.powers) :], self.atoms, strict=True))
        return Form(tuple(polynomial.get(k, 0.0) for k in range(length)), terms, self.name)

    def __str__(self) -> str:
        powers = ["1" if k == 0 else "u" if k == 1 else f"u^{k}" for k in self.powers]
        return " + ".join(f"w{j}(θ)*{x}" for j, x in enumerate([*powers, *map(str, self.atoms)]))


def _dot(row: list[float], values: list[Array]) -> Array:
    return sum(w * x for w, x in zip(row, values, strict=True) if w)


def form(phi: Pointwise, params: tuple, dtype: Any) -> Form | None:
    """The form of u ↦ φ(u; params), `None` if it is none of those known.

    With parameters, which may be traced, the components are found from draws of parameters; the weights
    then come from the values of φ at the true ones.
    """
    if not params:
        return recognise(phi)
    kinds = tuple(np.dtype(jnp.result_type(p)).kind for p in params)
    family = phi.remember(("family", kinds), lambda: _family(phi, kinds))
    return None if family is None else family.at(phi, params, dtype)


def known_family(phi: Pointwise) -> Family | None:
    """The family found for φ at an earlier use with parameters."""
    found = [x for key, x in phi._memo.items() if isinstance(key, tuple) and key[0] == "family"]
    return next((x for x in found if x is not None), None)


def _family(phi: Pointwise, kinds: tuple[str, ...]) -> Family | None:
    """Components common to draws of the parameters of all signs and sizes."""
    forms = []
    for theta in _draws(kinds):
        found = recognise_at(phi, theta)
        if found is None:
            return None
        forms.append(found)
    powers = tuple(sorted({k for f in forms for k, w in enumerate(f.polynomial) if w}))
    atoms = _union([atom for f in forms for _, atom in f.terms])
    return None if len(atoms) > _ATOMS else _solved(powers, atoms, max((f.name for f in forms), key=len))


def _draws(kinds: tuple[str, ...]) -> list[tuple]:
    rng = np.random.default_rng(0)
    return [tuple(_draw(kind, rng, signed=draw % 2 == 1) for kind in kinds) for draw in range(_DRAWS)]


def _draw(kind: str, rng: np.random.Generator, *, signed: bool) -> np.generic:
    if kind == "b":
        return np.bool_(rng.integers(2))
    if kind in "iu":
        return np.int32(rng.integers(0 if kind == "u" else -4, 5))
    size = np.exp(rng.uniform(-1.5, 1.5))
    return -size if signed and rng.integers(2) else size


def _union(atoms: list[Atom]) -> tuple[Atom, ...]:
    """Each atom once: inner numbers equal up to rounding; steps of different values at 0 get 1/2 there."""
    kept: list[Atom] = []
    for atom in atoms:
        match = next((i for i, other in enumerate(kept) if _same(atom, other)), None)
        if match is None:
            kept.append(atom)
        elif isinstance(atom, Rectified) and atom != kept[match]:
            kept[match] = Rectified(atom.order)
    return tuple(kept)


def _same(a: Atom, b: Atom) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Rectified):
        return a.order == b.order
    if isinstance(a, Ramp):
        return a.order == b.order and math.isclose(a.threshold, b.threshold, rel_tol=1e-9)
    if isinstance(a, Product):
        return a.power == b.power and _same(a.factor, b.factor)
    return np.allclose(astuple(a), astuple(b), rtol=1e-7, atol=1e-9)


def _solved(powers: tuple[int, ...], atoms: tuple[Atom, ...], name: str) -> Family | None:
    """Picks the points one by one, each where the components left differ most."""
    columns = [_CANDIDATES**k for k in powers] + [component_values(atom, _CANDIDATES) for atom in atoms]
    if not columns:
        return None
    matrix = np.stack(columns, 1)
    count = matrix.shape[1]
    if count > len(_CANDIDATES) // 2:
        return None
    chosen, rest = [], matrix / np.abs(matrix).max(0)
    for _ in range(count):
        chosen.append(int((rest**2).sum(1).argmax()))
        direction = rest[chosen[-1]] / np.linalg.norm(rest[chosen[-1]])
        rest = rest - np.outer(rest @ direction, direction)
    inverse = np.linalg.inv(matrix[chosen])
    return Family(powers, atoms, _CANDIDATES[chosen], np.where(np.abs(inverse) < 1e-13, 0, inverse), name)

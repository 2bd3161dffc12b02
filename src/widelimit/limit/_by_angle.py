"""Gram matrices of homogeneous networks from the angles between inputs: one series in place of all layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy import ndarray

from widelimit import gaussian
from widelimit import program as tp
from widelimit.limit import _zonal
from widelimit.limit._homogeneous import Homogeneous, homogeneous
from widelimit.limit._near import squared_distances
from widelimit.limit._recursion import Instead, Recursion
from widelimit.limit._stages import staged

Pair = Callable[[Any, Any], tuple[Array, ...]]

_WORTH = 2**24  # entries times layers from which a compilation pays
# Numbers in a vector: those at all angles are held at once, and of longer ones the products take most of the time.
_LONGEST = 2**15


class ByAngle:
    """What the kernels of a network are by the angle between two inputs, where they are that."""

    def __init__(self, output: tp.Value) -> None:
        found = homogeneous(output)
        self.found = found if found is not None and 2 <= math.prod(found.source.shape) <= _LONGEST else None
        self._programs: dict[str, Any] = {}
        self._made: dict[str, Pair | None] = {}

    def serves(self, dtype: Any) -> bool:
        return self.found is not None and dtype == jnp.float32

    def is_worth(self, entries: int, dtype: Any) -> bool:
        return self.serves(dtype) and entries * self.found.layers >= _WORTH

    def pair(self, kind: str, pair: Pair) -> Pair | None:
        """The kernels that `pair` gives, as a function of two lists of leaves; `None` if they are no short series."""
        if kind not in self._made:
            self._made[kind] = _pair(self.found, self.program(kind, pair))
        return self._made[kind]

    def program(self, kind: str, pair: Pair) -> Any:
        """The program of `pair` on two vectors in float64, in place of the data."""
        if kind not in self._programs:
            source, struct = self.found.source, jax.ShapeDtypeStruct(self.found.source.shape, jnp.float64)
            with jax.enable_x64(True):
                program = jax.make_jaxpr(lambda *h: tuple(pair(*(Instead(source.known, x) for x in h))))
                self._programs[kind] = program(struct, struct)
        return self._programs[kind]


def _pair(found: Homogeneous, program: Any) -> Pair | None:
    values = _on_circle(found.source, program)
    changing = [v for v in values if v.any()]
    series = _zonal.series(changing) if changing else None
    if series is None:
        return None

    def by_angle(a: list[Array], b: list[Array]) -> tuple[Array, ...]:
        kernels = iter(_of_vectors(series, found.degree, *_vectors(found.source, (a, b))))
        return tuple(next(kernels) if v.any() else jnp.zeros((), jnp.float32) for v in values)

    return by_angle


def _on_circle(source: tp.Given, program: Any) -> list[ndarray]:
    """The kernels in float64 between a unit vector and those at all angles from it."""
    size, theta = math.prod(source.shape), _zonal.angles()
    one, others = np.zeros((2, theta.size, size))
    one[:, 0] = 1  # as many as of the others: both sides then share what is compiled
    others[:, 0], others[:, 1] = np.cos(theta), np.sin(theta)
    with jax.enable_x64(True):
        arrays = [jnp.asarray(x.reshape(-1, *source.shape)) for x in (one, others)]
        return [np.asarray(v)[0] for v in staged(program, (theta.size, theta.size))(*([x] for x in arrays))]


def _vectors(source: tp.Given, inputs: tuple[list[Array], list[Array]]) -> list[Array]:
    recursion = Recursion(inputs, {}, {}, jnp.float32, 1.0)
    return [jnp.broadcast_to(recursion.known(source.known, side), source.shape).reshape(-1) for side in (0, 1)]


def _of_vectors(series: _zonal.Series, degree: int, h: Array, hp: Array) -> tuple[Array, ...]:
    """(|h| |h'|)ᵖ κ(θ). The angle is that of unit vectors: so it has all digits for parallel and opposite h and h' of any norms."""
    (size, u), (size_p, v) = _norm_and_direction(h), _norm_and_direction(hp)
    k11, c, k22 = jnp.sum(u * u), jnp.dot(u, v), jnp.sum(v * v)
    gap = jnp.where(
        c < 0, squared_distances(u, -v, lambda: (k11, -c, k22)), squared_distances(u, v, lambda: (k11, c, k22))
    )
    scale = size**degree * size_p**degree
    return tuple(scale * kappa for kappa in series(*gaussian.quarter_tangent(k11, c, k22, gap)))


def _norm_and_direction(h: Array) -> tuple[Array, Array]:
    norm = jnp.sqrt(jnp.sum(h * h))
    return norm, h / jnp.where(norm > 0, norm, 1)

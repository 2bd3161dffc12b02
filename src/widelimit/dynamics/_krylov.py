"""The course of training from products with Θ alone: one Lanczos basis, all times.

A column v of labels has the Krylov space of v, Θv, Θ²v, … with an orthonormal basis Q and the tridiagonal T = Qᵀ Θ Q; a function R of
Θ is R(Θ) v ≈ Q R(T) e₁ |v| there, exact for polynomials R of a degree below the number of products.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.dynamics._responses import Response, Training, responses
from widelimit.dynamics._singular import rounding

_PRODUCTS = 100  # to begin with; doubled while the error is too large
_MOST = 1000  # products, or a quarter of the rows
_MEMORY = 2**27  # numbers of the bases that are held at once


class Basis(NamedTuple):
    """Q, T and |v| of several columns."""

    vectors: Float[Array, "c k n"]
    matrix: Float[Array, "c k k"]
    lengths: Float[Array, " c"]


class Krylov:
    """A function R of Θ on columns, to the relative accuracy asked for, without the eigenvalues of Θ."""

    def __init__(
        self,
        theta: Float[Array, "n n"],
        training: Training,
        labels: Float[Array, "n c"],
        *,
        eps: float,
        accuracy: float,
    ):
        self.theta, self.training, self.labels = theta, training, labels
        self.accuracy = max(accuracy, float(jnp.finfo(theta.dtype).eps) ** 0.5)
        self._of_labels = self._basis(labels, min(_PRODUCTS, len(theta)))
        self.ritz = jnp.linalg.eigvalsh(self._of_labels.matrix)
        self.largest = float(self.ritz.max())
        self.noise = rounding(self.largest, eps)

    @property
    def jitter(self) -> float:
        """Eigenvalues (plus the decay) up to this one count as zero; 0.0 where the labels have no part in any such mode."""
        return self.noise if bool(self._unresolved(self.ritz).any()) else 0.0

    @property
    def products(self) -> int:
        """How many products with Θ the labels took so far."""
        return self._of_labels.matrix.shape[-1]

    def cut(self, times: Float[Array, " t"]) -> int:
        """How many modes of the labels' basis are left out at these times."""
        return int(self._unresolved(self.ritz).sum()) if bool(self._late(times).any()) else 0

    def carry(
        self, cross: Float[Array, "m n"], values: Float[Array, "n c"], times: Float[Array, " t"], response: Response
    ) -> Float[Array, "t m c"]:
        """Θ(x, X) R_t values."""
        return cross @ self._apply(values, times, response)

    def rows(self, cross: Float[Array, "m n"], times: Float[Array, " t"], response: Response) -> Float[Array, "t m n"]:
        """Θ(x, X) R_t."""
        return self._apply(cross.T, times, response).swapaxes(1, 2)

    def shrunk(self, times: Float[Array, " t"]) -> Float[Array, " t"]:
        """b_t."""
        return responses(self.training, jnp.ones(1, self.theta.dtype), times).shrunk

    def _apply(
        self, values: Float[Array, "n c"], times: Float[Array, " t"], response: Response
    ) -> Float[Array, "t n c"]:
        """R_t(Θ) values, some columns at a time."""
        at_once = max(1, _MEMORY // (len(values) * min(_PRODUCTS, len(values))))
        cuts = [] if values is self.labels else list(range(at_once, values.shape[1], at_once))
        parts = jnp.split(values, cuts, axis=1) if cuts else [values]
        return jnp.concatenate([self._columns(part, times, response) for part in parts], axis=2)

    def _columns(
        self, values: Float[Array, "n c"], times: Float[Array, " t"], response: Response
    ) -> Float[Array, "t n c"]:
        """With as many products as the accuracy takes."""
        basis = self._of_labels if values is self.labels else self._basis(values, min(_PRODUCTS, len(values)))
        while True:
            inside, error = self._inside(basis, times, response)
            products = basis.matrix.shape[-1]
            if error <= self.accuracy or products == len(values):
                return jnp.einsum("ckn,ctk->tnc", basis.vectors, inside)
            self._check_products(products, error)
            basis = self._basis(values, min(2 * products, len(values)))
            if values is self.labels:
                self._of_labels = basis

    def _inside(
        self, basis: Basis, times: Float[Array, " t"], response: Response
    ) -> tuple[Float[Array, "c t k"], float]:
        """R_t(T) e₁ |v|, and its error relative to the values: what the last tenth of the products changed.

        The error is that of Θ(x, X) R v at any x, by the inequality of Cauchy and Schwarz in the norm of the kernel.
        """
        full = self._first_column(basis.matrix, times, response)
        products = basis.matrix.shape[-1]
        less = products - max(products // 10, 1)
        change = full.at[..., :less].add(-self._first_column(basis.matrix[:, :less, :less], times, response))
        squares = jnp.einsum("cti,cij,ctj->ct", change, basis.matrix, change)
        bound = jnp.sqrt(jnp.maximum(squares, 0).max() * jnp.diagonal(self.theta).max() * len(self.theta))
        return full * basis.lengths[:, None, None], float(bound)

    def _first_column(
        self, matrix: Float[Array, "c k k"], times: Float[Array, " t"], response: Response
    ) -> Float[Array, "c t k"]:
        ritz, modes = jnp.linalg.eigh(matrix)
        answers = jax.vmap(lambda r: responses(self.training, jnp.maximum(r, 0), times))(ritz)
        gains = answers.to(response, self.training.degree)
        left_out = self._unresolved(ritz)[:, None, :] & self._late(times)[None, :, None]
        return jnp.einsum("cij,ctj,cj->cti", modes, jnp.where(left_out, 0, gains), modes[:, 0])

    def _unresolved(self, ritz: Float[Array, "c k"]) -> Array:
        return ritz + self.training.shrink <= self.noise

    def _late(self, times: Float[Array, " t"]) -> Array:
        return times * self.training.pace * self.noise >= 1

    def _basis(self, values: Float[Array, "n c"], products: int) -> Basis:
        lengths = jnp.linalg.norm(values, axis=0)
        directions = jnp.where(lengths > 0, values, 1).T
        return Basis(*_lanczos(self.theta, directions, products), lengths)

    def _check_products(self, products: int, error: float) -> None:
        if products >= max(_MOST, len(self.theta) // 4):
            raise ValueError(
                f"`wl.train(..., method='lanczos')`: {products} products give the relative error {error:.1g}, above `accuracy="
                f"{self.accuracy:.1g}`; pass a `ridge=`, ask for earlier times, or `method='eigh'`"
            )


@partial(jax.jit, static_argnums=2)
def _lanczos(theta: Float[Array, "n n"], directions: Float[Array, "c n"], products: int) -> tuple[Array, Array]:
    """Q and T of every direction. Where the Krylov space is exhausted, T is cut: what follows is not a number there."""
    basis, matrix, *_ = jax.vmap(_tridiagonal()(products), in_axes=(None, 0))(lambda v: theta @ v, directions)
    good = jnp.cumprod(jnp.isfinite(basis).all(2) & jnp.isfinite(jnp.diagonal(matrix, axis1=1, axis2=2)), axis=1) > 0
    inside = good[:, :, None] & good[:, None, :]
    return jnp.where(good[:, :, None], basis, 0), jnp.where(inside, matrix, jnp.eye(products, dtype=theta.dtype))


def _tridiagonal() -> Any:
    try:
        from matfree import decomp
    except ImportError as error:
        raise ImportError(
            "`wl.train(..., method='lanczos')` needs matfree: pip install 'widelimit[dynamics]'"
        ) from error
    return partial(decomp.tridiag_sym, custom_vjp=False)

"""The eigenmodes of a kernel on data, and the course of least squares along them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, PyTree, Shaped

from widelimit.limit import Kernel
from widelimit.spectrum._choice import Choice, choose
from widelimit.spectrum._learning import LearningCurve, learning_curve
from widelimit.spectrum._smoother import Smoother

_CALL = "wl.spectrum.modes(kernel, x, y)"


@dataclasses.dataclass(frozen=True)
class Modes:
    """K = Σ_i λ_i u_i u_iᵀ on N examples, and y in this basis; modes from the largest λ_i down.

    Normalisation: λ_i are eigenvalues of the Gram matrix K, thus the rates of gradient flow on ½ Σ_n |f(x_n) - y_n|² (the
    convention of `wl.train`): along u_i, f_t - y decays as e^{-λ_i t}. Of the kernel operator (1/N) K on the empirical
    measure, as in Jacot et al. 2018, section 5, they are `.operator_values` = λ_i / N: the rates for the mean ½ N⁻¹ Σ_n |f(x_n) - y_n|².

    Attributes:
        values: (N,) λ_i, rounding errors below 0 set to 0.
        vectors: (N, N) with u_i in column i.
        coefficients: (N, outputs) u_iᵀ y.
    """

    values: Float[Array, " n"]
    vectors: Float[Array, "n n"]
    coefficients: Float[Array, "n o"]

    @property
    def operator_values(self) -> Float[Array, " n"]:
        """λ_i / N, the eigenvalues of (Tf)(x) = N⁻¹ Σ_n K(x, x_n) f(x_n)."""
        return self.values / len(self.values)

    @property
    def share(self) -> Float[Array, "n o"]:
        """(u_iᵀ y)² / |y|² of every output: how much of the target lies in each mode; columns add up to 1."""
        square = self.coefficients**2
        return square / jnp.maximum(jnp.sum(square, 0), jnp.finfo(square.dtype).tiny)

    @property
    def half_lives(self) -> Float[Array, " n"]:
        """log 2 / λ_i, the time in which the error along a mode halves (inf where λ_i = 0)."""
        return jnp.log(2.0) / self.values

    # --- the course of training ---------------------------------------------------------------------------------------

    def loss_by_mode(self, t: Any, *, step: float | None = None) -> Float[Array, "*t n"]:
        """½ |u_iᵀ (f_t - y)|² for f_0 = 0, the mean of the ensemble, all outputs together: ½ e^{-2 λ_i t} |u_iᵀ y|².

        `t` is the time of gradient flow, a number or an array; with `step` = η the number of steps of gradient descent, which
        multiplies the error by (1 - η λ_i) each.
        """
        t = jnp.asarray(t, self.values.dtype)[..., None]
        left = jnp.exp(-self.values * t) if step is None else jnp.abs(1 - step * self.values) ** t
        left = jnp.where(self.values > 0, left, 1.0)  # at t = inf a mode without rate stays
        return 0.5 * left**2 * jnp.sum(self.coefficients**2, 1)

    def loss(self, t: Any, *, step: float | None = None) -> Float[Array, "*t"]:
        """½ Σ_n |f_t(x_n) - y_n|² of the mean at times t: the sum of `loss_by_mode`."""
        return jnp.sum(self.loss_by_mode(t, step=step), -1)

    @property
    def largest_step(self) -> Float[Array, ""]:
        """2 / λ_1: gradient descent converges for steps below it."""
        return 2 / self.values[0]

    # --- capacity and fit ---------------------------------------------------------------------------------------------

    def effective_dimension(self, *, ridge: Any = 0.0, time: Any = jnp.inf) -> Float[Array, ""]:
        """tr H, the trace of the hat matrix: Σ λ_i/(λ_i + ridge) (1 - e^{-(λ_i + ridge) t})."""
        return self.smoother(ridge=ridge, time=time).degrees

    def alignment(self, *, centred: bool = False) -> Float[Array, ""]:
        """Kernel-target alignment ⟨K, y yᵀ⟩ / (‖K‖ ‖y yᵀ‖) in Frobenius' product (Cristianini et al. 2001); in [0, 1].

        `centred`: with H K H and H y for K and y, H = I - 11ᵀ/N (Cortes, Mohri & Rostamizadeh 2012): a constant part of the kernel and of
        the target does not count.
        """
        factor = self.vectors * jnp.sqrt(self.values)
        target = self.vectors @ self.coefficients
        if centred:
            factor, target = factor - jnp.mean(factor, 0), target - jnp.mean(target, 0)
        across, inside, outer = factor.T @ target, factor.T @ factor, target.T @ target
        return jnp.sum(across**2) / (jnp.linalg.norm(inside) * jnp.linalg.norm(outer))

    def smoother(self, *, ridge: Any = 0.0, time: Any = jnp.inf) -> Smoother:
        """The linear smoother ŷ = H y of ridge regression stopped at a time of gradient flow from 0.

        H = Σ_i u_i u_iᵀ λ_i/(λ_i + ridge) (1 - e^{-(λ_i + ridge) t}): flow on ½ Σ |f - y|² + ½ ridge ‖f‖²_K.
        """
        ridge, time = (jnp.asarray(a, self.values.dtype) for a in (ridge, time))
        return Smoother(self.values, self.vectors, self.coefficients, ridge, time)

    def choose_ridge(self, criterion: Literal["loo", "gcv"] = "loo", *, candidates: Any = None) -> Choice:
        """The ridge with the smallest leave-one-out error or generalised cross-validation score (training to the end).

        Over a logarithmic grid (or `candidates`), then refined around its best point.
        """
        positive = self._positive()
        grid = np.geomspace(1e-3 * positive[-1], 10 * positive[0], 60) if candidates is None else np.asarray(candidates)
        return choose(lambda ridge: self.smoother(ridge=ridge).score(criterion), grid, refine=candidates is None)

    def choose_time(
        self, criterion: Literal["loo", "gcv"] = "loo", *, ridge: float = 0.0, candidates: Any = None
    ) -> Choice:
        """The time at which to stop gradient flow, by leave-one-out error or generalised cross-validation.

        Over a logarithmic grid from 0.1/λ_1 to 10/λ_min (or `candidates`), then refined around its best point.
        """
        positive = self._positive()
        grid = np.geomspace(0.1 / positive[0], 10 / positive[-1], 60) if candidates is None else np.asarray(candidates)
        return choose(lambda t: self.smoother(ridge=ridge, time=t).score(criterion), grid, refine=candidates is None)

    def _positive(self) -> np.ndarray:
        values = np.asarray(self.values, np.float64)
        return values[values > len(values) * float(jnp.finfo(self.values.dtype).eps) * values[0]]

    def learning_curve(self, counts: Any, *, ridge: Any = 0.0, noise: Any = 0.0) -> LearningCurve:
        """The mean test error after n examples, with this data set taken as the whole population.

        `wl.spectrum.learning_curve` with the eigenvalues λ_i / N of the operator and the coefficients u_iᵀ y / √N; sound for n well
        below N. For several outputs the sum.
        """
        root = len(self.values) ** 0.5
        weights = jnp.sum((self.coefficients / root) ** 2, 1)
        return learning_curve(self.operator_values, weights, counts, ridge=ridge, noise=noise)


def modes(
    kernel: Any,
    x: PyTree = None,
    y: Shaped[Any, "n ..."] | None = None,
    *,
    kind: Literal["nngp", "ntk"] = "ntk",
) -> Modes:
    """Eigenmodes of a kernel on data, by a full eigendecomposition (N³).

    Args:
        kernel: From `wl.limit`; or the Gram matrix (N, N) itself, `x` then being left out: `modes(gram, y=y)`.
        x: N inputs.
        y: Targets (N,) or (N, outputs); zeros if left out.
        kind: Which kernel of a `wl.Kernel`.

    Returns:
        `Modes`: `.values`, `.vectors`, `.share`, `.loss(t)`, `.effective_dimension(...)`, `.alignment()`, `.smoother(...)`,
        `.choose_ridge()`, `.choose_time()`, `.learning_curve(...)`.

    Raises:
        ValueError: Where shapes do not fit, or the matrix is not symmetric positive semi-definite up to rounding.
    """
    gram = _gram(kernel, x, kind)
    targets = jnp.zeros((len(gram), 1), gram.dtype) if y is None else jnp.asarray(y).astype(gram.dtype)
    if targets.ndim == 0 or len(targets) != len(gram):
        raise ValueError(f"`{_CALL}`: y has shape {targets.shape}; expected {len(gram)} rows, one an example")
    values, vectors = _decompose(gram)
    _check_definite(gram, values)
    targets = targets.reshape(len(gram), -1)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    return Modes(jnp.maximum(values, 0), vectors, product(vectors.T, targets))


def _gram(kernel: Any, x: PyTree, kind: str) -> Array:
    if isinstance(kernel, Kernel):
        if kind not in ("nngp", "ntk"):
            raise ValueError(f'`{_CALL}`: got kind={kind!r}; expected "nngp" or "ntk"')
        if x is None:
            raise ValueError(f"`{_CALL}`: the inputs are missing; only a Gram matrix goes without")
        gram = getattr(kernel, kind)(x)
    else:
        if x is not None:
            raise ValueError(f"`{_CALL}`: a Gram matrix goes without inputs: `wl.spectrum.modes(gram, y=y)`")
        gram = jnp.asarray(kernel)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ValueError(
            f"`{_CALL}`: the Gram matrix has shape {gram.shape}; expected (N, N). A kernel with finite output axes is a matrix over "
            "them too: bring them next to the examples and reshape to (N·axes, N·axes), y likewise"
        )
    return gram if jnp.issubdtype(gram.dtype, jnp.floating) else gram.astype(jnp.result_type(float))


def _decompose(gram: Array) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(gram)
    return values[::-1], vectors[:, ::-1]


def _check_definite(gram: Array, values: Array) -> None:
    scale, count = jnp.max(jnp.abs(gram)), len(gram)
    slack = float(64 * count * jnp.finfo(gram.dtype).eps * scale)
    if not bool(jnp.all(jnp.isfinite(values))):
        raise ValueError(f"`{_CALL}`: the Gram matrix holds NaN or infinite entries")
    if (gap := float(jnp.max(jnp.abs(gram - gram.T)))) > slack:
        raise ValueError(f"`{_CALL}`: the matrix is not symmetric: it differs from its transpose by {gap:.3g}")
    if float(values[-1]) < -slack:
        raise ValueError(
            f"`{_CALL}`: the matrix is not positive semi-definite: its smallest eigenvalue is {float(values[-1]):.3g} (the largest "
            f"{float(values[0]):.3g})"
        )


def alignment(gram: Float[Any, "n n"], y: Shaped[Any, "n ..."], *, centred: bool = False) -> Float[Array, ""]:
    """Kernel-target alignment of a Gram matrix with targets, without its eigenvectors: see `Modes.alignment`."""
    gram, target = jnp.asarray(gram), jnp.asarray(y).reshape(len(gram), -1)
    target = target.astype(gram.dtype)
    if centred:
        gram = gram - jnp.mean(gram, 0) - jnp.mean(gram, 1)[:, None] + jnp.mean(gram)
        target = target - jnp.mean(target, 0)
    inner = jnp.sum(target * (gram @ target))
    return inner / (jnp.linalg.norm(gram) * jnp.linalg.norm(target.T @ target))

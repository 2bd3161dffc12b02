"""The fit of any differentiable loss: trajectories in function space, one an initial function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from widelimit.dynamics import _check
from widelimit.dynamics._descent import descend
from widelimit.dynamics._flow import integrate
from widelimit.dynamics._grams import Grams
from widelimit.dynamics._layout import Layout
from widelimit.dynamics._losses import cross_entropy
from widelimit.dynamics._optimizers import SGD, GradientFlow
from widelimit.dynamics._prediction import Prediction
from widelimit.dynamics._prior import Prior, given
from widelimit.dynamics._responses import Training
from widelimit.dynamics._times import times as parsed


@dataclasses.dataclass(frozen=True, eq=False)
class GeneralFit:
    """Infinite networks trained with any loss. Call it with test points and times.

    `fit(x_test, t=jnp.inf)` is a `Prediction`; `t` is a time or a vector of times: times of gradient flow, or numbers of steps.
    """

    grams: Grams
    layout: Layout
    labels: Array
    training: Training
    loss: Callable[[Array, Array], Array]
    prior: Prior
    initial: Callable[[PyTree], Array] | None
    ensemble: Ensemble
    dtype: Any

    jitter = 0.0  # nothing is divided by

    def __call__(self, x_test: PyTree, t: Any = jnp.inf) -> Prediction:
        """The law of the trained networks' outputs on `x_test` at `t`."""
        times, many = parsed(t, self.training.optimizer)
        self._check_end(times)
        paths = self._paths(x_test, times, self.ensemble)
        return Prediction(
            mean=self._shaped(paths.mean(0), many),
            jitter=0.0,
            _covariance=lambda: self._covariance(paths, many),
            _sample=lambda key, n: self._shaped(self._paths(x_test, times, Ensemble(n, key)), many),
        )

    def _paths(self, x: PyTree, times: Float[np.ndarray, " t"], ensemble: Ensemble) -> Float[Array, "s t m c"]:
        """f_t(x) = f₀(x) + b_t h(x) + Θ(x, X) a_t of every initial function."""
        train, test = self._starts(x, ensemble)
        follow = integrate if isinstance(self.training.optimizer, GradientFlow) else self._descend
        slope = Gradient(self.loss, self.layout.outputs)
        a, shrunk = follow(self.training, self.grams.theta, train, self.labels, slope, times=times)
        paths = test[0] + shrunk[:, None, None, None] * test[1] + self.grams.cross(x)[1] @ a
        _check.finite(paths, self.training.optimizer, float(jnp.linalg.eigvalsh(self.grams.theta)[-1]))
        return jnp.moveaxis(paths, 0, 1)

    def _descend(self, *problem: Any, times: Float[np.ndarray, " t"]) -> tuple[Array, Array]:
        return descend(*problem, times=times, size=self.layout.size)

    def _starts(self, x: PyTree, ensemble: Ensemble) -> list[tuple[Float[Array, "s n c"], Float[Array, "s n c"]]]:
        """f₀ and h on training points, and on test points; h = k f₀ where it is not drawn."""
        degree = self.training.degree or 0.0
        return [(f[0], f[1] if len(f) > 1 else degree * f[0]) for f in self._functions(x, ensemble)]

    def _functions(self, x: PyTree, ensemble: Ensemble) -> Sequence[Float[Array, "r s n c"]]:
        if self.initial is not None:
            sides = (self.grams.x, "x"), (x, "x_test")
            return [given(self.initial, side, self.layout, name)[None, None] for side, name in sides]
        columns = self.layout.outputs[0] if self.layout.outputs else 1
        if not ensemble.samples:
            rows = len(self.grams.theta), len(self.grams.cross(x)[1])
            return [jnp.zeros((1, 1, n, columns), self.grams.theta.dtype) for n in rows]
        drawn = self.prior.draw(ensemble.key, ensemble.samples * columns, x)
        return [jnp.moveaxis(f.reshape(*f.shape[:2], ensemble.samples, columns), 2, 1) for f in drawn]

    def _shaped(self, columns: Float[Array, "*lead t m c"], many: bool) -> Array:
        """Values with the axes of `y`, in the dtype of the inputs."""
        chosen = columns if many else columns[..., 0, :, :]
        return self.layout.values(chosen).astype(self.dtype)

    def _covariance(self, paths: Float[Array, "s t m c"], many: bool) -> Array:
        """The covariance over the ensemble."""
        rows = jnp.moveaxis(paths, 1, 0).reshape(paths.shape[1], len(paths), -1)
        if self.initial is not None:
            full = jnp.zeros((len(rows), rows.shape[-1], rows.shape[-1]), rows.dtype)
        elif len(paths) < 2:
            raise ValueError(
                "`fit(x).covariance`: with this loss the spread is that of an ensemble of initial functions: "
                "`wl.train(..., samples=100, key=jax.random.key(0))`"
            )
        else:
            centred = rows - rows.mean(1, keepdims=True)
            full = jnp.einsum("tsi,tsj->tij", centred, centred) / (len(paths) - 1)
        joint = Layout((*self.layout.axes, *self.layout.outputs), ()).kernel(full)
        return (joint if many else joint[0]).astype(self.dtype)

    def _check_end(self, times: Float[np.ndarray, " t"]) -> None:
        if not np.isinf(times).any() or isinstance(self.training.optimizer, SGD):
            return
        if not isinstance(self.training.optimizer, GradientFlow):
            raise ValueError(
                "`fit(x_test, t=inf)`: with this loss steps have no closed form; expected a number of steps (or `wl.GradientFlow()`)"
            )
        if self.loss is cross_entropy and not self.training.shrink:
            raise ValueError(
                "`fit(x_test, t=inf)`: the cross-entropy has no minimum, the outputs grow without end; pass a time, or `ridge=`"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble:
    """How many initial functions, and the key that draws them; 0 is f₀ = 0."""

    samples: int
    key: PRNGKeyArray | None


@dataclasses.dataclass(frozen=True)
class Gradient:
    """∂L/∂f of rows (samples, rows, C), each a function of its own label."""

    loss: Callable[[Array, Array], Array]
    outputs: tuple[int, ...]

    def __call__(self, f: Float[Array, "s rows c"], labels: Array) -> Float[Array, "s rows c"]:
        """One gradient a row."""
        return jax.vmap(jax.vmap(jax.grad(self._one)), in_axes=(0, None))(f, labels)

    def _one(self, f: Float[Array, " c"], label: Array) -> Float[Array, ""]:
        return self.loss(f.reshape(self.outputs), label)

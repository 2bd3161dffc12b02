"""Training of the infinite network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from widelimit.dynamics import _check
from widelimit.dynamics._general import Ensemble, GeneralFit
from widelimit.dynamics._grams import Grams
from widelimit.dynamics._krylov import Krylov
from widelimit.dynamics._losses import squared_error
from widelimit.dynamics._minibatches import Minibatches
from widelimit.dynamics._modes import Modes
from widelimit.dynamics._optimizers import SGD, GradientFlow
from widelimit.dynamics._prior import Prior, RadialPrior
from widelimit.dynamics._responses import Training
from widelimit.dynamics._squared import SquaredFit, largest_stable_step

Loss = Callable[[Array, Array], Array]
_LARGE = 4096  # rows of Θ from which "auto" takes Lanczos
_FLOW = GradientFlow()


def train(
    kernel: Callable[..., Any],
    x: PyTree,
    y: Any,
    *,
    optimizer: Any = _FLOW,
    loss: Loss = squared_error,
    ridge: float | int = 0.0,
    weight_decay: float | int = 0.0,
    degree: float | int | None = None,
    radial: Any = None,
    regime: str = "ntk",
    initial: Any = None,
    outputs: int | None = None,
    samples: int = 0,
    key: PRNGKeyArray | None = None,
    method: str = "auto",
    accuracy: float = 1e-6,
) -> SquaredFit | GeneralFit:
    """The whole course of training of the infinite network: `fit = wl.train(kernel, x, y)`, then `fit(x_test, t)`.

    A network of infinite width is linear in its weights as it trains, f(x; θ) = f₀(x) + J(x)(θ − θ₀) (Jacot et al. 2018; Lee
    et al. 2019; for every architecture and stochastic gradient descent Yang & Littwin 2021). With the loss L(f) = Σ_i loss(f(x_i),
    y_i), Λ the kernel's learning rates, Θ = J Λ Jᵀ the tangent kernel, ρ the `ridge` and μ the `weight_decay`, the weights follow

        dθ/dt = −Λ Jᵀ ∂L/∂f − ρ (θ − θ₀) − μ θ

    under `wl.GradientFlow`, and the same gradient in steps under the other optimizers. ρ is the gradient of the penalty
    ½ρ ‖θ − θ₀‖², and μ of ½μ ‖θ‖², in the norm θᵀ Λ⁻¹ θ: that of weights with unit variance in NTK parametrisation. In function space, with
    κ = ρ + μ and h(x) = J(x) θ₀,

        f_t = f₀ + b h + Θ(·, X) a,    da/dt = −∂L/∂f_t(X) − κ a,    db/dt = −κ b − μ,    a₀ = 0, b₀ = 0.

    Least squares is solved in closed form, mode by mode of Θ: f_t = c f₀ + Θ(·, X) [R^y_t(Θ) y − R^f_t(Θ) f₀(X)], where for gradient
    flow R^y = R^f = (1 − e^{−t(λ+ρ)})/(λ + ρ) and c = 1 as long as μ = 0. f₀ is Gaussian of covariance K (the NNGP), so f_t is Gaussian as
    well, of mean Θ(·, X) R^y y and covariance c² K − c A K(X, ·) − c K(·, X) Aᵀ + A K(X, X) Aᵀ, A = Θ(·, X) R^f.

    The ridge at t = ∞ is kernel ridge regression, Θ(·, X)(Θ + ρ)⁻¹ y.

    Decay toward zero is exact for the linearised network, and for the network itself where only its readout is trained.
    Otherwise decay moves its weights by a share of order μt of themselves, which leaves the tangent kernel's regime unless μt is
    small. It takes from f₀ what h says. Where the network is homogeneous in the trained weights, of a `degree` k, Euler's
    theorem gives h = k f₀ and all follows: c = 1 + k b, R^f = R^y + k R^h. In general h is a Gaussian process of its own, of mean
    zero, whose law with f₀ is `wl.radial(kernel, net)`. Without either the mean is still right, and covariance and samples are refused.

    Other losses are followed as trajectories, one an initial function: exactly, step by step, with discrete optimizers; by
    diffrax with gradient flow.

    Args:
        kernel: A `wl.Kernel`; or any function `kernel(x1, x2)` that returns (K, Θ), each (N1, N2) or with the output's finite axes
            `(N1, N2, *axes, *axes)`.
        x: N training inputs, as the kernel takes them.
        y: The labels: `(N, *axes)`, or `(N, *axes, outputs)`. Of `wl.cross_entropy`: classes, integers `(N, *axes)`, or probabilities
            `(N, *axes, outputs)`.
        optimizer: `wl.GradientFlow()`, `wl.GradientDescent(lr)`, `wl.Momentum(lr, beta)` or `wl.SGD(lr, batches)`.
        loss: `wl.squared_error`, `wl.cross_entropy`, `wl.huber(delta)`, `wl.quantile(q)`, or any differentiable function of one
            example's outputs f and its label that returns a number. They are summed over examples.
        ridge: ρ >= 0, the pull of the weights toward their initial values.
        weight_decay: μ >= 0, the pull of the weights toward zero.
        degree: k with J θ₀ = k f₀: the number of layers of a ReLU network without biases or normalisation. None: not known; in
            the regime "last" it is 1.
        radial: `wl.radial(kernel, net)`, the joint law of f₀ and J θ₀, for a network without a degree.
        regime: "ntk": all parameters are trained, at the kernel's learning rates. "last": only the readout is; Θ is then K.
        initial: f₀ as a function of inputs that returns `(N, *axes, *outputs)`, for instance one finite network at its start,
            instead of the Gaussian process. The result is then certain: its covariance is zero.
        outputs: The number C of outputs where `y` does not tell (classes that do not occur in it; losses of one's own).
        samples: With other losses than the squared: how many initial functions are drawn (with `key`). 0: one, f₀ = 0.
        key: The key of these draws. The same key draws the same functions whatever the test points.
        method: Least squares by "eigh", all eigenmodes of Θ, or "lanczos", some hundred products with Θ (needs matfree);
            "auto" takes the first up to 4096 rows.
        accuracy: The relative error asked of "lanczos".

    Returns:
        A fit: `fit(x_test, t=jnp.inf)` is a `Prediction` with `.mean`, `.covariance` and `.sample(key, n)`; `t` is a time (a number of
        steps), or a vector of them at once. `fit.jitter` tells which eigenvalues counted as zero, `fit.largest_stable_step` where
        steps stop to converge.

    Raises:
        ValueError: Where shapes, labels, rates or times make no sense, where Θ is not positive semi-definite beyond
            rounding, and where a learning rate is at or above the largest stable one (which the message tells).

    Warns:
        JitterWarning: When the fit is called at a time so late that eigenvalues matter which rounding cannot tell from zero.
    """
    training = _training(optimizer, ridge, weight_decay, 1 if regime == "last" and degree is None else degree)
    _check.radial(radial, training)
    _check.options(regime=regime, method=method, initial=initial, accuracy=accuracy)
    grams = Grams(kernel, x, regime)
    _check.batches(optimizer, grams.examples)
    _check.trains(grams.theta)
    y = _check.labels(y, grams.examples, grams.axes)
    prior = Prior(grams) if radial is None else RadialPrior(grams, radial)
    if loss is squared_error:
        _check.no_ensemble(samples, key, outputs)
        return _squared(prior, y, training, initial, method=method, accuracy=accuracy)
    layout, labels = _check.classes(loss, y, grams.axes, outputs)
    _check.loss(loss, layout, labels, optimizer)
    _check.ensemble(samples, key, initial, training, prior)
    dtype = jnp.result_type(grams.dtype, _check.float_of(y))
    return GeneralFit(grams, layout, labels, training, loss, prior, initial, Ensemble(samples, key), dtype)


def _training(optimizer: Any, ridge: Any, decay: Any, degree: Any) -> Training:
    _check.optimizer(optimizer)
    known = None if degree is None else _check.number("degree", degree)
    return Training(optimizer, _check.number("ridge", ridge), _check.number("weight_decay", decay), known)


def _squared(
    prior: Prior, y: Array, training: Training, initial: Callable | None, *, method: str, accuracy: float
) -> SquaredFit:
    grams = prior.grams
    layout, columns = _check.targets(y, grams.axes)
    solver = _solver(grams, training, columns, (layout.size, method, accuracy))
    if not isinstance(training.optimizer, GradientFlow | SGD):
        _check.stable(training.optimizer, largest_stable_step(training, solver.largest))
    dtype = jnp.result_type(grams.dtype, _check.float_of(y))
    return SquaredFit(grams, layout, columns, training, solver, prior, initial, dtype)


def _solver(grams: Grams, training: Training, columns: Array, how: tuple[int, str, float]) -> Any:
    size, method, accuracy = how
    if isinstance(training.optimizer, SGD):
        return Minibatches(grams.theta, training, size)
    large = method == "auto" and len(grams.theta) > _LARGE and _has_matfree()
    if method == "lanczos" or large:
        return Krylov(grams.theta, training, columns, eps=grams.eps, accuracy=accuracy)
    return Modes(grams.theta, training, grams.eps)


def _has_matfree() -> bool:
    from importlib.util import find_spec

    return find_spec("matfree") is not None

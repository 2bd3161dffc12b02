"""Variances of the parameters and of the noise that make the data most likely."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PyTree, Shaped

from widelimit.evidence._evidence import Kind, check_targets, checked, compiled
from widelimit.evidence._rescale import check_paths, random_paths, rescaled
from widelimit.limit import Kernel

Theta = tuple[Array, dict[str, Array]]  # log σ², log of each group's factor
_WIDEST = 14.0  # how far a logarithm may move: a factor of a million either way


@dataclasses.dataclass(frozen=True)
class EvidenceFit:
    """What `wl.fit_evidence` found.

    Attributes:
        kernel: The limit with the fitted variances: a `wl.Kernel` for predictions, training and all else.
        variances: Parameter path to the factor of its variance.
        noise: The fitted variance of the noise.
        log_evidence: log p(y | X) there, in nats.
        start: log p(y | X) where the search began.
        gradient: Largest |∂ log p / ∂ log θ| over the fitted hyperparameters at the end: near 0 at a maximum.
        history: log p at each evaluation of the search, in order.
    """

    kernel: Kernel
    variances: dict[str, float]
    noise: float
    log_evidence: float
    start: float
    gradient: float
    history: tuple[float, ...]

    def __str__(self) -> str:
        rows = [f"log p(y | X) = {self.log_evidence:.6g} (from {self.start:.6g}; largest slope {self.gradient:.1e})"]
        rows += [f"noise variance {self.noise:.4g}"]
        return "\n".join([*rows, *(f"{p}: variance × {m:.4g}" for p, m in self.variances.items())])


def fit_evidence(
    kernel: Kernel,
    x: PyTree,
    y: Shaped[Any, "n ..."],
    *,
    noise: float = 0.1,
    fit_noise: bool = True,
    tie: Callable[[str], str] | None = None,
    frozen: tuple[str, ...] = (),
    kind: Kind = "nngp",
    fixed_rates: bool = False,
    optimizer: Any = None,
    steps: int = 100,
) -> EvidenceFit:
    """Maximise log p(y | X) over the variance of every parameter (each layer its own) and of the noise.

    The search runs over logarithms, from the network as written. What the data do not determine (for a positively
    homogeneous network, how a product of variances is shared among the layers) stays where the search left it.

    Args:
        kernel: From `wl.limit`.
        x: N inputs.
        y: Targets (N,) or (N, outputs).
        noise: Variance of the noise to start from.
        fit_noise: Fit it too; otherwise it stays.
        tie: From the path of a parameter to the name of its group; parameters of a group share one factor. Each is its own
            group by default.
        frozen: Paths whose variance stays.
        kind: "nngp" or "ntk", as in `wl.evidence`.
        fixed_rates: As in `wl.evidence`.
        optimizer: An optax optimiser (needs the extra `evidence`), minimising -log p; by default scipy's L-BFGS-B.
        steps: Most steps.

    Returns:
        An `EvidenceFit`.

    Raises:
        ValueError: Where paths or shapes do not fit, or the evidence is not finite at the start or at the end.
    """
    targets = check_targets(kernel, x, y, kind)
    check_paths(kernel, dict.fromkeys(frozen), "wl.fit_evidence(..., frozen)")
    groups = {p: (tie or str)(p) for p in random_paths(kernel) if p not in frozen}
    value = compiled(kernel, kind, fixed_rates)

    def loss(theta: Theta) -> Array:
        log_noise, logs = theta
        return -value(x, targets, jnp.exp(log_noise if fit_noise else start[0]), _factors(groups, logs))

    dtype = jnp.result_type(float)
    start = (jnp.log(jnp.asarray(noise, dtype)), {g: jnp.zeros((), dtype) for g in groups.values()})
    first = -float(checked(loss(start), noise))
    theta, history = _quasi_newton(loss, start, steps) if optimizer is None else _descend(loss, start, optimizer, steps)
    end, slope = jax.value_and_grad(loss)(theta)
    checked(end, float(jnp.exp(theta[0])))
    factors = {p: float(m) for p, m in _factors(groups, theta[1]).items()}
    steepest = max((abs(float(s)) for s in jax.tree_util.tree_leaves(slope)), default=0.0)
    fitted = rescaled(kernel, factors, fixed_rates=fixed_rates)
    return EvidenceFit(fitted, factors, float(jnp.exp(theta[0])), -float(end), first, steepest, history)


def _factors(groups: dict[str, str], logs: dict[str, Array]) -> dict[str, Array]:
    return {p: jnp.exp(logs[g]) for p, g in groups.items()}


def _quasi_newton(loss: Callable[[Theta], Array], start: Theta, steps: int) -> tuple[Theta, tuple[float, ...]]:
    """L-BFGS-B of scipy over the logarithms, within _WIDEST of where they start; the function is compiled once."""
    import numpy as np
    from jax.flatten_util import ravel_pytree
    from scipy.optimize import minimize

    flat, unravel = ravel_pytree(start)
    both, history = jax.jit(jax.value_and_grad(lambda v: loss(unravel(v)))), []

    def evaluate(v: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = both(jnp.asarray(v, flat.dtype))
        if not (jnp.isfinite(value) and jnp.all(jnp.isfinite(slope))):
            return float("inf"), np.zeros_like(v)  # a step too far: the line search shortens it
        history.append(-float(value))
        return float(value), np.asarray(slope, np.float64)

    first = np.asarray(flat, np.float64)
    bounds = [(a - _WIDEST, a + _WIDEST) for a in first]
    found = minimize(evaluate, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
    return unravel(jnp.asarray(found.x, flat.dtype)), tuple(history)


def _descend(
    loss: Callable[[Theta], Array], start: Theta, optimizer: Any, steps: int
) -> tuple[Theta, tuple[float, ...]]:
    """Steps of an optax optimiser; those that search a line (`optax.lbfgs`) are given the function."""
    try:
        import optax
    except ImportError as error:
        raise ImportError(
            '`wl.fit_evidence(..., optimizer)` needs optax: `pip install "widelimit[evidence]"`'
        ) from error
    optimizer = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(theta: Theta, state: Any) -> tuple[Theta, Any, Float[Array, ""]]:
        value, grad = jax.value_and_grad(loss)(theta)
        updates, state = optimizer.update(grad, state, theta, value=value, grad=grad, value_fn=loss)
        return optax.apply_updates(theta, updates), state, value

    theta, state, history = start, optimizer.init(start), []
    for _ in range(steps):
        theta, state, value = step(theta, state)
        history.append(-float(value))
    return theta, tuple(history)

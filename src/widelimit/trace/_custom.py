"""Functions with a derivative of the user's own: the limit follows the function, so the two must agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.trace._abstract import Refusal
from widelimit.trace._jaxpr import Step, body_of, callable_of

_CHECKED: dict[Any, bool] = {}
_SHARE = 0.02  # of the points: kinks, where a derivative is a convention, are hit by no more


def check_derivative(step: Step) -> None:
    """Refuse a `custom_jvp` or `custom_vjp` whose rule is not the derivative of its function.

    The tangent kernel is made of the derivatives of what is computed; a straight-through estimator trains otherwise.
    """
    body = body_of(step)
    if body.jaxpr not in _CHECKED:
        _CHECKED[body.jaxpr] = _agrees(lambda *a: step.bind(*a), callable_of(body), step)
    if not _CHECKED[body.jaxpr]:
        raise Refusal(
            f"at {step.where}: `{step.name}` gives a derivative that is not that of its function (a straight-through "
            "estimator, a surrogate "
            "gradient). Networks would be trained by that rule, and the tangent kernel is made of true derivatives: "
            "there is no limit for it yet."
        )


def _agrees(custom: Callable, plain: Callable, step: Step) -> bool:
    avals = [v.aval for v in step.eqns[0].invars]
    if not all(jnp.issubdtype(a.dtype, jnp.floating) for a in avals):
        return True
    random = np.random.default_rng(0)
    points = [jnp.asarray(random.normal(size=a.shape), a.dtype) for a in avals]
    try:
        pulled = [_pulled(fn, points) for fn in (custom, plain)]
    except (TypeError, ValueError, NotImplementedError):
        return True  # a body that has no derivative of its own (a lookup, say): its rule is then all there is
    return all(_mostly_equal(a, b) for a, b in zip(*pulled, strict=True))


def _pulled(fn: Callable, points: list[Any]) -> list[Any]:
    out, pull = jax.vjp(fn, *points)
    random = np.random.default_rng(1)
    return list(pull([jnp.asarray(random.normal(size=o.shape), o.dtype) for o in out]))


def _mostly_equal(a: Any, b: Any) -> bool:
    a, b = np.asarray(a, float), np.asarray(b, float)
    wrong = np.abs(a - b) > 1e-2 * (np.abs(a) + np.abs(b)) + 1e-4
    return bool(wrong.mean() <= _SHARE) if wrong.size else True

"""Functions with a derivative of the user's own: the limit follows the function, so the two must agree."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.trace._abstract import Refusal
from widelimit.trace._jaxpr import Step, body_of, callable_of

_CHECKED: weakref.WeakKeyDictionary[Any, bool] = (
    weakref.WeakKeyDictionary()
)  # a loop meets one function again and again
_SHARE = 0.02  # of the points: kinks, where a derivative is a convention, are hit by no more


def check_derivative(step: Step) -> None:
    """Refuse a `custom_jvp` or `custom_vjp` whose rule is not the derivative of its function.

    The tangent kernel is made of the derivatives of what is computed; a straight-through estimator trains otherwise.
    """
    jaxpr = body_of(step).jaxpr
    if jaxpr not in _CHECKED:
        _CHECKED[jaxpr] = _agrees(step)
    if not _CHECKED[jaxpr]:
        raise Refusal(
            f"at {step.where}: `{step.name}` gives a derivative that is not that of its function (a straight-through "
            "estimator, a surrogate "
            "gradient). Networks would be trained by that rule, and the tangent kernel is made of true derivatives: "
            "there is no limit for it yet."
        )


def _agrees(step: Step) -> bool:
    """Whether the rule and the derivative of the function agree at random points."""
    of, to = ([v.aval for v in atoms] for atoms in (step.eqns[0].invars, step.eqns[0].outvars))
    if not all(jnp.issubdtype(a.dtype, jnp.floating) for a in of):
        return True
    derivative = _pushed if step.name.startswith("custom_jvp") else _pulled  # as the rule is given: that is cheap
    random = np.random.default_rng(0)
    points, directions = (
        [jnp.asarray(random.normal(size=a.shape), a.dtype) for a in avals]
        for avals in (of, of if derivative is _pushed else to)
    )
    try:
        custom, plain = (derivative(fn, points, directions) for fn in (step.bind, callable_of(body_of(step))))
    except (TypeError, ValueError, NotImplementedError):
        return True  # a body that has no derivative of its own (a lookup, say): its rule is then all there is
    return all(map(_mostly_equal, custom, plain))


def _pushed(fn: Callable, points: list[Any], tangents: list[Any]) -> list[Any]:
    pushed = jax.jvp(fn, points, tangents)[1]
    return [t for t in pushed if jnp.issubdtype(t.dtype, jnp.floating)]


def _pulled(fn: Callable, points: list[Any], cotangents: list[Any]) -> list[Any]:
    return list(jax.vjp(fn, *points)[1](cotangents))


def _mostly_equal(a: Any, b: Any) -> bool:
    a, b = np.asarray(a, float), np.asarray(b, float)
    wrong = np.abs(a - b) > 1e-2 * (np.abs(a) + np.abs(b)) + 1e-4
    return bool(wrong.mean() <= _SHARE) if wrong.size else True

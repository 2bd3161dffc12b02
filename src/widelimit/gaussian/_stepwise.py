"""A function's code run operation by operation: what is compiled is one operation, which all functions share."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit._primitives import called, in_numpy


def stepwise(fn: Callable, *args: Any) -> tuple[Any, list[np.ndarray]]:
    """`fn` of concrete arrays, an array, and what each of its operations gives, calls opened."""
    closed, steps = jax.make_jaxpr(fn)(*args), []
    (value,) = _run(closed.jaxpr, closed.consts, args, steps)
    return value, steps


def _run(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], steps: list[np.ndarray]) -> list[Any]:
    """The outputs of a jaxpr; what each of its equations gives is appended to `steps`."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(x: Any) -> Any:
        return np.asarray(x.val, x.aval.dtype) if hasattr(x, "val") else values[x]

    for eqn in jaxpr.eqns:
        inputs, body = [read(x) for x in eqn.invars], called(eqn)
        if body is not None:
            outputs = _run(body.jaxpr, body.consts, inputs, steps)
        else:
            outputs = _bound(eqn, inputs)
            steps.extend(map(np.asarray, outputs))
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _bound(eqn: Any, inputs: Sequence[Any]) -> list[Any]:
    if (fn := _in_numpy(eqn)) is not None:
        return [np.asarray(fn(*map(np.asarray, inputs)))]
    bound = eqn.primitive.get_bind_params(eqn.params)  # a pair in older JAX, the second of it in newer
    subfuns, params = bound if isinstance(bound, tuple) else ((), bound)
    outputs = eqn.primitive.bind(*subfuns, *inputs, **params)
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def _in_numpy(eqn: Any) -> Callable[..., Any] | None:
    """What most functions are made of: compiling takes longer."""
    if len(eqn.outvars) != 1:
        return None
    (made,) = (v.aval for v in eqn.outvars)
    match eqn.primitive.name:
        case "convert_element_type" if all(jnp.issubdtype(a.dtype, jnp.floating) for a in (eqn.invars[0].aval, made)):
            return lambda x: x.astype(made.dtype)
        case "broadcast_in_dim" if not eqn.invars[0].aval.shape:
            return lambda x: np.broadcast_to(x, made.shape)
    return in_numpy(eqn)

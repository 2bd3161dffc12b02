"""What an equation does to abstract values: the choice of the rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit import program as tp
from widelimit.trace import (  # noqa: F401  (they fill the table)
    _contraction,
    _control,
    _convolution,
    _indexing,
    _pointwise,
    _reduction,
    _refused,
    _scatter,
    _structural,
)
from widelimit.trace._abstract import (
    Concrete,
    Det,
    Leaf,
    Modulated,
    Randomness,
    Refusal,
    Segmented,
    Wide,
    axes,
    finite_shape,
    plain,
)
from widelimit.trace._complex import is_complex, read_complex
from widelimit.trace._custom import check_derivative
from widelimit.trace._jaxpr import Body, Step, Walker
from widelimit.trace._layout import full_view
from widelimit.trace._modulated import at_once, modulated
from widelimit.trace._place import as_det
from widelimit.trace._segments import segmented
from widelimit.trace._table import REFUSED, RULES

_STRUCTURAL = (
    "reshape transpose broadcast_in_dim squeeze expand_dims slice split unstack stack concatenate "
    "convert_element_type dot_general scan cond stop_gradient copy"
)
# Rules that keep the axes of known values apart (constant ones are never repeated) or that mind precision.
_OWN_RULE = frozenset(_STRUCTURAL.split()) | frozenset(
    [*_pointwise.UNARY, *_pointwise.NARY, "add", "sub", "mul", "div", "neg"]
)


def read_program(bodies: Sequence[Body], inputs: Sequence[Any], caller: str = "") -> list[Any]:
    """The abstract values that a program (one body a width) makes of its inputs."""
    outputs = Walker(dispatch, _lift, _enter).walk(bodies, inputs, caller)
    return [at_once(x, caller) for x in outputs]


def _lift(values: Sequence[Any]) -> Concrete | Randomness:
    if any(_is_key(v) for v in values):
        return Randomness()
    return Concrete(tuple(np.asarray(v) for v in values))


def _enter(step: Step, operands: list[Any]) -> None:
    """The body of a call stands for it; a derivative of the user's own must then be that of the body."""
    if step.name.startswith("custom_") and any(isinstance(x, Wide | Leaf | Modulated | Segmented) for x in operands):
        check_derivative(step)


def dispatch(step: Step, operands: list[Any]) -> list[Any]:
    outputs = _outputs(step, operands)
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _outputs(step: Step, operands: list[Any]) -> Any:
    if (empty := _empty(step)) is not None:
        return empty
    if (
        any(isinstance(x, Randomness) for x in operands)
        or step.name.startswith("random_")
        or step.name == "rng_bit_generator"
    ):
        return _random(step, operands)
    if all(isinstance(x, Concrete) for x in operands) and step.name not in ("scan", "cond"):
        return _evaluated(step, operands)
    if is_complex(step, operands):
        return read_complex(step, operands, read_program)
    if (found := modulated(step, operands, dispatch)) is not None:
        return found
    if any(isinstance(x, Segmented) for x in operands):
        return segmented(step, operands, dispatch)
    if step.name not in _OWN_RULE and (known := _all_known(step, operands)) is not None:
        return _known(step, known)
    if step.name in RULES:
        return RULES[step.name](step, *operands)
    raise Refusal(_no_rule(step, operands))


def _empty(step: Step) -> list[Concrete] | None:
    """Arrays without entries (padding by nothing) are constants."""
    outputs = range(len(step.eqns[0].outvars))
    if step.name in ("scan", "cond") or not all(0 in s for i in outputs for s in step.shapes(i)):
        return None
    return [Concrete(tuple(np.zeros(s, step.dtype(i)) for s in step.shapes(i))) for i in outputs]


def _no_rule(step: Step, operands: list[Any]) -> str:
    reason = REFUSED.get(step.name, "no rule reads it")
    kinds = ", ".join(_kind(x) for x in operands)
    return (
        f"at {step.where}: the primitive `{step.name}` acts on ({kinds}): {reason}. "
        "Write this step with operations that are read (dense and convolutional products, coordinatewise functions, "
        "sums over positions or width)."
    )


def _kind(x: Any) -> str:
    match x:
        case Wide():
            return "a random vector"
        case Leaf():
            return f"the parameter {x.parameter.path!r}"
        case Det():
            return "what the example determines"
        case Segmented():
            return "a concatenation"
    return "a constant"


def _random(step: Step, operands: list[Any]) -> Any:
    """Random keys pass through; what is drawn from them must not meet the network's values."""
    concerned = [x for x in operands if isinstance(x, Wide | Leaf | Modulated | Det | Segmented)]
    if concerned and not all(isinstance(x, Det) and not axes(x.layout) for x in concerned):
        raise Refusal(
            f"at {step.where}: random numbers are drawn while the network is applied (dropout, noise) and meet its "
            f"values in `{step.name}`. "
            "The limit is of the network's initialisation: apply it in evaluation mode (`deterministic=True`, "
            "`inference=True`, `model.eval()`)."
        )
    return [Randomness() for _ in step.eqns[0].outvars]


def _evaluated(step: Step, operands: list[Any]) -> list[Concrete | Randomness]:
    rows = [step.bind(*(x.values[w] for x in operands), width=w) for w in range(len(step.eqns))]
    return [_lift([row[i] for row in rows]) for i in range(len(rows[0]))]


def _is_key(value: Any) -> bool:
    return hasattr(value, "dtype") and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


def _all_known(step: Step, operands: list[Any]) -> list[Det] | None:
    """The operands as known finite arrays, where that is what they all are."""
    if any(isinstance(x, Wide | Leaf) for x in operands):
        return None
    if any(len(set(s)) > 1 for i in range(len(step.eqns[0].outvars)) for s in zip(*step.shapes(i), strict=True)):
        return None
    if step.name in RULES and any(isinstance(x, Det) and any(a.copies for a in axes(x.layout)) for x in operands):
        return None
    known = [as_det(x, step.where) if isinstance(x, Concrete) else x for x in operands]
    fine = all(x.exponent == 0 and not any(a.wide for a in axes(x.layout)) for x in known)
    return known if fine else None


def _known(step: Step, operands: list[Det]) -> list[Det]:
    """Whatever touches no random value is evaluated as it is."""
    shapes = [v.aval.shape for v in step.eqns[0].invars]
    views = [full_view(x, shape) for x, shape in zip(operands, shapes, strict=True)]
    layouts = [plain(step.shapes(i)) for i in range(len(step.eqns[0].outvars))]

    def output(i: int) -> Any:
        def fn(*arrays: Any) -> Any:
            arrays = _pointwise._one_dtype([view(a) for view, a in zip(views, arrays, strict=True)])
            return jnp.reshape(step.bind(*arrays)[i], finite_shape(layouts[i]))

        return fn

    return [
        Det(tp.apply(output(i), finite_shape(layout), *(x.known for x in operands), name=step.name), layout)
        for i, layout in enumerate(layouts)
    ]

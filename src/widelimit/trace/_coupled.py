"""Nonlinear functions over positions (maximum, product, cumulative maximum): each is one function of several Gaussians."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit import program as tp
from widelimit.trace._abstract import Axis, Det, Refusal, Wide, finite_axes, finite_shape, plain
from widelimit.trace._jaxpr import Step
from widelimit.trace._layout import identity_maps, on_axis, remap, single_axis, unfold
from widelimit.trace._place import place
from widelimit.trace._pointwise import settled
from widelimit.trace._structural import remap_constant
from widelimit.trace._table import rule

MOST = 64  # positions that one function couples


def _folded(op: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda *values: functools.reduce(op, values)


def _log_sum_exp(*values: Any) -> Any:
    return jax.nn.logsumexp(jnp.stack(jnp.broadcast_arrays(*values)), axis=0)


_REDUCTIONS = {
    "reduce_max": _folded(jnp.maximum),
    "reduce_min": _folded(jnp.minimum),
    "reduce_and": _folded(jnp.logical_and),
    "reduce_or": _folded(jnp.logical_or),
    "reduce_xor": _folded(jnp.logical_xor),
}
# what each takes where there is nothing to read
_WINDOWS = {"reduce_window_max": ("reduce_max", -jnp.inf), "reduce_window_min": ("reduce_min", jnp.inf)}
_CUMULATIVE = {
    "cummax": (_REDUCTIONS["reduce_max"], -jnp.inf),
    "cummin": (_REDUCTIONS["reduce_min"], jnp.inf),
    "cumprod": (_folded(jnp.multiply), 1.0),
    "cumlogsumexp": (_log_sum_exp, -jnp.inf),
}


def reduction(name: str) -> Callable[..., Any]:
    """What a reduction does to any number of operands."""
    return _REDUCTIONS.get(name, _folded(jnp.multiply))


def couples(name: str) -> bool:
    """Whether a reduction of random positions has a rule."""
    return name in _REDUCTIONS or name == "reduce_prod"


def reduced(step: Step, x: Wide) -> Wide:
    """A reduction over positions: each position of the axes is an operand."""
    dims = tuple(step.params["axes"])
    x = _positions(x, dims, step)
    axes = [i for d in dims for i in finite_axes(x.layout, d)]
    sizes = [finite_shape(x.layout)[i] for i in axes]
    check_count(int(np.prod(sizes)), step)
    layout = tuple(dim for d, dim in enumerate(x.layout) if d not in dims)
    kept = [i for i in range(len(finite_shape(x.layout))) if i not in axes]
    rest = [tp.keep(i, n) for n, i in enumerate(kept)]
    parts = []
    for at in np.ndindex(*sizes):
        maps = [*rest, *(tp.taken(i, None, k, k + 1) for i, k in zip(axes, at, strict=True))]
        parts.append(remap(x, sorted(maps, key=lambda m: m.inputs), layout))
    return _combined(step, parts)


def _combined(step: Step, parts: Sequence[Wide]) -> Wide:
    if len(parts) == 1:
        return parts[0]
    values, shape = tuple(p.value for p in parts), finite_shape(parts[0].layout)
    if step.name == "reduce_prod":
        return Wide(tp.Product(shape, step.where, values), parts[0].layout)
    return Wide(tp.Pointwise(shape, step.where, _REDUCTIONS[step.name], values, step.name), parts[0].layout)


def _positions(x: Wide, dims: Sequence[int], step: Step) -> Wide:
    """The dimensions with all replicas numbered: finite axes only."""
    for d in dims:
        if any(a.wide for a in x.layout[d]):
            raise Refusal(
                f"at {step.where}: `{step.name}` of random values along the width is no coordinatewise function (no Tensor Program "
                "has it; a softmax over the width shifts by its maximum). Over positions it is read; over the width use a mean, or a norm."
            )
        for i, a in enumerate(x.layout[d]):
            x = unfold(x, d, i, step.where) if a.copies else x
    return x


def check_count(count: int, step: Step) -> None:
    if count > MOST:
        raise Refusal(
            f"at {step.where}: `{step.name}` couples {count} random positions, and expectations of more than {MOST} Gaussians a side are "
            "too inaccurate to be of use. Use average pooling, or reduce over fewer positions at a time with a weight in between."
        )


# --- windows --------------------------------------------------------------------------------------------------------------


@rule("reduce_window_max", "reduce_window_min")
def pooled(step: Step, x: Any) -> Det | Wide:
    """Max pooling: each tap of the window is an operand; what lies in the padding is masked."""
    p = step.params
    reduction, empty = _WINDOWS[step.name]
    windows = [
        tp.Window(*map(int, (size, stride, low, high, dilation, base)))
        for size, stride, (low, high), base, dilation in zip(
            p["window_dimensions"],
            p["window_strides"],
            p["padding"],
            p["base_dilation"],
            p["window_dilation"],
            strict=True,
        )
    ]
    slid = [d for d, w in enumerate(windows) if not w.trivial]
    x = settled(place(x, None, step.where), step.where)
    if isinstance(x, Det):
        return _known(step, x)
    if any(windows[d].base_dilation != 1 for d in slid):
        raise Refusal(f"at {step.where}: `{step.name}` with dilation of its input has no rule")
    check_count(int(np.prod([windows[d].size for d in slid])), step)
    x = _positions(x, slid, step)
    for d in slid:
        x = single_axis(x, d, step.where)
    taps = [windows[d].reads(x.layout[d][0].size if x.layout[d] else 1) for d in slid]
    layout = _slid_layout(x, slid, [len(t[0]) for t in taps])
    values, masks = [], []
    for indices in itertools.product(*taps):
        value, mask = _tap(x, slid, indices, layout)
        values.append(value)
        masks.append(mask)
    return masked(_REDUCTIONS[reduction], empty, values, masks, layout=layout, step=step)


def _slid_layout(x: Wide, slid: Sequence[int], lengths: Sequence[int]) -> tuple:
    count = len(next(a for dim in x.layout for a in dim).sizes)
    layout = list(x.layout)
    for d, n in zip(slid, lengths, strict=True):
        layout[d] = (Axis((n,) * count, False),)
    return tuple(layout)


def _tap(x: Wide, slid: Sequence[int], indices: Sequence[tuple[int, ...]], layout: tuple) -> tuple[tp.Value, Any]:
    """What one tap reads, and where it reads anything (None: everywhere)."""
    shape, mask = finite_shape(layout), np.ones((), bool)
    for d, row in zip(slid, indices, strict=True):
        axis = finite_axes(x.layout, d)[0]
        x = remap(
            x, on_axis(x, axis, lambda i, o, row=row: _read(i, o, row)), (*x.layout[:d], layout[d], *x.layout[d + 1 :])
        )
        alive = np.asarray(row) >= 0
        mask = mask & alive.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return x.value, _condition(mask, shape)


def _condition(mask: np.ndarray, shape: tuple[int, ...]) -> tp.Known | None:
    return None if mask.all() else tp.constant(np.broadcast_to(mask, shape).astype(float))


def _read(axis: int, target: int, row: tuple[int, ...]) -> tp.AxisMap:
    step = row[1] - row[0] if len(row) > 1 else 1
    if min(row) >= 0 and step > 0 and row == tuple(range(row[0], row[-1] + 1, step)):
        return tp.taken(axis, target, row[0], row[-1] + 1, step)
    return tp.picked(axis, target, row)


def masked(
    op: Callable[..., Any],
    empty: float,
    values: Sequence[tp.Value],
    masks: Sequence[tp.Known | None],
    *,
    layout: tuple,
    step: Step,
) -> Wide:
    """One function of all values; those that are masked somewhere are followed by their masks."""
    count, partial = len(values), [k for k, m in enumerate(masks) if m is not None]
    known = tuple(masks[k] for k in partial)

    def fn(*arrays: Any) -> Any:
        taps = list(arrays[:count])
        for k, mask in zip(partial, arrays[count:], strict=True):
            taps[k] = jnp.where(jnp.asarray(mask) > 0, taps[k], jnp.asarray(empty, jnp.asarray(taps[k]).dtype))
        return op(*taps)

    return Wide(tp.Pointwise(finite_shape(layout), step.where, fn, (*values, *known), step.name), layout)


# --- cumulative -----------------------------------------------------------------------------------------------------------


@rule(*_CUMULATIVE)
def cumulative(step: Step, x: Any) -> Det | Wide:
    """Position t reads the positions up to t: all of them are operands, the later ones masked."""
    dim, (op, empty) = int(step.params["axis"]), _CUMULATIVE[step.name]
    x = settled(place(x, None, step.where), step.where)
    if isinstance(x, Det):
        return _known(step, x)
    x = single_axis(_positions(x, [dim], step), dim, step.where)
    if not x.layout[dim]:
        return x
    axis, size = finite_axes(x.layout, dim)[0], x.layout[dim][0].size
    check_count(size, step)
    at = np.arange(size).reshape([-1 if i == axis else 1 for i in range(len(finite_shape(x.layout)))])
    values, masks = [], []
    for k in range(size):
        maps = identity_maps(len(finite_shape(x.layout)))
        maps[axis] = tp.picked(axis, axis, (k,) * size)
        values.append(remap(x, maps, x.layout).value)
        alive = at <= k if step.params["reverse"] else at >= k
        masks.append(_condition(alive, finite_shape(x.layout)))
    return masked(op, empty, values, masks, layout=x.layout, step=step)


def _known(step: Step, x: Det) -> Det:
    """Of what the example determines, repeated where it is constant."""
    for d, dim in enumerate(x.layout):
        x = remap_constant(x, d) if dim and all(a.copies and not a.wide for a in dim) else x
    if any(a.copies for dim in x.layout for a in dim):
        raise Refusal(f"at {step.where}: `{step.name}` along a wide axis has no rule")
    before, layout = step.eqns[0].invars[0].aval.shape, plain(step.shapes())
    shape = finite_shape(layout)

    def fn(a: Any) -> Any:
        return jnp.reshape(step.bind(jnp.reshape(jnp.asarray(a), before))[0], shape)

    return Det(tp.apply(fn, shape, x.known, name=step.name), layout, x.exponent)

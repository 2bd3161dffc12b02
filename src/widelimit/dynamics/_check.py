"""Checks of what the user hands to `wl.train`."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.dynamics._layout import Layout
from widelimit.dynamics._losses import cross_entropy, quantile
from widelimit.dynamics._optimizers import SGD, GradientFlow, Optimizer
from widelimit.dynamics._prior import Prior
from widelimit.dynamics._responses import Training

CALL = "`wl.train(kernel, x, y)`"


def number(name: str, value: Any, *, call: str = "wl.train") -> float:
    """A finite number >= 0."""
    if np.ndim(value) or np.asarray(value).dtype.kind not in "fiu" or not 0 <= value < np.inf:
        raise ValueError(f"`{call}(..., {name}={value!r})`: expected a finite number >= 0")
    return float(value)


def optimizer(value: Any) -> None:
    """One of the four."""
    if not isinstance(value, Optimizer):
        raise TypeError(
            f"`wl.train(..., optimizer={value!r})`: expected `wl.GradientFlow()`, `wl.GradientDescent(lr)`, "
            "`wl.Momentum(lr, beta)` or `wl.SGD(lr, batches)`"
        )


def one_of(name: str, value: Any, options: tuple[str, ...], *, call: str = "wl.train") -> None:
    """One of some words."""
    if value not in options:
        raise ValueError(f"`{call}(..., {name}={value!r})`: expected one of {', '.join(map(repr, options))}")


def batches(value: Optimizer, examples: int) -> None:
    """The minibatches of `wl.SGD` index the examples."""
    if isinstance(value, SGD) and not (value.batches.min() >= 0 and value.batches.max() < examples):
        raise ValueError(
            f"`wl.SGD(lr, batches)`: the batches hold indices from {value.batches.min()} to {value.batches.max()}; expected 0 to "
            f"{examples - 1}, the {examples} examples of `x`"
        )


def trains(theta: Float[Array, "n n"], *, call: str = CALL) -> None:
    """A kernel of some examples that is not zero."""
    if not theta.size:
        raise ValueError(f"{call}: x holds no example")
    if not np.asarray(theta).any():
        raise ValueError(
            f"{call}: the kernel is zero on x, nothing is trained; expected a kernel with trained parameters (`learning_rates=` of "
            "`wl.limit`) and inputs that it sees"
        )


def labels(y: Any, examples: int, axes: tuple[int, ...], *, call: str = CALL) -> Array:
    """`y` as an array of (N, *axes, …) without NaN."""
    array = y if isinstance(y, jax.Array) else np.asarray(y)
    if array.dtype.kind not in "fiub" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{call}: got y of dtype {array.dtype}; expected real numbers or integers")
    if array.shape[: 1 + len(axes)] != (examples, *axes):
        finite = f", {', '.join(map(str, axes))}" if axes else ""
        raise ValueError(
            f"{call}: got y of shape {array.shape}; expected ({examples}{finite}) or ({examples}{finite}, outputs): x has "
            f"{examples} examples{' and the kernel the finite output axes ' + str(axes) if axes else ''}"
        )
    if array.dtype.kind not in "iub" and not np.isfinite(np.asarray(array)).all():
        bad = np.unique(np.nonzero(~np.isfinite(np.asarray(array)))[0])
        raise ValueError(f"{call}: y holds NaN or infinite values (examples {bad[:5].tolist()}); remove or impute them")
    return jnp.asarray(array)


def float_of(y: Array) -> Any:
    """The floating dtype that labels ask for: none for integers."""
    return y.dtype if jnp.issubdtype(y.dtype, jnp.floating) else jnp.float16


def targets(y: Array, axes: tuple[int, ...]) -> tuple[Layout, Float[Array, "n c"]]:
    """The labels of least squares as columns, one an output."""
    if y.ndim > len(axes) + 2:
        raise ValueError(f"{CALL}: got y of shape {y.shape}; expected at most one axis of outputs; flatten the others")
    layout = Layout(axes, y.shape[1 + len(axes) :])
    return layout, layout.columns(y).astype(jnp.result_type(float))


def stable(optimizer: Any, bound: float) -> None:
    """A learning rate below the largest stable one."""
    if optimizer.lr >= bound:
        raise ValueError(
            f"`wl.train(..., optimizer={optimizer})`: the steps do not converge; the largest stable step on this kernel and "
            f"data is {bound:.6g}: expected lr below it"
        )


def options(*, regime: Any, method: Any, initial: Any, accuracy: Any) -> None:
    """Words, a function and a number."""
    one_of("regime", regime, ("ntk", "last"))
    one_of("method", method, ("auto", "eigh", "lanczos"))
    if initial is not None and not callable(initial):
        raise TypeError(
            f"`wl.train(..., initial=...)`: got {type(initial).__name__}; expected a function of inputs x that returns f₀(x)"
        )
    if not 0 < accuracy < 1:
        raise ValueError(f"`wl.train(..., accuracy={accuracy})`: expected a relative error between 0 and 1")


def finite(values: Array, optimizer: Any, largest: float) -> None:
    """A trajectory that has not overflown."""
    if not np.isfinite(np.asarray(values)).all():
        raise ValueError(
            f"`fit(x_test, t)`: the trajectory overflows: the learning rate is too large for this loss, kernel and data (the largest "
            f"eigenvalue of Θ is {largest:.4g}); lower `lr` of `wl.{type(optimizer).__name__}`"
        )


def no_ensemble(samples: int, key: Any, outputs: int | None) -> None:
    """Least squares needs no draws."""
    if samples or key is not None or outputs is not None:
        raise ValueError(
            "`wl.train(..., samples=, key=, outputs=)`: with the squared loss `fit(x).covariance` is exact without samples, and `y` "
            "tells the outputs; leave them out (`fit(x).sample(key, n)` draws)"
        )


def ensemble(samples: int, key: Any, initial: Any, training: Training, prior: Prior) -> None:
    """A number of draws and their key belong together."""
    if samples < 0 or (samples > 0) != (key is not None) or (samples and initial is not None):
        raise ValueError(
            f"`wl.train(..., samples={samples}, key={'None' if key is None else '...'})`: expected both, samples > 0 and a key, to draw "
            "initial functions; or neither, and perhaps `initial=`"
        )
    if samples or initial is not None:
        start_known(training, prior, "initial" if initial else "samples")


def start_known(training: Training, prior: Prior, name: str) -> None:
    """Decay toward zero takes h = J θ₀ of the initial function: that must be known where the initial function matters."""
    if training.decay and training.degree is None and (prior.count == 1 or name == "initial"):
        other = "" if name == "initial" else ", or `radial=wl.radial(kernel, net)`, its law for any network"
        raise ValueError(
            f"`wl.train(..., weight_decay={training.decay:g})`: decay toward zero shrinks the initial function along J θ₀, which `{name}` "
            "needs to know: pass `degree=`, the network's degree as a function of its trained weights where it is homogeneous in them "
            f"(the number of layers for ReLU without biases){other}"
        )


def radial(value: Any, training: Training) -> None:
    """The law of h, where something decays and no degree says it already."""
    if value is None:
        return
    if not callable(value):
        raise TypeError(f"`wl.train(..., radial=...)`: got {type(value).__name__}; expected `wl.radial(kernel, net)`")
    if not training.decay or training.degree is not None:
        raise ValueError(
            "`wl.train(..., radial=...)`: it tells what `weight_decay=` > 0 takes of the initial function where `degree=` does not; "
            f"got weight_decay={training.decay:g} and degree={training.degree}"
        )


def classes(loss: Any, y: Array, axes: tuple[int, ...], outputs: int | None) -> tuple[Layout, Array]:
    """The outputs of one example, and the labels by row."""
    rows = math.prod(y.shape[: 1 + len(axes)])
    own = y.shape[1 + len(axes) :]
    if loss is cross_entropy and not own:
        outputs = _class_count(y, outputs)
    elif outputs is None and len(own) > 1:
        raise ValueError(f"{CALL}: got y of shape {y.shape}; expected at most one axis of outputs, or `outputs=`")
    kind = y if outputs is not None else y.astype(jnp.result_type(float))
    return Layout(axes, own if outputs is None else (outputs,)), kind.reshape(rows, *own)


def _class_count(y: Array, outputs: int | None) -> int:
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(
            f"{CALL}: `wl.cross_entropy` got y of shape {y.shape} and dtype {y.dtype}; expected classes (integers) or probabilities "
            "(an axis of outputs)"
        )
    count = int(y.max()) + 1 if outputs is None else outputs
    if int(y.min()) < 0 or int(y.max()) >= count:
        raise ValueError(
            f"{CALL}: got classes from {int(y.min())} to {int(y.max())}; expected 0 to {count - 1} (`outputs={count}`)"
        )
    return count


def loss(value: Any, layout: Layout, y: Array, optimizer: Optimizer) -> None:
    """A function of one example that returns a number."""
    f = jax.ShapeDtypeStruct(layout.outputs, jnp.result_type(float))
    try:
        found = jax.eval_shape(value, f, jax.ShapeDtypeStruct(y.shape[1:], y.dtype))
    except Exception as error:
        raise ValueError(
            f"`wl.train(..., loss=...)`: `loss(f, y)` failed on one example, f of shape {f.shape} and y of shape {y.shape[1:]} "
            f"and dtype {y.dtype}: {error}"
        ) from error
    if getattr(found, "shape", None) != ():
        raise ValueError(
            f"`wl.train(..., loss=...)`: `loss(f, y)` returned {found}; expected one number for one example"
        )
    if isinstance(value, quantile) and not value.smooth and isinstance(optimizer, GradientFlow):
        raise ValueError(
            f"`wl.train(..., loss=wl.quantile({value.q}))`: gradient flow slides along the jump of this loss's gradient, which no solver "
            f"of smooth equations follows; smooth it, `wl.quantile({value.q}, smooth=0.01)`, or take steps"
        )

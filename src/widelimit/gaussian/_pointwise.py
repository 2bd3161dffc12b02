"""The two nouns of the package: a pointwise function and the joint law of its arguments."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


@dataclass(frozen=True, eq=False)
class Pointwise:
    """A function applied coordinate by coordinate to Gaussian arguments.

    Attributes:
        fn: `fn(*gaussians, *params)`, elementwise over broadcastable arrays, traceable by JAX,
            of any floating dtype.
        arity: number of Gaussian arguments; whatever follows them are known parameters.
        label: how the user's code spelled the function, for reports.

    Two of them are equal only if they are the same object, so a `Pointwise` is a key of caches.
    """

    fn: Callable[..., Array]
    arity: int
    label: str = ""
    _memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value kept under `key`; made on the first call and kept as long as this object."""
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]


@dataclass(frozen=True)
class Joint:
    """Joint Gaussian law of the arguments u_1..u_p of one function and v_1..v_q of another.

    Attributes:
        left: (p, p) covariances of u.
        right: (q, q) covariances of v.
        cross: (p, q) covariances of u with v.
        left_mean: p means of u.
        right_mean: q means of v.
        gap: E[(u − v)²] of the centred parts, for one Gaussian a side, where it is known with more digits than
            left + right − 2 cross has; nearly equal arguments of a function with a kink need it.
        positive: whether the covariance is known not to be negative, which saves work where there is a gap.

    Entries are arrays that broadcast against each other; `None` is a structural zero. `left` and
    `right` often have singleton axes where `cross` is full, since they belong to one side of a
    Gram matrix.
    """

    left: tuple[tuple[Array | None, ...], ...]
    right: tuple[tuple[Array | None, ...], ...]
    cross: tuple[tuple[Array | None, ...], ...]
    left_mean: tuple[Array | None, ...]
    right_mean: tuple[Array | None, ...]
    gap: Array | None = None
    positive: bool = False

    def swapped(self) -> "Joint":
        """The joint law of v and u."""
        columns = tuple(zip(*self.cross, strict=True))
        return Joint(self.right, self.left, columns, self.right_mean, self.left_mean, self.gap, self.positive)


def _one() -> Array:
    return jnp.asarray(1.0)  # weakly typed: takes the dtype of what it meets


IDENTITY = Pointwise(lambda u: u, arity=1, label="identity")
ONE = Pointwise(_one, arity=0, label="1")


def derivative(phi: Pointwise, i: int) -> Pointwise:
    """∂φ/∂u_i as a function of the same arguments.

    Args:
        phi: the function.
        i: which Gaussian argument, 0 <= i < phi.arity.

    Returns:
        The same object at every call with the same `(phi, i)`, so that what is learnt about it
        (its recognition) is learnt once. At a kink it is what the code's own derivative says.

    Raises:
        IndexError: if `i` is not a Gaussian argument.
    """
    if not 0 <= i < phi.arity:
        raise IndexError(
            f"`derivative(phi, {i})`: phi has {phi.arity} Gaussian argument(s); expected 0 <= i < {phi.arity}"
        )
    return phi.remember(("derivative", i), lambda: _differentiate(phi, i))


def parameter_derivative(phi: Pointwise, i: int, count: int) -> Pointwise:
    """∂φ/∂θ_i of a function with `count` known parameters, a function of the same arguments and parameters."""

    def make() -> Pointwise:
        widened = Pointwise(phi.fn, phi.arity + i + 1, phi.label)  # θ_i among the arguments
        slope = Pointwise(derivative(widened, phi.arity + i).fn, phi.arity, f"d/dθ{i}({phi.label})")
        slope.remember("parameters", lambda: count)
        return slope

    return phi.remember(("parameter", i), make)


def _differentiate(phi: Pointwise, i: int) -> Pointwise:
    def slope(*args):
        shape = jnp.broadcast_shapes(*(jnp.shape(arg) for arg in args))
        moving = jnp.broadcast_to(jnp.asarray(args[i]), shape)
        return _slope(lambda arg: phi.fn(*args[:i], arg, *args[i + 1 :]), moving)

    label = f"d{i}({phi.label})" if phi.arity > 1 else f"d({phi.label})"
    return Pointwise(slope, phi.arity, label)


def _slope(fn: Callable, x: Array) -> Array:
    """f' elementwise; by a reverse pass where the user gave only a `custom_vjp`."""
    out = jax.eval_shape(fn, x)
    if not jnp.issubdtype(out.dtype, jnp.inexact):
        return jnp.zeros(out.shape, x.dtype)
    try:
        return jax.jvp(fn, (x,), (jnp.ones_like(x),))[1]
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
    value, pull = jax.vjp(fn, x)
    return pull(jnp.ones_like(value))[0]

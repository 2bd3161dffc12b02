"""The choice between the rules for E[φ(u; θ) ψ(v; θ')]."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from widelimit.gaussian import _closed
from widelimit.gaussian._angle import Gap
from widelimit.gaussian._closed import Law
from widelimit.gaussian._family import form, known_family
from widelimit.gaussian._pair import Pair, Side
from widelimit.gaussian._pointwise import ONE, Joint, Pointwise, derivative
from widelimit.gaussian._recognise import recognise


@dataclass(frozen=True)
class Description:
    """What is known of a nonlinearity.

    Attributes:
        name: of what was recognised, or how the code spelled it.
        formula: the recognised form, empty if none.
        rule: "closed form" or how it is integrated.
        error: estimate of the relative error of its expectations; 0 means rounding.
    """

    name: str
    formula: str
    rule: str
    error: float


def expect(
    phi: Pointwise,
    psi: Pointwise,
    joint: Joint,
    *,
    left_params: tuple = (),
    right_params: tuple = (),
    accuracy: float = 1e-6,
) -> Array:
    """E[φ(u; θ) ψ(v; θ')] under the joint Gaussian law of u and v.

    Args:
        phi: function of the p Gaussians on the left.
        psi: function of the q Gaussians on the right.
        joint: their law, entries broadcasting against each other.
        left_params: the known θ of φ, after its Gaussians.
        right_params: the known θ' of ψ.
        accuracy: relative error to aim at where no closed form exists.

    Returns:
        The expectation, of the shape that the law's entries and parameters broadcast to.

    Source: functions recognised from their values have closed forms (arc-cosine kernels, Cho & Saul 2009;
    arcsine kernel, Williams 1997; Hermite series; Gaussian integrals); the rest is integrated numerically.
    The derivative with respect to a cross-covariance is E[∂φ ∂ψ] (Price 1958).
    """
    pair = Pair(phi, psi, joint, tuple(left_params), tuple(right_params))
    if _independent(joint):
        return _mean(pair.left(), accuracy) * _mean(pair.right(), accuracy)
    if phi.arity == psi.arity == 1:
        for found in (_closed_pair(pair), _stein(pair, accuracy), _stein(pair.swapped(), accuracy)):
            if found is not None:
                return found
        return _one_each(pair, accuracy)
    return _several(pair, accuracy)


def _independent(joint: Joint) -> bool:
    return all(c is None for row in joint.cross for c in row)


def _closed_pair(pair: Pair) -> Array | None:
    """By closed form, if both functions have one together; a variance that is a structural zero is filled."""
    joint = pair.joint
    entries = joint.left[0][0], joint.cross[0][0], joint.right[0][0]
    means = joint.left_mean[0], joint.right_mean[0]
    dtype = _dtype(*entries, *means)
    work = jnp.promote_types(dtype, jnp.float32)
    f = form(pair.phi, pair.left_params, work)
    g = form(pair.psi, pair.right_params, work) if f is not None else None
    if f is None or g is None:
        return None
    k11, c, k22 = (jnp.zeros((), work) if x is None else jnp.asarray(x, work) for x in entries)
    m1, m2, gap = (None if x is None else jnp.asarray(x, work) for x in (*means, joint.gap))
    law = Law(k11, c, k22, m1, m2, None if gap is None else Gap(gap, joint.positive))
    value = _closed.pair(f, g, law)
    return None if value is None else value.astype(dtype)


def _stein(pair: Pair, accuracy: float) -> Array | None:
    """E[(a + b u) ψ(v)] = E[a + b u] E[ψ(v)] + b c E[ψ'(v)] for a ψ without jumps: nothing to integrate for each pair."""
    from widelimit.gaussian._jumps import jumps

    line = None if pair.left_params or pair.right_params else recognise(pair.phi)
    if line is None or line.terms or len(line.polynomial) > 2 or jumps(pair.psi, ()):
        return None
    offset, slope = (*line.polynomial, 0.0, 0.0)[:2]
    side, mean = pair.right(), pair.joint.left_mean[0]
    value = slope * pair.joint.cross[0][0] * _mean(side._replace(phi=derivative(pair.psi, 0)), accuracy)
    if mean is None and offset == 0:
        return value
    return value + (offset if mean is None else offset + slope * mean) * _mean(side, accuracy)


def _dtype(*arrays: Array | None) -> Any:
    """The floating type that a law's entries are computed in."""
    return jnp.result_type(float, *(x for x in arrays if x is not None))


def _one_each(pair: Pair, accuracy: float) -> Array:
    from widelimit.gaussian._quadrature import expect_one

    return expect_one(pair, accuracy)


def _several(pair: Pair, accuracy: float) -> Array:
    from widelimit.gaussian._several import expect_several

    return expect_several(pair, accuracy)


def _mean(side: Side, accuracy: float) -> Array:
    """E[φ(u; θ)]."""
    phi, covariance, means, params = side
    if all(k is None for row in covariance for k in row):
        return phi.fn(*(jnp.zeros(()) if m is None else m for m in means), *params)
    found = _closed_mean(side) if phi.arity == 1 else None
    if found is not None:
        return found
    alone = Joint(covariance, (), tuple(() for _ in covariance), means, ())
    integrate = _one_each if phi.arity == 1 else _several
    return integrate(Pair(phi, ONE, alone, params, ()), accuracy)


def _closed_mean(side: Side) -> Array | None:
    k, m = side.covariance[0][0], side.means[0]
    dtype = _dtype(k, m)
    work = jnp.promote_types(dtype, jnp.float32)
    found = form(side.phi, side.params, work)
    if found is None:
        return None
    value = _closed.mean(found, jnp.asarray(k, work), None if m is None else jnp.asarray(m, work))
    return None if value is None else value.astype(dtype)


def describe(phi: Pointwise, *, accuracy: float = 1e-6) -> Description:
    """What `expect` makes of a function: recognition, rule and error estimate.

    The error of numerical rules is relative to √(E[φ²]E[ψ²]); not-a-number where it cannot be known. A function
    with known parameters is recognised at its first use, so is best described after it.
    """
    found = (recognise(phi) or known_family(phi)) if phi.arity == 1 else None
    if found is not None:
        return Description(found.name, str(found), "closed form", 0.0)
    rule, error = _numerical(phi, accuracy)
    return Description(phi.label, "", rule, error)


def _numerical(phi: Pointwise, accuracy: float) -> tuple[str, float]:
    from widelimit.gaussian._quadrature import describe_one
    from widelimit.gaussian._several import describe_several

    return describe_one(phi, accuracy) if phi.arity < 2 else describe_several(phi, phi, accuracy)

"""The choice between the rules for E[φ(u; θ) ψ(v; θ')]."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from widelimit.gaussian import _closed
from widelimit.gaussian._closed import Law
from widelimit.gaussian._pointwise import ONE, Joint, Pointwise, derivative
from widelimit.gaussian._family import form, known_family
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
    sides = (phi, psi, joint, left_params, right_params)
    if _independent(joint):
        left = _one_sided(phi, joint.left, joint.left_mean, left_params, accuracy)
        return left * _one_sided(psi, joint.right, joint.right_mean, right_params, accuracy)
    if phi.arity == psi.arity == 1:
        for rule in (_closed_pair, partial(_stein, accuracy), partial(_stein_swapped, accuracy)):
            found = rule(*sides)
            if found is not None:
                return found
        return _pair_quadrature(*sides, accuracy)
    return _several(*sides, accuracy)


def _independent(joint: Joint) -> bool:
    return all(c is None for row in joint.cross for c in row)


def _closed_pair(phi: Pointwise, psi: Pointwise, joint: Joint, left_params: tuple, right_params: tuple) -> Array | None:
    """By closed form, if both functions have one together; a variance that is a structural zero is filled."""
    entries = joint.left[0][0], joint.cross[0][0], joint.right[0][0]
    means = joint.left_mean[0], joint.right_mean[0]
    dtype = _dtype(*entries, *means)
    work = jnp.promote_types(dtype, jnp.float32)
    f = form(phi, left_params, work)
    g = form(psi, right_params, work) if f is not None else None
    if f is None or g is None:
        return None
    k11, c, k22 = (jnp.zeros((), work) if x is None else jnp.asarray(x, work) for x in entries)
    m1, m2 = (None if x is None else jnp.asarray(x, work) for x in means)
    value = _closed.pair(f, g, Law(k11, c, k22, m1, m2))
    return None if value is None else value.astype(dtype)


def _stein(accuracy: float, phi: Pointwise, psi: Pointwise, joint: Joint, left_params: tuple, right_params: tuple) -> Array | None:
    """E[(a + b u) ψ(v)] = E[a + b u] E[ψ(v)] + b c E[ψ'(v)] for a ψ without jumps: nothing to integrate for each pair."""
    from widelimit.gaussian._jumps import jumps

    line = recognise(phi) if not left_params else None
    if line is None or line.terms or len(line.polynomial) > 2 or right_params or jumps(psi, ()):
        return None
    offset, slope = (*line.polynomial, 0.0, 0.0)[:2]
    right = partial(_one_sided, covariance=joint.right, means=joint.right_mean, params=right_params, accuracy=accuracy)
    value = slope * joint.cross[0][0] * right(derivative(psi, 0))
    centre = offset if joint.left_mean[0] is None else offset + slope * joint.left_mean[0]
    if isinstance(centre, float) and centre == 0:
        return value
    return value + centre * right(psi)


def _stein_swapped(accuracy: float, phi, psi, joint: Joint, left_params: tuple, right_params: tuple) -> Array | None:
    """The same with the line on the right."""
    return _stein(accuracy, psi, phi, joint.swapped(), right_params, left_params)


def _dtype(*arrays: Array | None) -> Any:
    """The floating type that a law's entries are computed in."""
    return jnp.result_type(float, *(x for x in arrays if x is not None))


def _pair_quadrature(phi, psi, joint, left_params, right_params, accuracy: float) -> Array:
    from widelimit.gaussian._quadrature import expect_one

    return expect_one(phi, psi, joint, left_params, right_params, accuracy=accuracy)


def _several(phi, psi, joint, left_params, right_params, accuracy: float) -> Array:
    from widelimit.gaussian._several import expect_several

    return expect_several(phi, psi, joint, left_params, right_params, accuracy=accuracy)


def _one_sided(phi: Pointwise, covariance: tuple, means: tuple, params: tuple, accuracy: float) -> Array:
    """E[φ(u; θ)]."""
    if all(k is None for row in covariance for k in row):
        return phi.fn(*(jnp.zeros(()) if m is None else m for m in means), *params)
    if phi.arity == 1:
        found = _closed_mean(phi, covariance[0][0], means[0], params)
        if found is not None:
            return found
    alone = Joint(covariance, (), tuple(() for _ in covariance), means, ())
    integrate = _pair_quadrature if phi.arity == 1 else _several
    return integrate(phi, ONE, alone, params, (), accuracy)


def _closed_mean(phi: Pointwise, k: Array, m: Array | None, params: tuple) -> Array | None:
    dtype = _dtype(k, m)
    work = jnp.promote_types(dtype, jnp.float32)
    found = form(phi, params, work)
    if found is None:
        return None
    value = _closed.mean(found, jnp.asarray(k, work), None if m is None else jnp.asarray(m, work))
    return None if value is None else value.astype(dtype)


def describe(phi: Pointwise, *, accuracy: float = 1e-6) -> Description:
    """What `expect` makes of a function: recognition, rule and error estimate.

    The error of numerical rules is the one they stop at, relative to √(E[φ²]E[ψ²]). A function with known
    parameters is described after its first use.
    """
    found = (recognise(phi) or known_family(phi)) if phi.arity == 1 else None
    if found is not None:
        return Description(found.name, str(found), "closed form", 0.0)
    rule = "quadrature" if phi.arity == 1 else "several Gaussians"
    return Description(phi.label, "", rule, accuracy)

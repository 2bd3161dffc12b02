"""The choice between the rules for E[φ(u; θ) ψ(v; θ')]."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from widelimit.gaussian import _closed
from widelimit.gaussian._closed import Law
from widelimit.gaussian._pointwise import ONE, Joint, Pointwise
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
        return _one_sided(sides, 0, accuracy) * _one_sided(sides, 1, accuracy)
    if phi.arity == psi.arity == 1:
        found = None if left_params or right_params else _closed_pair(phi, psi, joint)
        return _pair_quadrature(sides, accuracy) if found is None else found
    return _several(sides, accuracy)


def _independent(joint: Joint) -> bool:
    return all(c is None for row in joint.cross for c in row)


def _closed_pair(phi: Pointwise, psi: Pointwise, joint: Joint) -> Array | None:
    """By closed form, if both functions have one together; a variance that is a structural zero is filled."""
    f, g = recognise(phi), recognise(psi)
    if f is None or g is None:
        return None
    entries = joint.left[0][0], joint.cross[0][0], joint.right[0][0]
    means = joint.left_mean[0], joint.right_mean[0]
    dtype = _dtype(*entries, *means)
    k11, c, k22 = (jnp.zeros((), dtype) if x is None else jnp.asarray(x, dtype) for x in entries)
    m1, m2 = (None if x is None else jnp.asarray(x, dtype) for x in means)
    return _closed.pair(f, g, Law(k11, c, k22, m1, m2))


def _dtype(*arrays: Array | None) -> jnp.dtype:
    """The floating type that a law's entries are computed in."""
    return jnp.result_type(float, *(x for x in arrays if x is not None))


def _pair_quadrature(sides: tuple, accuracy: float) -> Array:
    from widelimit.gaussian._quadrature import expect_one

    return expect_one(*sides, accuracy)


def _several(sides: tuple, accuracy: float) -> Array:
    from widelimit.gaussian._several import expect_several

    return expect_several(*sides, accuracy)


def _one_sided(sides: tuple, side: int, accuracy: float) -> Array:
    """E[φ(u)] for one of the two sides."""
    phi, params = sides[side], sides[3 + side]
    joint = sides[2]
    covariance = (joint.left, joint.right)[side]
    means = (joint.left_mean, joint.right_mean)[side]
    if all(k is None for row in covariance for k in row):
        return phi.fn(*(jnp.zeros(()) if m is None else m for m in means), *params)
    if phi.arity == 1 and not params:
        form = recognise(phi)
        found = None if form is None else _closed.mean(form, covariance[0][0], means[0])
        if found is not None:
            return found
    alone = Joint(covariance, (), tuple(() for _ in covariance), means, ())
    return _several((phi, ONE, alone, params, ()), accuracy)


def describe(phi: Pointwise, *, accuracy: float = 1e-6) -> Description:
    """What `expect` makes of a function: recognition, rule and error estimate."""
    form = recognise(phi) if phi.arity == 1 else None
    if form is not None:
        return Description(form.name, str(form), "closed form", 0.0)
    rule = "quadrature" if phi.arity == 1 else "several Gaussians"
    return Description(phi.label, "", rule, accuracy)

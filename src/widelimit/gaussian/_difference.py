"""E[(φ(u) − ψ(v))²]: how far two nearly equal Gaussians are apart after a function with a kink."""

import jax.numpy as jnp
from jax import Array, lax

from widelimit.gaussian._angle import Gap, half_angle
from widelimit.gaussian._forms import Form, Rectified
from widelimit.gaussian._pointwise import Joint, Pointwise
from widelimit.gaussian._recognise import recognise
from widelimit.gaussian._rectified import lens


def has_kink(phi: Pointwise) -> bool:
    """Whether E[φψ] is by a closed form in the angle between its arguments, which for nearly equal ones needs their gap."""
    form = recognise(phi) if phi.arity == 1 else None
    return form is not None and any(isinstance(a, Rectified) and a.order <= 1 for _, a in form.terms)


def squared_difference(phi: Pointwise, psi: Pointwise, joint: Joint) -> Array | None:
    """E[(φ(u) − ψ(v))²] from g = `joint.gap` = E[(u − v)²]; `None` where there is no closed form.

    Args:
        phi: function of one centred Gaussian, without parameters.
        psi: the same function, of the other side.
        joint: their law, with its gap.

    For φ(u) = α u + β u₊ it is ½(α² + (α + β)²) g − β² (√(k11 k22) sin θ − c θ)/π, for β 1[u > 0] it is β² θ/π: the
    digits of nearly equal arguments are kept. No derivative is taken of it.
    """
    form, other = recognise(phi), recognise(psi)
    if form is None or form != other or joint.gap is None:
        return None
    line, kink = _line(form), _kink(form)
    if line is None or kink is None:
        return None
    entries = (joint.left[0][0], joint.cross[0][0], joint.right[0][0], joint.gap)
    weight, order = kink
    if any(x is None for x in entries) or (order == 0 and line):
        return None
    k11, c, k22, gap = map(lax.stop_gradient, entries)
    law = k11, c, k22, Gap(gap, joint.positive)
    return _steps(weight, law) if order == 0 else _rays(line, weight, law)


def is_nonnegative(phi: Pointwise) -> bool:
    """Whether φ >= 0 is known of a function with one kink."""
    form = recognise(phi) if phi.arity == 1 else None
    if form is None or _line(form) is None or _kink(form) is None:
        return False
    (weight, order), constant = _kink(form), float((*form.polynomial, 0.0)[0])
    slopes = (_line(form), _line(form) + weight) if order else (_line(form), _line(form))
    return slopes[0] <= 0 <= slopes[1] and min(constant, constant + (0.0 if order else weight)) >= 0


def _line(form: Form) -> float | None:
    """α of a polynomial of degree one."""
    return None if len(form.polynomial) > 2 else float((*form.polynomial, 0.0, 0.0)[1])


def _kink(form: Form) -> tuple[float, int] | None:
    """`(β, order)` of a function with one kink or step."""
    match form.terms:
        case ((weight, Rectified(order=order)),) if order <= 1:
            return weight, order
    return None


def _rays(alpha: float, beta: float, law: tuple) -> Array:
    """By E[(u₊ − v₊)²] = g/2 − `lens` and E[(u − v)(u₊ − v₊)] = g/2."""
    gap = law[-1].value
    return jnp.maximum(gap * ((alpha**2 + (alpha + beta) ** 2) / 2) - beta**2 * lens(*law), 0)


def _steps(beta: float, law: tuple) -> Array:
    """β² P(u and v have different signs)."""
    acute, c = half_angle(*law).acute, law[1]
    return beta**2 * jnp.where(c < 0, jnp.pi - acute, acute) / jnp.pi

"""Functions that vary nonlinearly in one direction only: φ(u) = ℓ·u + g(a·u).

Their gradients ℓ + g'(a·u) a lie on a line. max(u, w) = (u + w)/2 + |u - w|/2 is one of them, so that expectations of maxima of
two Gaussians are those of linear and absolute values of one Gaussian, in closed form.
"""

from typing import NamedTuple

import numpy as np

from widelimit.gaussian._landscape import Unevaluable, gradients, neat, values
from widelimit.gaussian._pointwise import IDENTITY, Joint, Pointwise

_WIDEST = 6  # arguments of a function that is asked whether it is a ridge
_ROUNDING = 1e-11


class Ridge(NamedTuple):
    """φ(u) = ℓ·u + g(a·u)."""

    slope: np.ndarray
    direction: np.ndarray
    profile: Pointwise


def ridge(phi: Pointwise) -> Ridge | None:
    """φ as a ridge, if it is one; a function of one Gaussian is one as it stands."""
    return phi.remember("ridge", lambda: _ridge(phi))


def _ridge(phi: Pointwise) -> Ridge | None:
    p = phi.arity
    if p == 1:
        return Ridge(np.zeros(1), np.ones(1), phi)
    if not 0 < p <= _WIDEST:
        return None
    try:
        return _fitted(phi)
    except Unevaluable:
        return None


def _fitted(phi: Pointwise) -> Ridge | None:
    u = np.random.default_rng(3).normal(size=(phi.arity, 4096)) * np.geomspace(0.1, 5, 4096)
    slopes = gradients(phi, u)
    centre = slopes.mean(1, keepdims=True)
    axes, sizes, _ = np.linalg.svd(slopes - centre, full_matrices=False)
    if not np.all(np.isfinite(slopes)) or sizes[0] < 1e-6 * np.linalg.norm(slopes) or sizes[1] > 1e-7 * sizes[0]:
        return None
    direction = neat(axes[:, 0])
    slope = centre[:, 0] - direction * (direction @ centre[:, 0])
    slope = np.where(np.abs(np.round(slope * 5040) / 5040 - slope) < _ROUNDING, np.round(slope * 5040) / 5040, slope)
    found = Ridge(slope, direction, _profile(phi, direction))
    error = values(phi, u) - slope @ u - values(found.profile, (direction @ u)[None])
    size = np.abs(values(phi, u)) + np.linalg.norm(u, axis=0) * np.linalg.norm(slopes) / 64
    return found if np.all(np.abs(error) <= _ROUNDING * (size + 1e-6 * size.max())) else None


def _profile(phi: Pointwise, direction: np.ndarray) -> Pointwise:
    along = direction.tolist()
    return Pointwise(lambda t: phi.fn(*(a * t for a in along)), 1, phi.label)


def of_one_gaussian(phi: Ridge, psi: Ridge, joint: Joint) -> list[tuple[Pointwise, Pointwise, Joint]]:
    """The expectations of one Gaussian a side that add up to E[φψ]."""
    lefts = [(f, a) for f, a in ((IDENTITY, phi.slope), (phi.profile, phi.direction)) if np.any(a)]
    rights = [(g, b) for g, b in ((IDENTITY, psi.slope), (psi.profile, psi.direction)) if np.any(b)]
    return [(f, g, _along(joint, a, b)) for f, a in lefts for g, b in rights]


def _along(joint: Joint, a: np.ndarray, b: np.ndarray) -> Joint:
    """The law of (a·u, b·v)."""

    def form(x, matrix, y):
        return _total(
            [(float(p * q), c) for p, row in zip(x, matrix, strict=True) for q, c in zip(y, row, strict=True)]
        )

    left, cross, right = form(a, joint.left, a), form(a, joint.cross, b), form(b, joint.right, b)
    means = (_total([*zip(map(float, x), m, strict=True)]) for x, m in ((a, joint.left_mean), (b, joint.right_mean)))
    return Joint(((left,),), ((right,),), ((cross,),), *((m,) for m in means))


def _total(terms):
    """Σ c x without what is structurally zero; None if nothing is left."""
    found = [c * x for c, x in terms if c and x is not None]
    return sum(found[1:], found[0]) if found else None

"""The largest laws that expectations of several Gaussians meet: their rules are measured there too, after the numbers."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian._batched import after_vmap, aligned
from widelimit.gaussian._landscape import Unevaluable
from widelimit.gaussian._missed import measures
from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._rules import rule_for
from widelimit.gaussian._sides import tolerance
from widelimit.gaussian._trial import LARGEST, Trial, in_units

_GROWTH = 1.5  # of a variance: by so much more than the last law that was noted, and a law is noted
_SLACK = 2.0  # errors are estimates: by so much more than was said beforehand, and they are said


class _Met:
    """A law that was met; called, the error there of the rule for this accuracy, if that is more than was said."""

    def __init__(self, trial: Trial, accuracy: float, dtype: np.dtype) -> None:
        self.trial, self.accuracy, self.tolerance = trial, accuracy, tolerance(accuracy, dtype)

    @property
    def variance(self) -> float:
        return float(self.trial.covariance.diagonal().max())

    def __call__(self) -> float:
        return self._missed

    @cached_property
    def _missed(self) -> float:
        rule = rule_for(self.trial.phi, self.trial.psi, self.accuracy)
        try:
            error, said = rule.measured([in_units(self.trial)]), max(self.tolerance, np.nan_to_num(rule.error))
        except Unevaluable:  # cannot be evaluated outside of its program: what was said is that the error is not known
            return 0.0
        return error if error > _SLACK * said else 0.0


def meeting(phi: Pointwise, psi: Pointwise, accuracy: float) -> Callable[..., Array]:
    """(expectation, law, params, params) -> expectation; when it is computed the largest law is noted.

    Only of laws with variances beyond those at which rules are chosen.
    """
    watched = after_vmap(partial(_watched, partial(_note, (phi, psi, accuracy))))
    return lambda *args: watched(*aligned(*args))


def _watched(note: Callable[..., None], value: Array, law: tuple, *params: tuple) -> Array:
    left, right, *_ = law
    own = [side[i][i] for side in (left, right) for i in range(len(side)) if side[i][i] is not None]
    if own:
        variances = jnp.max(jnp.stack([jnp.broadcast_to(x, value.shape).reshape(-1) for x in own]), 0)
        place = jnp.argmax(variances)
        here = jax.tree.map(lambda x: jnp.broadcast_to(x, value.shape).reshape(-1)[place], (law, *params))
        lax.cond(variances[place] > LARGEST, lambda: jax.debug.callback(note, *here), lambda: None)
    return value


def _note(task: tuple[Pointwise, Pointwise, float], law: tuple, lp: tuple, rp: tuple) -> None:
    phi, psi, accuracy = task
    parameters, dtype = (tuple(map(np.asarray, lp)), tuple(map(np.asarray, rp))), jax.tree.leaves(law)[0].dtype
    new = _Met(Trial(phi, psi, *_numbers(law), parameters), accuracy, dtype)
    old = measures(phi).get((psi, accuracy))
    if np.isfinite(new.trial.covariance).all() and (old is None or new.variance > _GROWTH * old.variance):
        measures(phi)[psi, accuracy] = new


def _numbers(law: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The joint covariance and mean of one law."""
    left, right, cross, m1, m2 = law
    rows = [(*a, *c) for a, c in zip(left, cross, strict=True)]
    rows += [(*(row[j] for row in cross), *b) for j, b in enumerate(right)]
    return _filled(rows), _filled((*m1, *m2))


def _filled(tree: Any) -> np.ndarray:
    """`None` is zero."""
    return np.asarray(jax.tree.map(lambda x: 0.0 if x is None else float(x), tree, is_leaf=lambda x: x is None))

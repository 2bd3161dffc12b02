"""The largest laws that expectations of several Gaussians meet: rules are measured there too, and chosen anew where they fail."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from widelimit.gaussian._batched import after_vmap, aligned
from widelimit.gaussian._landscape import Unevaluable
from widelimit.gaussian._missed import measures, parts
from widelimit.gaussian._pointwise import Pointwise
from widelimit.gaussian._rules import Rule, generation, laws, rule_for
from widelimit.gaussian._sides import tolerance
from widelimit.gaussian._trial import LARGEST, Trial, in_units

_GROWTH = 1.5  # of a second moment: by so much more than the last law that was noted, and a law is noted
_SLACK = 2.0  # errors are estimates: by so much more than was said beforehand, and they are said


class _Met:
    """A law that was met, and the accuracy that is asked for there."""

    def __init__(self, trial: Trial, accuracy: float, dtype: np.dtype) -> None:
        self.trial, self.accuracy, self.tolerance = trial, accuracy, tolerance(accuracy, dtype)
        self.size = _largest(trial)

    def __call__(self) -> float:
        """The error of the rule there, if it is more than was said beforehand, else 0."""
        said = max(self.tolerance, np.nan_to_num(self._rule.error))
        return self._error if self._error > _SLACK * said else 0.0

    def renew(self) -> None:
        """Have rules chosen for this law too, if the one so far fails here and that has not been tried."""
        phi, psi, *_ = self.trial
        if self() and not any(_GROWTH * _largest(t) >= self.size for t in laws(phi, psi)):
            laws(phi, psi).append(in_units(self.trial))

    @property
    def _rule(self) -> Rule:
        return rule_for(self.trial.phi, self.trial.psi, self.accuracy)

    @property
    def _error(self) -> float:
        """Measured once for laws of like size; 0 where a function cannot be evaluated outside of its program."""
        phi, psi, *_ = self.trial
        known = phi.remember(("errors", psi, self._rule.name), dict)
        near = [v for v in known if v / _GROWTH <= self.size <= v]
        if not near:
            near = [self.size]
            known[self.size] = self._measured()
        return known[near[0]]

    def _measured(self) -> float:
        try:
            return self._rule.measured([in_units(self.trial)])
        except Unevaluable:
            return 0.0


def _largest(trial: Trial) -> float:
    """The largest second moment."""
    return float((trial.covariance.diagonal() + trial.mean**2).max())


def renew(phi: Pointwise) -> int:
    """Choose rules for φ anew where laws that were met since they were last forgotten need it; how often that was done in all.

    What was traced when the number was another has old rules. What is still being computed has not been met: tiles are asked
    about without waiting for the next ones.
    """
    for met in list(measures(phi).values()):
        met.renew()
    return generation(phi) + sum(map(renew, parts(phi)))


def meeting(phi: Pointwise, psi: Pointwise, accuracy: float) -> Callable[..., Array]:
    """(expectation, law, params, params) -> expectation; when it is computed the largest law is noted.

    Only of laws whose arguments have second moments beyond those at which rules are chosen.
    """
    watched = after_vmap(partial(_watched, partial(_note, (phi, psi, accuracy))))
    return lambda *args: watched(*aligned(*args))


def _watched(note: Callable[..., None], value: Array, law: tuple, *params: tuple) -> Array:
    left, right, _, m1, m2 = law
    squares = [k for side in (left, right) for k in (side[i][i] for i in range(len(side)))]
    own = [_second_moment(k, m) for k, m in zip(squares, (*m1, *m2), strict=True)]
    sizes = reduce(jnp.maximum, (jnp.broadcast_to(x, value.shape).reshape(-1) for x in own))
    place = jnp.argmax(sizes)
    here = jax.tree.map(lambda x: jnp.broadcast_to(x, value.shape).reshape(-1)[place], (law, *params))
    lax.cond(sizes[place] > LARGEST, lambda: jax.debug.callback(note, *here), lambda: None)
    return value


def _second_moment(variance: Array | None, mean: Array | None) -> Array | float:
    return (0.0 if variance is None else variance) + (0.0 if mean is None else mean**2)


def _note(task: tuple[Pointwise, Pointwise, float], law: tuple, lp: tuple, rp: tuple) -> None:
    phi, psi, accuracy = task
    parameters, dtype = (tuple(map(np.asarray, lp)), tuple(map(np.asarray, rp))), jax.tree.leaves(law)[0].dtype
    new = _Met(Trial(phi, psi, *_numbers(law), parameters), accuracy, dtype)
    old = measures(phi).get((psi, accuracy))
    if np.isfinite(new.trial.covariance).all() and (old is None or new.size > _GROWTH * old.size):
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

"""Finite networks, trained, beside the limit trained in the same way."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PyTree
from numpy import ndarray

from widelimit._progress import bar
from widelimit.limit import Kernel
from widelimit.network import Network

from ._demo_data import Images
from ._demo_settings import Settings
from ._descent import Descent, outputs, train
from ._regression import accuracy


class Scores(NamedTuple):
    """Of one network: right answers, answers that are the limit's (shares), and the distance from the limit after one step and at the end.

    A distance is the root mean square of the difference from the limit's outputs, over that of these outputs.
    """

    accuracy: float
    agreement: float
    first: float
    distance: float


@dataclass(frozen=True)
class Finite:
    """What training finite networks showed, by width and network."""

    widths: tuple[int, ...]
    scores: list[list[Scores]]
    limit_accuracy: float

    def means(self, name: str) -> list[float]:
        """Of one score, by width."""
        return [float(np.mean(found)) for found in self._each(name)]

    def spreads(self, name: str) -> list[float]:
        """Standard deviations over the networks of a width; not a number where there is one network."""
        return [float(np.std(found, ddof=1)) if len(found) > 1 else float("nan") for found in self._each(name)]

    def _each(self, name: str) -> list[list[float]]:
        return [[getattr(one, name) for one in of_width] for of_width in self.scores]

    def exponent(self, name: str) -> float:
        """The slope of a log score over log width. Not a number for one width."""
        if len(self.widths) < 2:
            return float("nan")
        return float(np.polyfit(np.log(self.widths), np.log(self.means(name)), 1)[0])


class Outputs(NamedTuple):
    """Test outputs g = f_t − f_0 after one step and at the end."""

    first: Float[ndarray, "n outputs"]
    last: Float[ndarray, "n outputs"]


def compare(
    net: Network,
    kernel: Kernel,
    data: tuple[Images, Images],
    descent: Descent,
    *,
    limit: Outputs,
    settings: Settings,
) -> Finite:
    """Train networks at each width and compare their test outputs with the limit's."""
    labels = data[1].labels
    scores = [
        [_score(found, limit, labels) for found in _trained(net, kernel, data, descent, (width, settings))]
        for width in settings.widths
    ]
    return Finite(settings.widths, scores, accuracy(limit.last, labels))


def _trained(
    net: Network, kernel: Kernel, data: tuple[Images, Images], descent: Descent, at: tuple[int, Settings]
) -> list[Outputs]:
    """The outputs of every network at one width."""
    width, settings = at
    base = jax.random.fold_in(settings.key("networks"), width)
    init, rates, count = jax.jit(net.init, static_argnums=1), kernel.rates(width), settings.networks_at(width)
    results = []
    for number in range(count):
        watch = partial(bar, desc=f"width {width:>4}, network {number + 1} of {count}", unit="step")
        start = init(jax.random.fold_in(base, number), width)
        results.append(_outputs(net, start, data, descent, partial(train, rates=rates, watch=watch)))
    return results


def _outputs(net: Network, start: PyTree, data: tuple[Images, Images], descent: Descent, train: Callable) -> Outputs:
    training, test = data
    steps = train(net, start, (training.images, training.targets), descent=descent)
    first = next(steps)
    (last,) = deque(steps, maxlen=1) or (first,)
    before = outputs(net.apply, start, test.images)
    return Outputs(*(outputs(net.apply, params, test.images) - before for params in (first, last)))


def _score(found: Outputs, limit: Outputs, labels: ndarray) -> Scores:
    same = found.last.argmax(1) == limit.last.argmax(1)
    return Scores(
        accuracy(found.last, labels),
        float(same.mean()),
        _distance(found.first, limit.first),
        _distance(found.last, limit.last),
    )


def _distance(found: ndarray, limit: ndarray) -> float:
    return float(np.linalg.norm(found - limit) / np.linalg.norm(limit))

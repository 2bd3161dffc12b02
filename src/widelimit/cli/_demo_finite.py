"""Finite networks, trained, beside the limit trained in the same way."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from widelimit.limit import Kernel
from widelimit.network import Network

from ._demo_data import Images
from ._demo_settings import Settings
from ._descent import Descent, outputs, train
from ._regression import accuracy
from ._stages import watched


class Scores(NamedTuple):
    """Of one network: the share of right answers, the distance from the limit, and the share of answers that are the limit's."""

    accuracy: float
    distance: float
    agreement: float


@dataclass(frozen=True)
class Finite:
    """What training finite networks showed; distances are root mean squares over test images and outputs."""

    widths: tuple[int, ...]
    scores: list[list[Scores]]
    limit_accuracy: float
    limit_size: float

    def means(self, name: str) -> list[float]:
        """Of one score, by width."""
        return [float(np.mean(found)) for found in self._each(name)]

    def spreads(self, name: str) -> list[float]:
        """Standard deviations over the networks of a width; not a number where there is one network."""
        return [float(np.std(found, ddof=1)) if len(found) > 1 else float("nan") for found in self._each(name)]

    def _each(self, name: str) -> list[list[float]]:
        return [[getattr(one, name) for one in of_width] for of_width in self.scores]

    @property
    def exponent(self) -> float:
        """The slope of log distance over log width: −1/2 by the theory. Not a number for one width."""
        if len(self.widths) < 2:
            return float("nan")
        return float(np.polyfit(np.log(self.widths), np.log(self.means("distance")), 1)[0])


def compare(
    net: Network,
    kernel: Kernel,
    data: tuple[Images, Images],
    descent: Descent,
    *,
    limit_outputs: Float[ndarray, "n outputs"],
    settings: Settings,
) -> Finite:
    """Train networks at each width and compare their test outputs, less those at their start, with the limit's."""
    labels = data[1].labels
    scores = [
        [_score(trained, limit_outputs, labels) for trained in _trained(net, kernel, data, descent, (width, settings))] for width in settings.widths
    ]
    return Finite(settings.widths, scores, accuracy(limit_outputs, labels), _rms(limit_outputs))


def _trained(net: Network, kernel: Kernel, data: tuple[Images, Images], descent: Descent, at: tuple[int, Settings]) -> list[ndarray]:
    """The test outputs g = f_t − f_0 of every network at one width."""
    (training, test), (width, settings) = data, at
    count = settings.networks_at(width)
    init, results = jax.jit(net.init, static_argnums=1), []
    for number in range(count):
        key = jax.random.fold_in(jax.random.fold_in(settings.key("networks"), width), number)
        start = init(key, width)
        watch = partial(watched, name=f"width {width:>4}, network {number + 1} of {count}", unit="step")
        end = train(net, start, (training.images, training.targets), descent=descent, rates=kernel.rates(width), watch=watch)
        results.append(outputs(net.apply, end, test.images) - outputs(net.apply, start, test.images))
    return results


def _score(trained: ndarray, limit_outputs: ndarray, labels: ndarray) -> Scores:
    same = trained.argmax(1) == limit_outputs.argmax(1)
    return Scores(accuracy(trained, labels), _rms(trained - limit_outputs), float(same.mean()))


def _rms(a: ndarray) -> float:
    return float(np.sqrt(np.mean(a**2)))

"""The demonstration: a convolutional Flax network and its infinite-width limit, on real images."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from widelimit.limit import Kernel, limit
from widelimit.network import Network, from_flax

from ._demo_data import Images, by_class, mnist, one_of_each
from ._demo_report import Finite, print_finite, print_regression, result
from ._descent import MOMENTUM, Descent, outputs, train
from ._extras import require
from ._regression import Regression, accuracy
from ._stages import Stages, say, watched

_PACKAGES = ("flax", "mlxtend", "matplotlib", "scipy", "tqdm")


@dataclass(frozen=True)
class Settings:
    """What `widelimit demo` can be asked for; see its options."""

    out: Path
    train: int
    test: int
    widths: tuple[int, ...]
    networks: int = 2
    epochs: int = 2
    batch: int = 64
    ridge: float = 1e-4
    seed: int = 0

    def key(self, purpose: int) -> Any:
        return jax.random.fold_in(jax.random.key(self.seed), purpose)


class Grams(NamedTuple):
    """Kernels between training images, and from test images to them."""

    train: Any
    cross: Any


def run(settings: Settings) -> None:
    """All stages, printed and drawn."""
    require(_PACKAGES, command="widelimit demo", extra="demo")
    _check_folder(settings.out)
    stages = Stages()
    with stages("Read the images"):
        data = mnist(settings.train, settings.test, settings.key(0))
        say(f"MNIST-5k: {settings.train} training and {settings.test} test images of 28 × 28, ten digits")
    with stages("Read the network as a Tensor Program"):
        net = _network()
        kernel = _limit(net, data[0])
    with stages("Compute NNGP and NTK"):
        grams = _grams(kernel, data)
    with stages("Fit both by kernel regression"):
        fits = _fits(grams, data, settings)
    with stages("Train finite networks"):
        finite = _finite(net, kernel, grams, data, settings)
    with stages("Draw"):
        _draw(result(fits, finite, settings, data, np.asarray(grams.train.ntk), stages.seconds), settings.out)


def _check_folder(out: Path) -> None:
    """Before minutes of work, not after them."""
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"`--out {out}`: there is no folder {out.absolute().parent}")

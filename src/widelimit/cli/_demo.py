"""The demonstration: a convolutional Flax network and its infinite-width limit, on real images."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from widelimit.limit import Kernel, limit
from widelimit.network import Network, from_flax

from ._demo_data import Images, mnist
from ._demo_finite import Finite, Outputs, compare
from ._demo_report import draw, print_finite
from ._demo_settings import Settings
from ._descent import Descent
from ._extras import require
from ._regression import Regression, accuracy
from ._stages import Stages, explain, say

_PACKAGES = ("flax", "mlxtend", "matplotlib", "scipy", "tqdm")


class Grams(NamedTuple):
    """NNGP and NTK between the training images, and from the test images to them."""

    train: Any
    cross: Any


def run(settings: Settings) -> None:
    """All stages, printed, and one picture.

    Raises ImportError that names the packages missing, ValueError for sizes that cannot be, FileNotFoundError where the picture
    has no folder.
    """
    require(_PACKAGES, command="widelimit demo", extra="demo")
    settings.check()
    stages = Stages()
    with stages("Images"):
        train, test = mnist(settings.train, settings.test, settings.key("order"))
        say(f"MNIST-5k: {settings.train} images to train on, {settings.test} to test on, 28 × 28, ten digits.")
    with stages("Tensor Program"):
        net = _network()
        kernel = _limit(net, train.images[0])
    with stages("Kernels"):
        grams = _grams(kernel, train, test)
    with stages("Regression"):
        regressions = _regressions(grams, train, test, ridge=settings.ridge)
    with stages("Finite networks"):
        finite = _finite(net, kernel, grams, (train, test), settings)
        print_finite(finite)
    draw(regressions, finite, (train, test), ntk=grams.train.ntk, seconds=stages.seconds, out=settings.out)
    say(f"\nWrote {settings.out} after {stages.total:.0f} s: {stages}")


def _network() -> Network:
    from ._demo_network import ConvNet  # flax is an extra

    return from_flax(lambda width, rngs: ConvNet(width, rngs=rngs))


def _limit(net: Network, image: Float[ndarray, "28 28 1"]) -> Kernel:
    kernel = limit(net, image)
    say("The network is a Flax module (two strided convolutions, ReLU, a dense readout). Read from its own code:\n")
    say(str(kernel.program))
    say("\nRecognised:\n")
    say(str(kernel.explain()))
    return kernel


def _grams(kernel: Kernel, train: Images, test: Images) -> Grams:
    n, m = len(train.labels), len(test.labels)
    say(f"NNGP and NTK at once: {n} × {n} (half of it, by symmetry), then {m} × {n}.")
    grams = Grams(kernel(train.images, progress=True), kernel(test.images, train.images, progress=True))
    return Grams(*(type(gram)(*map(np.asarray, gram)) for gram in grams))


def _regressions(grams: Grams, train: Images, test: Images, *, ridge: float) -> dict[str, float]:
    """The test accuracy by kernel."""
    explain(
        f"Cholesky in float64, with a ridge of {ridge:g} × the mean of the diagonal: a safeguard against the kernels' rounding "
        "to float32, too small to regularise."
    )
    shares = {}
    for name in ("nngp", "ntk"):
        fit = Regression.fit(getattr(grams.train, name), train.targets, ridge=ridge)
        shares[name] = accuracy(fit(getattr(grams.cross, name)), test.labels)
        say(f"  {name.upper():<5} test accuracy {shares[name]:.1%}")
    return shares


def _finite(net: Network, kernel: Kernel, grams: Grams, data: tuple[Images, Images], settings: Settings) -> Finite:
    ntk = np.asarray(grams.train.ntk, float)
    descent = Descent.plan(ntk, settings.key("minibatches"), size=settings.batch, epochs=settings.epochs)
    steps, size = descent.batches.shape
    drawn = ", ".join(f"{width} ({settings.networks_at(width)})" for width in settings.widths)
    explain(
        f"The same module at widths {drawn} (in brackets, how many networks): {steps} steps of gradient descent on "
        f"½ Σ (f − f₀ − y)², {size} images a step, step size {descent.step:.3g} = 1/λ_max of the NTK on a step's images. "
        "Outputs are counted from their start f₀, so that all widths share one limit: the same steps taken in function "
        "space with the NTK."
    )
    cross, targets = np.asarray(grams.cross.ntk, float), data[0].targets
    limit_outputs = Outputs(*(cross @ part.in_the_limit(ntk, targets) for part in (descent.until(1), descent)))
    return compare(net, kernel, data, descent, limit=limit_outputs, settings=settings)

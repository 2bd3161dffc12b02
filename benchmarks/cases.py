"""The networks and sizes that are timed, as data that both interpreters read.

Every network has a readout `Dense` at its end and NTK parametrisation: a weight is a standard normal number times
`weight_std / sqrt(fan_in)` (a convolution's fan_in counts its taps), a bias a standard normal number times `bias_std`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

RELU_STD = math.sqrt(2.0)


@dataclass(frozen=True)
class Dense:
    """x ↦ weight_std / sqrt(fan_in) · x W + bias_std · b."""

    weight_std: float = RELU_STD
    bias_std: float = 0.0


@dataclass(frozen=True)
class Conv:
    """Convolution of `taps` × `taps` positions, stride 1, zero padding that keeps the image's size."""

    weight_std: float = RELU_STD
    bias_std: float = 0.0
    taps: int = 3


@dataclass(frozen=True)
class Pointwise:
    """A nonlinearity by name: "relu", "tanh", "gelu" (the exact one, x Φ(x))."""

    name: str


@dataclass(frozen=True)
class AveragePool:
    """Means over windows of `size` × `size` positions that do not overlap."""

    size: int = 2


@dataclass(frozen=True)
class GlobalAveragePool:
    """The mean over all positions."""


@dataclass(frozen=True)
class Flatten:
    """All positions and channels in one row."""


@dataclass(frozen=True)
class Repeat:
    """The same layers `times` times, each with its own weights, written as a loop and not as text."""

    layers: tuple
    times: int


@dataclass(frozen=True)
class Case:
    """One network, the shape of one input, and how many inputs the symmetric Gram matrix has."""

    name: str
    title: str
    input_shape: tuple[int, ...]
    layers: tuple
    inputs: int

    @property
    def is_image(self) -> bool:
        return len(self.input_shape) == 3


class Work(NamedTuple):
    """What no program can avoid for one entry of NNGP and NTK: elements of covariance, and multiply-adds of inputs."""

    elements: int
    multiply_adds: int


def perceptron(*, hidden: int, activation: str, bias_std: float = 0.0) -> tuple:
    """`hidden` dense layers, each with its nonlinearity, and the readout."""
    return (Dense(bias_std=bias_std), Pointwise(activation)) * hidden + (Dense(),)


def looped_perceptron(*, hidden: int) -> tuple:
    """The same with ReLU, every hidden layer but the first inside one loop."""
    layer = (Dense(), Pointwise("relu"))
    return (*layer, Repeat(layer, hidden - 1), Dense())


def convolutional(*, hidden: int, head: tuple) -> tuple:
    """`hidden` 3 × 3 convolutions with ReLU, then `head` and the readout."""
    return (Conv(), Pointwise("relu")) * hidden + (*head, Dense())


def myrtle5() -> tuple:
    """Myrtle-5: four 3 × 3 convolutions with ReLU, 2 × 2 average pooling after the second, third and fourth,
    the global average and the readout (Shankar et al. 2020; the pooling to one position is the global average)."""
    block = (Conv(), Pointwise("relu"))
    return (*block, *block, AveragePool(), *block, AveragePool(), *block, AveragePool(), GlobalAveragePool(), Dense())


FLAT, IMAGE = (784,), (32, 32, 3)
FLATTENED = convolutional(hidden=20, head=(Flatten(),))
AVERAGED = convolutional(hidden=20, head=(GlobalAveragePool(),))
TANH = perceptron(hidden=3, activation="tanh", bias_std=0.1)
GELU = perceptron(hidden=3, activation="gelu", bias_std=0.1)

CASES = {
    case.name: case
    for case in (
        Case("fc3", "FC ReLU, 3 hidden", FLAT, perceptron(hidden=3, activation="relu"), 4000),
        Case("fc10", "FC ReLU, 10 hidden", FLAT, perceptron(hidden=10, activation="relu"), 2000),
        Case("cnn21-flatten", "CNN, 21 layers, flatten", IMAGE, FLATTENED, 32),
        Case("cnn21-gap", "CNN, 21 layers, global pooling", IMAGE, AVERAGED, 2),
        Case("myrtle5", "Myrtle-5", IMAGE, myrtle5(), 3),
        Case("fc3-tanh", "FC tanh, 3 hidden", FLAT, TANH, 1000),
        Case("fc3-gelu", "FC GELU, 3 hidden", FLAT, GELU, 1000),
        Case("fc100", "FC ReLU, 100 hidden, written out", FLAT, perceptron(hidden=100, activation="relu"), 500),
        Case("fc100-loop", "FC ReLU, 100 hidden, as a loop", FLAT, looped_perceptron(hidden=100), 500),
    )
}


def inputs(case: Case, count: int, *, clusters: int = 4, noise: float = 0.5, seed: int = 0) -> np.ndarray:
    """float32 inputs (count, *input_shape) in clusters, of mean square about 1, so that correlations differ."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, *case.input_shape))
    spread = rng.standard_normal((count, *case.input_shape))
    mixed = centres[np.arange(count) % clusters] + noise * spread
    return (mixed / math.sqrt(1 + noise**2)).astype(np.float32)


def work(case: Case) -> Work:
    """The `Work` of one entry: each nonlinearity maps one element per pair of positions that the head asks for,
    all pairs under a pooling, equal positions under a flatten."""
    demand = 1 if Flatten() in case.layers else 2
    side, elements = (case.input_shape[0] if case.is_image else 1), 0
    products = case.input_shape[-1] * side ** (2 * demand) if case.is_image else case.input_shape[0]
    for layer, times in _counted(case.layers):
        side = _side_after(layer, side)
        elements += times * side ** (2 * demand) * isinstance(layer, Pointwise)
    return Work(elements, products)


def _counted(layers, times: int = 1):
    for layer in layers:
        if isinstance(layer, Repeat):
            yield from _counted(layer.layers, times * layer.times)
        else:
            yield layer, times


def _side_after(layer, side: int) -> int:
    if isinstance(layer, AveragePool):
        return side // layer.size
    return 1 if isinstance(layer, GlobalAveragePool) else side

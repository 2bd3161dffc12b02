"""Networks trained by stochastic gradient descent beside kernel descent from the same start, on the same minibatches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

import widelimit as wl
from networks import OUTPUTS, SHAPE

TRAIN, TEST, BATCH = 12, 4, 4
RATE = 0.5  # of the largest stable step


class Task(NamedTuple):
    """Inputs of norm 4, labels of both losses for the training ones, and the minibatches."""

    x: np.ndarray
    classes: np.ndarray
    targets: np.ndarray
    batches: np.ndarray

    @property
    def train(self) -> np.ndarray:
        return self.x[:TRAIN]

    def labels(self, loss: Callable) -> np.ndarray:
        return self.classes if loss is wl.cross_entropy else self.targets


class Course(NamedTuple):
    """Of every network of one width: max over steps of the distance |f_network − f_kernel|, and the drift of its NTK at the end."""

    distance: np.ndarray
    drift: np.ndarray


def task(steps: int, seed: int = 0) -> Task:
    """Random inputs, and labels that depend on them."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((TRAIN + TEST, *SHAPE))
    x *= 4 / np.sqrt((x**2).sum((1, 2), keepdims=True))
    scores = np.tanh(x[:TRAIN].reshape(TRAIN, -1) @ random.standard_normal((16, OUTPUTS)) / 2)
    batches = np.stack([random.choice(TRAIN, BATCH, replace=False) for _ in range(steps)])
    return Task(x.astype(np.float32), scores.argmax(1), scores.astype(np.float32), batches)


class Limit:
    """The kernels of the task's inputs, computed once, as functions of the inputs' numbers: every network's own descent needs them."""

    def __init__(self, net: Any, x: np.ndarray):
        self.kernel = wl.limit(net, x[0])
        self._grams = tuple(np.asarray(k, float) for k in self.kernel(x))

    def __call__(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """NNGP and NTK."""
        return tuple(gram[np.ix_(rows, columns)] for gram in self._grams)

    def step(self, task: Task) -> float:
        """RATE times 2/λ, λ the largest eigenvalue of Θ on a minibatch."""
        largest = max(np.linalg.eigvalsh(self._grams[1][np.ix_(b, b)])[-1] for b in task.batches)
        return float(RATE * 2 / largest)


def courses(net: Any, limit: Limit, task: Task, *, loss: Callable, width: int, members: int, key: jax.Array) -> Course:
    """Theorem 5.3 of the paper: f_{t+1}(x) = f_t(x) − η Σ_b Θ(x, x_b) ∂L(f_t(x_b)), f_0 the network's own.

    The drift ‖Θ_T − Θ_0‖/‖Θ_0‖ is that on four training examples, at the end.
    """
    optimizer = wl.SGD(limit.step(task), task.batches)
    found = wl.finite.train(
        net,
        task.train,
        task.labels(loss),
        key=key,
        width=width,
        optimizer=optimizer,
        loss=loss,
        members=members,
        watch=task.x,
        tangent=task.x[:4],
        tangent_every=len(task.batches),
        rates=limit.kernel.rates(width),
        replica_axes=limit.kernel.replica_axes,
    )
    limits = np.stack([_descended(limit, task, optimizer, loss, start) for start in found.values[:, 0]])
    return Course(found.distance(limits), found.drift[:, -1])


def _descended(limit: Limit, task: Task, optimizer: Any, loss: Callable, start: np.ndarray) -> np.ndarray:
    """The limit's course from f_0: (steps + 1, examples, outputs)."""
    train, everywhere = np.arange(TRAIN), np.arange(TRAIN + TEST)
    fit = wl.train(limit, train, task.labels(loss), optimizer=optimizer, loss=loss, initial=lambda rows: start[rows])
    return np.asarray(fit(everywhere, t=np.arange(len(task.batches) + 1)).mean)

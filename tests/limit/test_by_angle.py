"""Networks homogeneous in one vector: their Gram matrices come from a series in the angle, to the last digit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from marks import but_slow
from networks import drawn, relu
from widelimit.limit import _by_angle
from widelimit.limit._homogeneous import homogeneous

SIZE = 40


def network(phi=relu, layers=2, *, skip=False, read=lambda x: x, bias=0.0):
    def shapes(n):
        hidden = {f"w{i}": (n if i else SIZE, n) for i in range(layers)} | {"b": (n,)}
        return hidden | {"v": (n,)}

    def apply(params, x):
        z = read(x) @ params["w0"] / jnp.sqrt(SIZE)
        z = z + bias * params["b"] if bias else z
        for i in range(1, layers):
            y = phi(z) @ params[f"w{i}"] * jnp.sqrt(2 / z.size)
            z = z + y if skip else y
        return phi(z) @ params["v"] / jnp.sqrt(z.size)

    return wl.Network(drawn(shapes), apply)


def difficult_inputs():
    """Equal, opposite, nearly both, parallel, zero, and of very different norms."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, SIZE))
    little = 1e-3 * rng.normal(size=SIZE)
    x[1:8] = x[0], -x[0], x[0] + little, -x[0] + little, 3 * x[0], 1e-6 * x[0] + 1e-9 * little, 0 * x[0]
    x[8] *= 1e5
    return x.astype(np.float32)


@pytest.fixture
def always(monkeypatch):
    """Also where there are few entries."""
    monkeypatch.setattr(_by_angle, "_WORTH", 0)


def made_by_angle(kernel):
    return any(kind.endswith("by angle") for kind, _ in vars(kernel)["_compiled"])


def in_double(net, x):
    with jax.enable_x64(True):
        return [np.asarray(k) for k in wl.limit(net, jnp.zeros(x.shape[1:], jnp.float64))(x.astype(np.float64))]


NETWORKS = {
    "relu": network(),
    "modulus": network(jnp.abs),
    "square": network(lambda z: z**2, 1),
    "skip connections": network(layers=6, skip=True),
    "data made ready": network(read=lambda x: jnp.reshape(x / 255, (-1,))),
}
MORE = {
    "deep": network(layers=50),
    "leaky": network(jax.nn.leaky_relu, 4),
    "spelled out": network(lambda z: z * (z > 0)),
}


@pytest.mark.parametrize("name", but_slow(NETWORKS | MORE, "relu", "square", "data made ready"))
def test_all_digits_for_difficult_inputs(name, always):
    net, x = (NETWORKS | MORE)[name], difficult_inputs()
    x = x.reshape(-1, 5, 8) if name == "data made ready" else x
    x = np.delete(x, 8, 0) if name == "square" else x  # norms of the fourth power
    kernel = wl.limit(net, x[0])
    for found, exact in zip(kernel(x), in_double(net, x), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1.5e-6)
    assert made_by_angle(kernel)


def test_two_sets_of_inputs(always):
    x, y = difficult_inputs(), np.random.default_rng(1).normal(size=(5, SIZE)).astype(np.float32)
    kernel = wl.limit(network(), x[0])
    np.testing.assert_allclose(kernel(x, y).ntk, in_double(network(), np.concatenate([x, y]))[1][:12, 12:], rtol=1e-6)


def test_a_frozen_network_has_no_tangent_kernel(always):
    x = difficult_inputs()
    kernel = wl.limit(network(), x[0], learning_rates=0.0)
    nngp, ntk = kernel(x)
    assert made_by_angle(kernel)
    assert not np.any(ntk)
    np.testing.assert_allclose(nngp, wl.limit(network(), x[0]).nngp(x), rtol=1e-6)


@pytest.mark.parametrize(
    "net",
    [
        network(lambda z: jnp.where(z > 0, 1.0, 0.0)),
        network(jnp.tanh),
        network(lambda z: relu(z - 0.1)),
        network(bias=0.5),
        network(lambda z: relu(z) + z**2),
    ],
    ids=["step", "tanh", "threshold", "bias", "two degrees"],
)
def test_what_is_not_homogeneous_is_left_to_the_layers(net):
    assert homogeneous(wl.limit(net, jnp.zeros(SIZE)).reading.output) is None


def test_two_arrays_of_data_are_left_to_the_layers():
    def shapes(n):
        return {"w": (SIZE, n), "u": (SIZE, n), "v": (n,)}

    def apply(params, x):
        return relu(x[0] @ params["w"] + x[1] @ params["u"]) @ params["v"] / jnp.sqrt(params["v"].size)

    kernel = wl.limit(wl.Network(drawn(shapes), apply), jnp.zeros((2, SIZE)))
    assert homogeneous(kernel.reading.output) is None


def test_a_kernel_that_vanishes_at_an_angle_is_left_to_the_layers(always):
    """A linear network's is |h||h'| cos θ: no series has all digits near π/2."""
    x = difficult_inputs()
    kernel = wl.limit(network(lambda z: 2 * z + 0 * relu(z)), x[0])
    np.testing.assert_allclose(kernel.nngp(x), 32 * x @ x.T / SIZE, rtol=1e-5)
    assert not made_by_angle(kernel)


def test_few_entries_are_left_to_the_layers():
    x = difficult_inputs()
    kernel = wl.limit(network(), x[0])
    kernel(x)
    assert not made_by_angle(kernel)


def test_double_precision_is_left_to_the_layers(always):
    with jax.enable_x64(True):
        x = difficult_inputs().astype(np.float64)
        kernel = wl.limit(network(), x[0])
        kernel(x)
        assert not made_by_angle(kernel)

"""What moves positions about, sums over them or multiplies by weights, against the exact kernels of one hidden layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import networks
from networks import relu
from one_layer import assert_exact, quadratic


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def check(shapes, hidden, output, shape, phi=relu):
    assert_exact(shapes, hidden, output, numbers(*shape), numbers(*shape, seed=1), phi)


POOLS = {
    "sum": lambda h: lax.reduce_window(h, 0.0, lax.add, (2, 1), (1, 1), "VALID"),
    "sum, same": lambda h: lax.reduce_window(h, 0.0, lax.add, (3, 1), (2, 1), "SAME"),
    "average of those inside": lambda h: (
        lax.reduce_window(h, 0.0, lax.add, (3, 1), (2, 1), "SAME")
        / lax.reduce_window(jnp.ones_like(h), 0.0, lax.add, (3, 1), (2, 1), "SAME")
    ),
    "global average": lambda h: h.mean(0),
    "global average kept": lambda h: h.mean(0, keepdims=True),
    "sums so far": lambda h: jnp.cumsum(h, 0),
    "sums from the end": lambda h: lax.cumsum(h, 0, reverse=True),
    "last": lambda h: h[-1],
    "every other": lambda h: h[::2],
    "reversed": lambda h: jnp.flip(h, 0),
    "rolled": lambda h: jnp.roll(h, 1, 0),
    "picked": lambda h: h[jnp.array([2, 0, 2])],
    "wrapped": lambda h: jnp.pad(h, ((1, 2), (0, 0)), mode="wrap"),
    "reflected": lambda h: jnp.pad(h, ((1, 2), (0, 0)), mode="reflect"),
    "edges repeated": lambda h: jnp.pad(h, ((1, 2), (0, 0)), mode="edge"),
    "padded with zeros": lambda h: jnp.pad(h, ((1, 2), (0, 0))),
    "tiled": lambda h: jnp.tile(h, (2, 1)),
    "repeated": lambda h: jnp.repeat(h, 2, 0),
    "causal mask": lambda h: jnp.tril(jnp.ones((4, 4))) @ h,
    "known matrix from the right": lambda h: (h.T @ jnp.arange(12.0).reshape(4, 3)).T,
    "einsum": lambda h: jnp.einsum("ij,jn->in", jnp.arange(8.0).reshape(2, 4), h),
    "masked": lambda h: jnp.where(jnp.array([True, False, True, True])[:, None], h, 0.0),
    "shapes": lambda h: h.reshape(2, 2, -1).transpose(1, 0, 2).reshape(4, -1),
    "joined": lambda h: jnp.concatenate([h[2:], h[:1]], 0),
    "stacked": lambda h: jnp.stack([h[1], h[0] + h[3]]),
    "split": lambda h: jnp.split(h, 2)[1],
    "split and added": lambda h: sum(jnp.split(h, 2)),
    "dynamic slice": lambda h: lax.dynamic_slice_in_dim(h, 1, 2),
    "by the position": lambda h: jax.vmap(lambda row: 2.0 * row)(h),
    "less the mean along a named axis": lambda h: jax.vmap(lambda row: row - lax.pmean(row, "b"), axis_name="b")(h),
    "beside a step for nobody": lambda h: (jnp.sort(h), 2.0 * h)[1],
    "in a loop": lambda h: lax.scan(lambda c, row: (c + row, 0.5 * c + row), jnp.zeros_like(h[0]), h)[1],
    "in a loop backwards": lambda h: lax.scan(lambda c, row: (c + row, c), jnp.zeros_like(h[0]), h, reverse=True)[1],
    "counted loop": lambda h: lax.fori_loop(0, 3, lambda i, c: c + (i + 1.0) * h, jnp.zeros_like(h)),
    "counted loop over positions": lambda h: lax.fori_loop(0, 4, lambda i, c: 0.5 * c + h[i], jnp.zeros_like(h[0])),
}


# Beside a rectifier's second moments the squared difference of the two networks passes through the maps.
RECTIFIED = {
    "sum",
    "average of those inside",
    "global average",
    "picked",
    "padded with zeros",
    "causal mask",
    "in a loop",
}


@pytest.mark.parametrize("name", POOLS)
def test_maps_on_positions(name):
    """Between the hidden layer and the readout."""
    check(
        lambda n: {"w": (2, n), "b": (n,), "v": (n, 1)},
        lambda p, x: x @ p["w"] + p["b"],
        lambda p, h: networks.readout(p, POOLS[name](h)),
        (4, 2),
        relu if name in RECTIFIED else quadratic,
    )


def test_sums_over_a_fixed_number_of_coordinates():
    """Pairs of channels are two independent positions: their norms and sums are functions of both."""
    check(
        lambda n: {"w": (2, 2 * n), "v": (n, 1)},
        lambda p, x: (x @ p["w"]).reshape(-1, 2),
        lambda p, h: networks.readout(p, h.sum(-1)),
        (2,),
    )


ORDERS = {
    "x @ w": ((2, 1), lambda w, x: x @ w.reshape(2, -1)),
    "w @ x": ((1, 2), lambda w, x: (w @ x.T).T),
    "einsum": ((1, 2), lambda w, x: jnp.einsum("nc,tc->tn", w, x)),
    "tensordot": ((2, 1), lambda w, x: jnp.tensordot(x, w, 1)),
    "summed products": ((1, 2), lambda w, x: (w[None] * x[:, None]).sum(-1)),
    "vmap": ((1, 2), lambda w, x: jax.vmap(lambda row: w @ row)(x)),
    "by columns": ((2, 1), lambda w, x: x[:, :1] * w[0] + x[:, 1:] * w[1]),
    "remat": ((2, 1), lambda w, x: jax.checkpoint(lambda w, x: x @ w)(w, x)),
    "jit": ((2, 1), lambda w, x: jax.jit(lambda w, x: x @ w)(w, x)),
}


@pytest.mark.parametrize("name", ORDERS)
def test_products_in_any_order(name):
    (rows, columns), product = ORDERS[name]
    check(
        lambda n: {"w": (rows * n, columns) if rows == 1 else (rows, columns * n), "v": (n, 1)},
        lambda p, x: product(p["w"], x),
        networks.readout,
        (3, 2),
        quadratic,
    )


READOUTS = {
    "h @ v": (lambda n: (3 * n, 1), lambda v, h: h.reshape(-1) @ v),
    "v @ h": (lambda n: (1, 3 * n), lambda v, h: v @ h.reshape(-1)),
    "vector": (lambda n: (3 * n,), lambda v, h: jnp.dot(v, h.reshape(-1))),
    "channels first": (lambda n: (3 * n, 1), lambda v, h: h.T.reshape(-1) @ v),
    "each position its own": (lambda n: (3, n, 1), lambda v, h: jnp.einsum("tn,tno->to", h, v)),
    "contracted at once": (lambda n: (3, n, 1), lambda v, h: jnp.einsum("tn,tno->o", h, v)),
    "weights reshaped": (lambda n: (3 * n, 1), lambda v, h: jnp.einsum("tn,tno->o", h, v.reshape(3, -1, 1))),
}


@pytest.mark.parametrize("name", READOUTS)
def test_readouts_of_all_positions(name):
    shape, output = READOUTS[name]
    check(
        lambda n: {"w": (2, n), "v": shape(n)},
        lambda p, x: x @ p["w"],
        lambda p, h: output(p["v"], h) / jnp.sqrt(h.shape[-1]),
        (3, 2),
        quadratic,
    )


INPUTS = {
    "positional embeddings": (lambda n: {"p": (4, n)}, lambda p, x: x @ p["w"] + p["p"]),
    "class token": (lambda n: {"p": (n,)}, lambda p, x: jnp.concatenate([p["p"][None], x @ p["w"]])),
    "constant adjacency": (lambda n: {}, lambda p, x: jnp.arange(16.0).reshape(4, 4) @ (x @ p["w"])),
    "data adjacency": (lambda n: {}, lambda p, x: (x @ x.T) @ (x @ p["w"])),
    "attention of the data": (
        lambda n: {},
        lambda p, x: jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((4, 4), bool)), x @ x.T, -jnp.inf)) @ (x @ p["w"]),
    ),
    "normalised data": (lambda n: {}, lambda p, x: (x / jnp.linalg.norm(x, axis=-1, keepdims=True)) @ p["w"]),
    "maximum of the data": (lambda n: {}, lambda p, x: x.max(0, keepdims=True) @ p["w"]),
    "gathered data": (lambda n: {}, lambda p, x: x[jnp.argsort(x[:, 0])] @ p["w"]),
    "one weight twice": (lambda n: {}, lambda p, x: x @ p["w"] + jnp.flip(x, 0) @ p["w"]),
    "two weights": (lambda n: {"u": (2, n)}, lambda p, x: x @ p["w"] - 2.0 * (x[:1] @ p["u"])),
    "parts of a weight": (
        lambda n: {"u": (4, n)},
        lambda p, x: x @ p["u"][:2] + jnp.flip(x, 0) @ p["u"][2:] + x @ p["w"],
    ),
}


# Beside a rectifier's second moments stands the squared distance of the inputs.
RECTIFIED_INPUTS = {"positional embeddings", "class token", "attention of the data", "one weight twice", "two weights"}


@pytest.mark.parametrize("name", INPUTS)
def test_first_layers(name):
    extra, hidden = INPUTS[name]
    phi = relu if name in RECTIFIED_INPUTS else quadratic
    check(lambda n: {"w": (2, n), "v": (n, 1)} | extra(n), hidden, networks.readout, (4, 2), phi)


@pytest.mark.parametrize("shape", [(), (1,), (2,)])
def test_output_bias(shape):
    check(
        lambda n: {"w": (2, n), "v": (n, *shape), "c": shape},
        lambda p, x: x @ p["w"],
        lambda p, h: networks.readout(p, h)[:1] + p["c"][:1] if shape == (2,) else networks.readout(p, h) + p["c"],
        (2,),
    )

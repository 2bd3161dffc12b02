"""Reading and writing entries at given positions: graphs as edge lists, segments, slices that move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax, ops

import widelimit as wl
from marks import but_slow
from networks import drawn, readout, relu

rng = np.random.default_rng(0)
NODES = rng.normal(size=(2, 5, 3))
SENDERS = np.array([[0, 1, 1, 2, 4, 0], [1, 1, 3, 2, 4, 0]])
RECEIVERS = np.array([[1, 0, 2, 3, 3, 4], [1, 2, 2, 0, 3, 4]])
GRAPHS = {"nodes": NODES, "senders": SENDERS, "receivers": RECEIVERS}


def network(fn):
    """One hidden layer of nodes, `fn(h, graph)`, another, and a readout of the mean."""
    shapes = drawn(lambda n: {"w": (3, n), "u": (n, n), "v": (n, 1)})

    def apply(p, graph):
        h = fn(graph["nodes"] @ p["w"], graph)
        return readout(p, relu(h @ p["u"] / jnp.sqrt(h.shape[-1]))).mean(0)

    return wl.Network(shapes, apply)


def fixed(fn):
    """The same with the edges of the first graph as constants."""
    net = network(fn)
    edges = {"senders": SENDERS[0], "receivers": RECEIVERS[0]}
    return wl.Network(net.init, lambda p, nodes: net.apply(p, {"nodes": nodes, **edges}))


def pair(net, x, xp):
    return jax.jit(wl.limit(net, x).pair)(x, xp)


def assert_same(one, other, x, xp):
    for got, expected in zip(pair(one, x, xp), pair(other, x, xp), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def adjacency(g):
    return jnp.zeros((5, 5)).at[g["receivers"], g["senders"]].add(1.0)


def one_hot(indices, count):
    return (indices[:, None] == jnp.arange(count)).astype(float)


SPELLINGS = {
    "neighbours": (
        lambda h, g: relu(ops.segment_sum(h[g["senders"]], g["receivers"], 5)),
        lambda h, g: relu(adjacency(g) @ h),
    ),
    "neighbours, nonlinear": (
        lambda h, g: jnp.zeros_like(h).at[g["receivers"]].add(relu(h)[g["senders"]]),
        lambda h, g: adjacency(g) @ relu(h),
    ),
    "subtracted": (
        lambda h, g: relu(h.at[g["receivers"]].subtract(h[g["senders"]])),
        lambda h, g: relu(h - adjacency(g) @ h),
    ),
    "taken": (
        lambda h, g: jnp.take(relu(h), g["senders"], axis=0),
        lambda h, g: one_hot(g["senders"], 5) @ relu(h),
    ),
    "edges of edges": (
        lambda h, g: relu(h[g["senders"].reshape(2, 3)]).reshape(6, -1),
        lambda h, g: relu(one_hot(g["senders"], 5) @ h),
    ),
    "two axes": (
        lambda h, g: relu(jnp.stack([h, 2 * h, -h])[g["senders"] % 3, g["receivers"]]),
        lambda h, g: relu((jnp.asarray([1.0, 2.0, -1.0])[g["senders"] % 3][:, None] * one_hot(g["receivers"], 5)) @ h),
    ),
    "out of bounds": (
        lambda h, g: relu(h).at[g["senders"] + 1].get(mode="fill", fill_value=0),
        lambda h, g: one_hot(g["senders"] + 1, 5) @ relu(h),
    ),
    "dropped": (
        lambda h, g: jnp.zeros_like(h).at[g["senders"] + 1].add(relu(h)[g["receivers"]], mode="drop"),
        lambda h, g: one_hot(g["senders"] + 1, 5).T @ one_hot(g["receivers"], 5) @ relu(h),
    ),
    "set": (
        lambda h, g: relu(h.at[g["senders"][-1]].set(h[g["receivers"][-1]])),
        lambda h, g: relu(
            jnp.where(jnp.arange(5)[:, None] == g["senders"][-1], (one_hot(g["receivers"][-1:], 5) @ h), h)
        ),
    ),
    "sliced": (
        lambda h, g: relu(lax.dynamic_slice_in_dim(h, g["senders"][-2], 2)),
        lambda h, g: relu(one_hot(jnp.minimum(g["senders"][-2], 3) + jnp.arange(2), 5) @ h),
    ),
    "slice written": (
        lambda h, g: relu(lax.dynamic_update_slice_in_dim(h, -h[:2], g["senders"][1], 0)),
        lambda h, g: relu(
            jnp.where(
                ((jnp.arange(5) - g["senders"][1]) // 2 == 0)[:, None],
                -one_hot(jnp.arange(5) - g["senders"][1], 5) @ h,
                h,
            )
        ),
    ),
}


@pytest.mark.parametrize(
    "name",
    but_slow(SPELLINGS, "neighbours, nonlinear", "taken", "two axes", "out of bounds", "dropped", "set", "sliced"),
)
def test_at_positions_from_the_example(name):
    one, other = (network(fn) for fn in SPELLINGS[name])
    assert_same(one, other, *({k: v[i] for k, v in GRAPHS.items()} for i in (0, 1)))


@pytest.mark.parametrize(
    "name", but_slow(["neighbours, nonlinear", "two axes", "set", "dropped"], "neighbours, nonlinear", "set")
)
def test_at_constant_positions(name):
    assert_same(*(fixed(fn) for fn in SPELLINGS[name]), *NODES)


def test_constants_and_the_example_give_the_same():
    apart = pair(fixed(SPELLINGS["neighbours"][0]), *NODES)
    graphs = [{"nodes": x, "senders": SENDERS[0], "receivers": RECEIVERS[0]} for x in NODES]
    np.testing.assert_allclose(apart, pair(network(SPELLINGS["neighbours"][0]), *graphs), rtol=1e-12)


def test_sums_in_a_loop():
    """States that are written to their places one after the other."""

    def written(h, g):
        out = jnp.zeros_like(h)
        return relu(lax.fori_loop(0, 5, lambda t, out: out.at[t].set(2 * h[4 - t]), out))

    assert_same(fixed(written), fixed(lambda h, g: relu(2 * h[::-1])), *NODES)


def of_maxima(h, g):
    m = ops.segment_max(h[g["senders"]], g["receivers"], 5)
    return jnp.where(jnp.isfinite(m), m, 0.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is not reached")
def test_maxima_of_segments():
    """Receivers 1, 0, 2, 3, 3, 4 of senders 0, 1, 1, 2, 4, 0: only node 3 has two."""

    def by_hand(h, g):
        return jnp.stack([h[1], h[0], h[1], jnp.maximum(h[2], h[4]), h[0]])

    one, other = (pair(fixed(fn), *NODES) for fn in (of_maxima, by_hand))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def test_coordinates_of_the_width_have_no_places():
    with pytest.raises(wl.Refusal, match="iid coordinates have no places"):
        wl.limit(fixed(lambda h, g: h[:, jnp.arange(h.shape[1])[::-1]]), NODES[0])


def test_random_places_are_refused():
    with pytest.raises(wl.Refusal, match="random places"):
        wl.limit(fixed(lambda h, g: h[(h.mean(1) > h[:, 0]).astype(int)[:2]]), NODES[0])

"""Graph networks: nodes and edges as arrays, edges as constants or as part of each example."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import ops

import widelimit as wl
from zoo._inputs import normal
from zoo._row import row

NODES = 5
EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [1, 3]])


def neighbours(edges):
    """Senders and receivers of undirected edges."""
    both = np.concatenate([edges, edges[:, ::-1]])
    return both[:, 0], both[:, 1]


def graphs():
    """Three graphs of five nodes: features of nodes and edges, and the edges themselves."""
    edges = np.stack([EDGES, (2 * EDGES) % NODES, np.sort(EDGES, 1)[:, ::-1]])
    senders, receivers = (np.stack(ends) for ends in zip(*map(neighbours, edges), strict=True))
    features = normal(3, senders.shape[1], 2)
    return {"nodes": normal(3, NODES, 4), "edges": features, "senders": senders, "receivers": receivers}


def normalised_adjacency():
    """D^{-1/2} (A + 1) D^{-1/2} of Kipf & Welling (2017)."""
    senders, receivers = neighbours(EDGES)
    a = np.eye(NODES)
    a[receivers, senders] = 1
    return a / np.sqrt(np.outer(a.sum(1), a.sum(1)))


class Network(nnx.Module):
    """Layers of one kind, and the mean of the nodes."""

    def __init__(self, layer, width, rngs):
        self.first, self.second = layer(4, width, rngs), layer(width, width, rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, graph):
        h = nnx.relu(self.first(graph["nodes"], graph))
        return self.head(nnx.relu(self.second(h, graph)).mean(0))


def of(layer):
    return wl.from_flax(lambda width, rngs: Network(layer, width, rngs))


class DenseConvolution(nnx.Module):
    """GCN with the adjacency matrix as an array."""

    def __init__(self, inputs, width, rngs):
        self.linear = nnx.Linear(inputs, width, rngs=rngs)

    def __call__(self, h, graph):
        return jnp.asarray(normalised_adjacency(), h.dtype) @ self.linear(h)


@row("GCN, dense", source="flax.nnx", x=graphs, approximate=True)
def gcn_dense():
    return of(DenseConvolution)


class SparseConvolution(nnx.Module):
    """GCN by sums over the edges of each example."""

    def __init__(self, inputs, width, rngs):
        self.linear = nnx.Linear(inputs, width, rngs=rngs)

    def __call__(self, h, graph):
        senders, receivers = graph["senders"], graph["receivers"]
        degree = 1 + ops.segment_sum(jnp.ones(len(receivers)), receivers, len(h))
        h = self.linear(h) / jnp.sqrt(degree)[:, None]
        return (h + ops.segment_sum(h[senders], receivers, len(h))) / jnp.sqrt(degree)[:, None]


@row("GCN, sparse", source="flax.nnx", x=graphs, approximate=True)
def gcn_sparse():
    return of(SparseConvolution)


class MeanOfNeighbours(nnx.Module):
    """GraphSAGE (Hamilton et al. 2017) with the mean."""

    def __init__(self, inputs, width, rngs):
        self.own = nnx.Linear(inputs, width, rngs=rngs)
        self.others = nnx.Linear(inputs, width, use_bias=False, rngs=rngs)

    def __call__(self, h, graph):
        senders, receivers = graph["senders"], graph["receivers"]
        total = ops.segment_sum(h[senders], receivers, len(h))
        count = ops.segment_sum(jnp.ones(len(receivers)), receivers, len(h))
        return self.own(h) + self.others(total / jnp.maximum(count, 1)[:, None])


@row("GraphSAGE, mean", source="flax.nnx", x=graphs, approximate=True)
def sage_mean():
    return of(MeanOfNeighbours)


@row("GraphSAGE, max", source="jax", x=lambda: normal(2, NODES, 4), approximate=True)
def sage_max():
    """The maximum over neighbours of a layer of each, on one graph (a ring)."""
    senders = jnp.concatenate([jnp.arange(NODES), (jnp.arange(NODES) + 1) % NODES])
    receivers = jnp.concatenate([(jnp.arange(NODES) + 1) % NODES, jnp.arange(NODES)])

    def init(key, n):
        k = jax.random.split(key, 4)
        return {
            "pool": jax.random.normal(k[0], (4, n)) / 2,
            "own": jax.random.normal(k[1], (4, n)) / 2,
            "others": jax.random.normal(k[2], (n, n)) / jnp.sqrt(n),
            "out": jax.random.normal(k[3], (n, 1)) / jnp.sqrt(n),
        }

    def apply(p, x):
        messages = jax.nn.relu(x @ p["pool"])
        most = ops.segment_max(messages[senders], receivers, NODES)
        return (jax.nn.relu(x @ p["own"] + most @ p["others"]) @ p["out"]).mean(0)

    return wl.Network(init, apply)


class EdgeNetwork(eqx.Module):
    """Message passing with features of edges: messages from both ends and the edge, summed at the receiver."""

    sender: eqx.nn.Linear
    receiver: eqx.nn.Linear
    edge: eqx.nn.Linear
    message: eqx.nn.Linear
    update: eqx.nn.Linear
    head: eqx.nn.Linear

    def __init__(self, width, key):
        k = jax.random.split(key, 6)
        self.sender = eqx.nn.Linear(4, width, key=k[0])
        self.receiver = eqx.nn.Linear(4, width, use_bias=False, key=k[1])
        self.edge = eqx.nn.Linear(2, width, use_bias=False, key=k[2])
        self.message = eqx.nn.Linear(width, width, key=k[3])
        self.update = eqx.nn.Linear(width, width, key=k[4])
        self.head = eqx.nn.Linear(width, 1, key=k[5])

    def __call__(self, graph):
        h, senders, receivers = graph["nodes"], graph["senders"], graph["receivers"]
        ends = jax.vmap(self.sender)(h)[senders] + jax.vmap(self.receiver)(h)[receivers]
        messages = jax.vmap(self.message)(jax.nn.relu(ends + jax.vmap(self.edge)(graph["edges"])))
        received = jnp.zeros((len(h), messages.shape[1])).at[receivers].add(jax.nn.relu(messages))
        return self.head(jax.nn.relu(jax.vmap(self.update)(received)).mean(0))


@row("message passing with edge features", source="equinox", x=graphs, approximate=True)
def edge_network():
    return wl.from_equinox(lambda width, key: EdgeNetwork(width, key=key))

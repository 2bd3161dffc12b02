"""Finite networks as an independent reference.

Where a network has one hidden layer of random vectors (or none that is nonlinear after it), the means of its finite kernels
are those of the limit at every width: E f fᵀ and E J Λ Jᵀ are averages over neurons. So small networks, drawn often, tell
right from wrong with no bias of order 1/n.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import widelimit as wl


def _rows(y, replicas):
    """The output as (finite positions, independent copies)."""
    y = jnp.moveaxis(y, replicas, range(y.ndim - len(replicas), y.ndim))
    return y.reshape(np.prod(y.shape[: y.ndim - len(replicas)], dtype=int), -1)


def _sample(net, x, width, rates, replicas, key):
    """f fᵀ and J Λ Jᵀ of one network, (N F, N F), averaged over copies of the output."""
    params = net.init(key, width)

    def outputs(p):
        return jax.vmap(lambda one: _rows(net.apply(p, one), replicas))(x).reshape(
            -1, _copies(net, params, x, replicas)
        )

    f = outputs(params)
    jacobian = jax.jacrev(lambda p: outputs(p).reshape(-1))(params)
    flat, _ = jax.tree_util.tree_flatten_with_path(jacobian)
    ntk = 0.0
    for path, leaf in flat:
        rate = rates.get(jax.tree_util.keystr(path, simple=True, separator="/"), 0.0)
        j = leaf.reshape(*f.shape, -1)
        ntk = ntk + rate * jnp.einsum("arp,brp->ab", j, j) / f.shape[1]
    return f @ f.T / f.shape[1], ntk


def _copies(net, params, x, replicas):
    one = jax.eval_shape(net.apply, params, jax.tree.map(lambda a: a[0], x))
    return int(np.prod([one.shape[i] for i in replicas], dtype=int))


def means(net, x, *, width, draws, rates, replicas, seed=0):
    """Mean and standard error of f fᵀ and J Λ Jᵀ over draws of the network."""
    sample = functools.partial(_sample, net, x, width, rates, tuple(replicas))
    drawn = jax.jit(lambda keys: jax.lax.map(sample, keys))(jax.random.split(jax.random.key(seed), draws))
    return [(np.mean(s, 0), np.std(s, 0) / np.sqrt(draws)) for s in map(np.asarray, drawn)]


def matrix(k, count):
    """(N, N, axes, axes) as (N F, N F)."""
    k = np.asarray(k)
    rank = (k.ndim - 2) // 2
    order = (0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))
    return k.transpose(order).reshape(count * int(np.prod(k.shape[2 : 2 + rank], dtype=int)), -1)


def scores(net, x, *, width=8, draws=4000, learning_rates="ntk"):
    """The largest z-score of the limit's NNGP and NTK against the finite means."""
    kernel = wl.limit(net, jax.tree.map(lambda a: a[0], x), learning_rates=learning_rates)
    count = jax.tree.leaves(x)[0].shape[0]
    found = means(net, x, width=width, draws=draws, rates=kernel.rates(width), replicas=kernel.replica_axes)
    limits = [matrix(k, count) for k in kernel(x)]
    return tuple(_largest(limit, *finite) for limit, finite in zip(limits, found, strict=True))


def _largest(limit, mean, error):
    """|difference| in standard errors; entries that never vary must agree to rounding."""
    scale = np.abs(limit).max()
    return float((np.abs(limit - mean) / np.maximum(error, 1e-9 * scale)).max())


def assert_agrees(net, x, *, bound=5.0, **options):
    nngp, ntk = scores(net, x, **options)
    assert nngp < bound, f"NNGP is {nngp:.1f} standard errors from finite networks"
    assert ntk < bound, f"NTK is {ntk:.1f} standard errors from finite networks"

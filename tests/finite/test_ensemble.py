import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finite import relu
from widelimit.finite import empirical_ntk, ensemble
from widelimit.finite._ensemble import Family, sampler

KEY = jax.random.key(3)
NET = relu.network(4, outputs=5)
X1, X2 = relu.examples(3, 4), relu.examples(2, 4, seed=1)


def params_of_draw(net, width, number):
    return net.init(jax.random.fold_in(jax.random.fold_in(KEY, width), number), width)


@pytest.fixture(scope="module")
def drawn():
    return ensemble(NET, X1, X2, key=KEY, width=8, draws=40, replica_axes=(0,))


def test_values_are_those_of_the_network(drawn):
    params = params_of_draw(NET, 8, 37)
    np.testing.assert_allclose(drawn.values1[37], jax.vmap(lambda x: NET.apply(params, x))(X1), rtol=1e-10)
    np.testing.assert_allclose(drawn.values2[37], jax.vmap(lambda x: NET.apply(params, x))(X2), rtol=1e-10)


def test_ntk_is_that_of_the_network(drawn):
    expected = empirical_ntk(NET.apply, params_of_draw(NET, 8, 5)).trace(X1, X2)
    np.testing.assert_allclose(drawn.ntk[5], expected, rtol=1e-10, atol=1e-12)


def test_nngp_is_the_mean_product_of_replicas(drawn):
    expected = np.einsum("dar,dbr->dab", drawn.values1, drawn.values2) / 5
    np.testing.assert_allclose(drawn.nngp, expected, rtol=1e-10, atol=1e-12)


def test_more_draws_extend_fewer(drawn):
    fewer = ensemble(NET, X1, X2, key=KEY, width=8, draws=7, replica_axes=(0,))
    np.testing.assert_array_equal(fewer.ntk, drawn.ntk[:7])


def test_memory_changes_nothing(drawn):
    starved = ensemble(NET, X1, X2, key=KEY, width=8, draws=7, replica_axes=(0,), memory=1.0)
    np.testing.assert_allclose(starved.ntk, drawn.ntk[:7], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(starved.nngp, drawn.nngp[:7], rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_finite_axes_follow_the_examples():
    def apply(params, x):  # (positions, outputs)
        return jax.vmap(lambda row: NET.apply(params, row))(x)

    tokens1, tokens2 = relu.examples(6, 4).reshape(3, 2, 4), relu.examples(6, 4, seed=1).reshape(2, 3, 4)
    net = relu.Net(NET.init, apply)
    kernels = ensemble(net, tokens1, tokens2, key=KEY, width=8, draws=3, replica_axes=(-1,))
    assert kernels.ntk.shape == kernels.nngp.shape == (3, 3, 2, 2, 3)
    flat = ensemble(NET, tokens1.reshape(6, 4), tokens2.reshape(6, 4), key=KEY, width=8, draws=3, replica_axes=(0,))
    for name in ("ntk", "nngp"):
        expected = getattr(flat, name).reshape(3, 3, 2, 2, 3).swapaxes(2, 3)
        np.testing.assert_allclose(getattr(kernels, name), expected, rtol=1e-10, atol=1e-12)


def test_copies_of_the_readout_keep_the_mean():
    """Over ever more readouts of variance 1/n, f f' of one body becomes h h'/n."""
    width, copies = 8, 2000
    family = Family(NET, width, replica_axes=(0,), readout=("v",), copies=copies)
    (chunk,) = sampler(family, KEY, X1, X1, memory=2**30)(0, 1)
    params = params_of_draw(NET, width, 0)
    h = jax.vmap(lambda x: NET.apply(params | {"v": jnp.eye(width)}, x))(X1)
    expected = np.asarray(h @ h.T) / width
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / (5 * copies))
    assert np.abs((chunk.nngp[0] - expected) / error).max() < 4


def test_progress_shows_a_bar(capsys):
    ensemble(NET, X1, key=KEY, width=8, draws=3, replica_axes=(0,), progress=True)
    assert "3/3" in capsys.readouterr().err

"""Slow rules of integration are left out of a compiled kernel until an entry needs them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import drawn, readout
from widelimit.limit._gram import Gram

EASY = np.random.default_rng(0).normal(size=(5, 3))
STEEP = 100.0 * EASY  # variances of 1e4: the series of tanh has not converged after all its terms


ALL = np.concatenate([EASY, STEEP])


def new_kernel():
    def shapes(n):
        return {"w": (3, n), "v": (n, 1)}

    return wl.limit(wl.Network(drawn(shapes), lambda p, x: readout(p, jnp.tanh(x @ p["w"]))), EASY[0])


@pytest.fixture
def kernel():
    return new_kernel()


@functools.cache
def entry_by_entry():
    """Of all inputs, by the pair, which holds all rules."""
    return jax.jit(jax.vmap(jax.vmap(new_kernel().pair, (None, 0)), (0, None)))(ALL, ALL)


def is_deferring(kernel):
    (gram,) = vars(kernel)["_compiled"].values()
    return gram._deferred is not None


def assert_right(kernel, which):
    for found, exact in zip(kernel(ALL[which]), entry_by_entry(), strict=True):
        np.testing.assert_allclose(found, np.reshape(exact[which, which], found.shape), rtol=2e-6)


def test_entries_that_converge_need_none(kernel):
    assert_right(kernel, slice(5))
    assert is_deferring(kernel)


def test_entries_that_do_not_converge_are_found_and_computed_again(kernel):
    assert_right(kernel, slice(5, 10))
    assert not is_deferring(kernel)


def test_tiles_before_such_an_entry_are_kept(kernel, monkeypatch):
    monkeypatch.setattr(Gram, "side", lambda *args: 2)
    assert_right(kernel, slice(10))
    assert not is_deferring(kernel)

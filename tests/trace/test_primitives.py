"""Every primitive of JAX is ruled, walked through, random, or refused by name; and convolutions of every kind are right."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from one_layer import assert_exact
from widelimit.trace import _dispatch  # noqa: F401  (fills the table)
from widelimit.trace._jaxpr import call_names, primitives
from widelimit.trace._table import REFUSED, RULES

RANDOM = {name for name in primitives() if name.startswith("random_")} | {"rng_bit_generator"}


def test_every_primitive_is_accounted_for():
    assert primitives().keys() - RULES.keys() - REFUSED.keys() - call_names() - RANDOM == set()


def test_no_primitive_is_both_ruled_and_refused():
    assert RULES.keys() & REFUSED.keys() == set()


def test_reasons_are_sentences_without_an_end():
    assert [name for name, reason in REFUSED.items() if not reason or reason.endswith(".")] == []


# --- networks with one hidden layer, against the exact formula ------------------------------------------------------------


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def check(shapes, hidden, output, shape):
    assert_exact(shapes, hidden, output, numbers(*shape), numbers(*shape, seed=1))


def spatial(rank):
    axes = "DHW"[3 - rank :]
    return (f"N{axes}C", f"{axes}IO", f"N{axes}C")


def convolve(x, w, *, strides=None, padding="SAME", **dilations):
    rank = x.ndim - 1
    return lax.conv_general_dilated(
        x[None], w, strides or (1,) * rank, padding, dimension_numbers=spatial(rank), **dilations
    )[0]


CONVOLUTIONS = {
    "same": ((4, 2), (3,), {}),
    "even taps, same": ((4, 2), (2,), {}),
    "valid": ((5, 2), (3,), {"padding": "VALID"}),
    "strided": ((6, 2), (3,), {"strides": (2,), "padding": "VALID"}),
    "strided, same": ((6, 2), (3,), {"strides": (3,)}),
    "explicit": ((4, 2), (3,), {"padding": [(2, 1)]}),
    "cropped": ((6, 2), (3,), {"padding": [(-1, 0)]}),
    "dilated": ((6, 2), (3,), {"rhs_dilation": (2,)}),
    "transposed": ((3, 2), (3,), {"lhs_dilation": (2,), "padding": [(1, 2)]}),
    "two dimensions": ((4, 3, 2), (2, 3), {"strides": (2, 1), "rhs_dilation": (1, 2)}),
    "three dimensions": ((2, 3, 2, 2), (2, 2, 2), {"padding": "SAME"}),
}


SLOW = ("valid", "explicit", "two dimensions", "three dimensions")  # a variant of each is among the others


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CONVOLUTIONS])
def test_convolution(name):
    """Hidden and output layer are convolutions with a bias shared by all positions."""
    shape, taps, options = CONVOLUTIONS[name]
    rank = len(taps)

    def shapes(n):
        return {"w": (*taps, shape[-1], n), "b": (n,), "v": ((2,) * rank) + (n, 1)}

    check(
        shapes,
        lambda p, x: convolve(x, p["w"], **options) + p["b"],
        lambda p, h: convolve(h, p["v"]) / jnp.sqrt(h.shape[-1]),
        shape,
    )


@pytest.mark.slow
def test_channels_first():
    layout = ("NCHW", "OIHW", "NCHW")
    check(
        lambda n: {"w": (n, 2, 3, 3), "b": (n,), "v": (1, n, 2, 2)},
        lambda p, x: (
            lax.conv_general_dilated(x[None], p["w"], (1, 1), "SAME", dimension_numbers=layout)[0]
            + p["b"][:, None, None]
        ),
        lambda p, h: (
            lax.conv_general_dilated(h[None], p["v"], (2, 1), "VALID", dimension_numbers=layout)[0]
            / jnp.sqrt(h.shape[0])
        ),
        (2, 4, 3),
    )

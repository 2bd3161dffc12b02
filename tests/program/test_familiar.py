"""Activations are named after their values, however they are written."""

import jax
import jax.numpy as jnp
import pytest

from widelimit.program._familiar import familiar


@pytest.mark.parametrize(
    "name", ["relu", "silu", "softplus", "elu", "selu", "leaky_relu", "hard_tanh", "mish", "relu6"]
)
def test_named_as_in_jax(name):
    assert familiar(getattr(jax.nn, name)) == name


def test_other_spellings():
    assert familiar(lambda z: jnp.where(z > 0, z, 0)) == "relu"
    assert familiar(lambda z: z * (1 + jnp.tanh(z / 2)) / 2) == "silu"


def test_both_kinds_of_gelu():
    assert familiar(lambda z: jax.nn.gelu(z, approximate=False)) == "gelu"
    assert familiar(jax.nn.gelu) == "gelu_tanh"


def test_others_have_no_name():
    assert familiar(lambda z: jnp.tanh(1.01 * z)) is None

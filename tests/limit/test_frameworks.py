"""The kernels of other programs, from the same networks as flax and equinox modules in standard parametrisation."""

import pytest

import networks
from marks import but_slow


@pytest.mark.parametrize("framework", ["flax", "equinox"])
@pytest.mark.parametrize("name", but_slow(networks.GOLDEN, "mlp_relu", "resmlp_ln", "cnn_flatten"))
def test_kernels_of_neural_tangents(golden, name, framework):
    nngp, ntk = networks.golden_errors(golden("kernels.npz"), name, framework)
    assert nngp < 1e-10
    assert ntk < 1e-10

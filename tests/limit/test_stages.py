"""Where a kernel's program is cut."""

import numpy as np

import networks
import widelimit as wl
from widelimit import trace
from widelimit.limit import _stages

SHAPE = (4, 4, 3)


def test_covariances_of_the_positions_of_one_input_are_written_layer_by_layer():
    """As pooling between layers asks for them. Else each is computed anew inside every read of it."""
    kernel = wl.limit(networks.cnn_pooled(), np.zeros(SHAPE))
    program = kernel._grams("both", kernel.pair, 1.0).program([(SHAPE, np.float64)])
    cut = trace.cut(program, [trace.LEFT, trace.RIGHT], (64, 64), at="optimization_barrier")
    for one in (trace.LEFT, trace.RIGHT):
        made = [i for p in cut.pieces for i, side in zip(p.makes, p.sides[1], strict=True) if side == one]
        assert any(cut.avals[i].size == 4**4 for i in made)


def test_a_symmetric_matrix_computes_variances_once_an_input(monkeypatch):
    sides = []
    into = _stages.Stage.into
    monkeypatch.setattr(_stages.Stage, "into", lambda stage, values: (sides.append(stage.side), into(stage, values)))
    x = np.random.default_rng(0).normal(size=(3, *SHAPE))
    kernel = wl.limit(networks.cnn_pooled(), x[0])
    symmetric = kernel(x)
    assert trace.LEFT in sides
    assert trace.RIGHT not in sides
    for a, b in zip(symmetric, kernel(x, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    assert trace.RIGHT in sides

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finite import relu
from widelimit.finite import verify

KEY = jax.random.key(0)
WIDTHS = (16, 32, 64)
X = relu.examples(3, 4)
NET = relu.network(4)


def check(kernel=None, **changes):
    arguments = {"key": KEY, "widths": WIDTHS, "kernel": kernel or relu.Limit(4), **changes}
    return verify(NET, X, **arguments)


@pytest.fixture(scope="module")
def report():
    return check()


def test_right_limit_passes(report):
    assert report.passed
    assert max(report.nngp.largest_z, report.ntk.largest_z) <= report.threshold


@pytest.mark.parametrize("name", ["ntk", pytest.param("nngp", marks=pytest.mark.slow)])
def test_limit_off_by_3_percent_fails(name):
    wrong = check(relu.Limit(4, **{name: 1.03}))
    assert not wrong.passed
    other = {"nngp": "ntk", "ntk": "nngp"}[name]
    assert getattr(wrong, other).largest_z <= wrong.threshold


def test_accuracy_is_reached_with_more_draws_at_small_widths(report):
    assert list(report.draws) == sorted(report.draws, reverse=True)
    assert all(row.error < 0.0053 for kernel in (report.nngp, report.ntk) for row in kernel.rows)
    assert report.resolution < 0.04


def test_spread_falls_as_the_root_of_the_width(report):
    assert abs(report.ntk.spread_exponent.value + 0.5) < 0.05


def test_one_hidden_layer_has_no_bias(report):
    """The mean over independent units is exact at any width."""
    assert report.ntk.bias_exponent is None
    assert not report.ntk.rows[-1].bias.resolved


@pytest.mark.slow
def test_bias_of_a_deep_network_falls_as_the_width():
    """(1/n) Σ over units of one layer, squared: its mean is the square of the limit plus variance over n."""

    def apply(params, x):
        h = jax.nn.relu(x @ params["w0"] + params["b0"])
        return (h @ params["v"]) * jnp.mean(h**2)

    class Squared(relu.Limit):
        def nngp(self, x1, x2):
            own = [np.sum(np.asarray(x) ** 2, 1) * relu.WEIGHT / 4 + relu.BIAS for x in (x1, x2)]
            return super().nngp(x1, x2) * np.outer(own[0], own[1]) / 4

    kernel = Squared(4)
    kernel.rates = lambda width: relu.Limit(4).rates(width) | {"w0": 0.0, "b0": 0.0}
    kernel.ntk = kernel.nngp  # the readout alone is trained
    x = X / jnp.linalg.norm(X, axis=1, keepdims=True) * 2
    found = verify(relu.Net(NET.init, apply), x, key=KEY, widths=(8, 16, 32, 64), kernel=kernel, draws=4000)
    assert found.passed
    assert abs(found.ntk.bias_exponent.value + 1) < 3 * found.ntk.bias_exponent.error + 0.1
    assert found.ntk.rows[0].bias.value > 0.05


@pytest.mark.slow
def test_two_sides_and_finite_axes():
    """A network applied to each of two positions: every pair of positions is an entry."""

    class Positions(relu.Limit):
        replica_axes = (1,)

        def _kernels(self, x1, x2):
            n1, n2 = len(x1), len(x2)
            flat = super()._kernels(np.reshape(x1, (2 * n1, 4)), np.reshape(x2, (2 * n2, 4)))
            return [kernel.reshape(n1, 2, n2, 2).swapaxes(1, 2) for kernel in flat]

    net = relu.Net(NET.init, lambda params, x: jax.vmap(lambda row: NET.apply(params, row))(x))
    x1, x2 = relu.examples(4, 4).reshape(2, 2, 4), relu.examples(6, 4, seed=1).reshape(3, 2, 4)
    found = verify(net, x1, x2, key=KEY, widths=WIDTHS, kernel=Positions(4), draws=500)
    assert found.passed
    assert found.ntk.z.shape == (2, 3, 2, 2)
    assert found.ntk.entries == 24


def test_draws_are_as_asked():
    assert check(draws=(90, 80, 70)).draws == (90, 80, 70)
    assert check(draws=65).draws == (65, 65, 65)


def test_cost_bounds_the_draws_and_the_report_says_so():
    bounded = check(cost=1.0)
    assert bounded.draws == (64, 64, 64)
    assert "raise `cost` or `draws`" in str(bounded)


def test_same_key_same_report(report):
    np.testing.assert_array_equal(check().ntk.z, report.ntk.z)


def test_text_is_a_table(report):
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["width", "16", "32", "64", "∞"]
    assert len({len(line) for line in lines[:5]}) == 1
    assert len(report.table) == 5
    assert any("NTK: spread ∝ n^-0.5" in line for line in lines)
    assert lines[-1].startswith("PASSED: largest |z|")


def test_picture_is_written(report, tmp_path):
    report.draw(tmp_path / "verify.svg")
    assert "<svg" in (tmp_path / "verify.svg").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (64,)}, "two or more `widths`"),
        ({"widths": (64, 32)}, "must be positive and grow"),
        ({"widths": (32, 32, 64)}, "must be positive and grow"),
        ({"widths": (0, 32)}, "must be positive and grow"),
        ({"draws": (100, 100)}, "one for each of 3 widths"),
        ({"draws": 1}, "two or more `draws`"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        check(**changes)


def test_missing_key_is_named():
    with pytest.raises(TypeError, match=re.escape("pass `key=jax.random.key(0)`")):
        check(key=None)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (jnp.ones((3, 7)), "failed on one example of `x1`"),
        (jnp.ones(4), "failed on one example of `x1`"),
        (jnp.ones((0, 4)), "`x1` is an empty batch"),
    ],
)
def test_wrong_examples_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        verify(NET, x, key=KEY, widths=WIDTHS, kernel=relu.Limit(4))


def test_kernel_of_another_shape_is_named():
    kernel = relu.Limit(4)
    kernel.ntk = lambda x1, x2: np.zeros((3, 3, 1, 1))
    with pytest.raises(ValueError, match=re.escape("`kernel.ntk(x1, x2)` has shape (3, 3, 1, 1)")):
        check(kernel)


def test_kernel_that_gives_both_is_called_once():
    class Both(relu.Limit):
        calls = ()

        def __call__(self, x1):
            self.calls += (x1,)
            return super().nngp(x1, x1), super().ntk(x1, x1)

        nngp = ntk = None

    kernel = Both(4)
    assert verify(NET, X, key=KEY, widths=(8, 16), kernel=kernel, draws=200).passed
    assert len(kernel.calls) == 1

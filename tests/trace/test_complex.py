"""Complex arithmetic between real parameters and a real output."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import widelimit as wl
from networks import drawn
from widelimit import program, trace

X = np.random.default_rng(0).normal(size=(2, 3, 4))
FIRST = np.einsum("aid,bjd->abij", X, X) / 4  # the covariance of the first layer, between positions
TURN = 0.7


def shapes(n):
    return {"b": (4, n), "c": (4, n), "nu": (n,), "v": (n, 1)}


def nngp(body):
    """f = v · body(x B / 2 + i x C / 2), averaged over positions."""

    def apply(p, x):
        z = x @ (p["b"] + 1j * p["c"]) / 2.0
        return body(p, z) @ p["v"] / jnp.sqrt(z.shape[-1])

    return wl.limit(wl.Network(drawn(shapes), apply), X[0]).nngp(X)


def test_a_rotation_of_a_circular_gaussian_is_one():
    """Re(e^{iτ} z) has the law of Re z."""
    found = nngp(lambda p, z: (np.exp(1j * TURN) * z).real.mean(0))
    np.testing.assert_allclose(found, FIRST.mean((2, 3)), rtol=1e-12)


def test_products_and_quotients_undo_each_other():
    found = nngp(lambda p, z: jnp.conj(z * (2 - 1j) / (2 - 1j) + z - z).imag.mean(0))
    np.testing.assert_allclose(found, FIRST.mean((2, 3)), rtol=1e-12)


SCANS = {
    "loop": lambda decay, u: jax.lax.scan(lambda h, x: (decay * h + x,) * 2, jnp.zeros_like(u[0]), u)[1],
    "parallel": lambda decay, u: jax.lax.associative_scan(
        lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), (jnp.broadcast_to(decay, u.shape), u)
    )[1],
}


@pytest.mark.parametrize("scan", SCANS)
def test_a_state_with_one_eigenvalue(scan):
    """h_t = Σ_s λ^{t−s} z_s: E[Re h_t Re h'_r] = Re Σ_{s, q} λ^{t−s} λ̄^{r−q} K(s, q)."""
    decay = 0.8 * np.exp(1j * TURN)
    found = nngp(lambda p, z: SCANS[scan](jnp.full(z.shape[-1:], decay), z).real.mean(0))
    powers = np.array([[decay ** max(t - s, 0) * (t >= s) for s in range(3)] for t in range(3)]).mean(0)
    np.testing.assert_allclose(found, np.einsum("s,q,absq->ab", powers, powers.conj(), FIRST).real, rtol=1e-12)


def test_the_steps_of_a_loop_share_an_exponential():
    def apply(p, x):
        h = SCANS["loop"](jnp.exp((-1 + 1j) * p["nu"]), x @ (p["b"] + 1j * p["c"]) / 2.0)
        return h.real.mean(0) @ p["v"] / jnp.sqrt(h.shape[-1])

    reading = trace.read(wl.Network(drawn(shapes), apply), X[0], "ntk", None)
    names = [getattr(x, "name", "") for x in program.reachable(reading.output)]
    assert names.count("cos") == names.count("sin") == 1


@pytest.mark.slow
def test_powers_of_an_exponential_are_exponentials():
    """E[Re(λ² z) Re(λ² z)'] = E[|λ|⁴] K for λ = e^{−0.3 (1 + i)ν}: E[e^{−1.2ν}] = e^{0.72}."""
    found = nngp(lambda p, z: (jnp.exp(-0.3 * (1 + 1j) * p["nu"]) ** 2 * z).real.mean(0))
    np.testing.assert_allclose(found, np.exp(0.72) * FIRST.mean((2, 3)), rtol=1e-5)


def test_a_modulus():
    """|e^{ν + iν}| = e^ν."""
    found = nngp(lambda p, z: jnp.abs(jnp.exp((1 + 1j) * p["nu"])) * z.real.mean(0))
    np.testing.assert_allclose(found, np.exp(2) * FIRST.mean((2, 3)), rtol=1e-12)


def test_a_step_without_a_rule():
    with pytest.raises(wl.Refusal, match=r"test_complex.py.*`tanh` of complex numbers has no rule"):
        nngp(lambda p, z: jnp.tanh(z).real.mean(0))

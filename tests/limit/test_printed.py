"""A program is printed in the notation of the papers: every variable once, by the formula that makes it."""

import jax
import jax.numpy as jnp

import widelimit as wl
from tests.networks import drawn, layer_norm, mlp, relu
from widelimit import trace
from widelimit.limit import Program


def program(net, example):
    return Program(trace.read(net, example, "ntk", None))


def lines(net, example, **kwargs):
    return [f"{row.kind.strip()} {row.text}".strip() for row in program(net, example).rows(**kwargs)]


def definitions(net, example, **kwargs):
    """The right-hand sides."""
    return [line.partition(" := ")[2] for line in lines(net, example, **kwargs) if " := " in line]


def recurrence(steps):
    def apply(params, x):
        state = jnp.zeros(params["b"].shape)
        for t in range(steps):
            state = jnp.tanh(state @ params["w"] / jnp.sqrt(state.size) + x[t] @ params["u"] + params["b"])
        return state @ params["v"] / jnp.sqrt(state.size)

    return wl.Network(drawn(lambda n: {"u": (3, n), "w": (n, n), "b": (n,), "v": (n, 1)}), apply), (steps, 3)


def test_perceptron():
    assert definitions(mlp(relu, layers=2), (10,)) == [
        "w0 ξ", "b0", "relu(g₁ + g₂)", "w1 x₁", "b1", "relu(g₃ + g₄)", "v x₂",
    ]  # fmt: skip


def test_kinds_and_letters():
    kinds = [line.split()[:2] for line in lines(mlp(relu, layers=2), (10,))]
    assert kinds[:4] == [["Initial", "g₁"], ["Initial", "g₂"], ["Nonlin", "x₁"], ["MatMul", "g₃"]]
    assert kinds[-1] == ["output", "g₅"]


def test_parameters_with_their_laws():
    text = str(program(mlp(relu, inputs=10, layers=2), (10,)))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert rows["w1"] == ["w1", "(n,", "n)", "normal,", "variance", "1", "2", "1"]  # σ² = 2, learning rate 1
    assert rows["w0"][-2] == "0.2"


def test_layer_norm():
    def apply(params, x):
        return layer_norm(jnp.tanh(x @ params["w"])) @ params["v"] / jnp.sqrt(params["v"].shape[0])

    net = wl.Network(drawn(lambda n: {"w": (4, n), "v": (n, 1)}), apply)
    assert definitions(net, (4,)) == [
        "w ξ", "tanh(g₁)", "E[x₁]", "E[(x₁ − θ₁)²]", "(x₁ − θ₁) / √(θ₂ + 1e−12)", "v x₂",
    ]  # fmt: skip


def test_attention():
    def apply(params, x):
        n = params["q"].shape[0]
        h = x @ params["e"]
        q, k = (h @ params[name] / jnp.sqrt(n) for name in "qk")
        return jax.nn.softmax(q @ k.T / n) @ h @ params["v"] / jnp.sqrt(n)

    net = wl.Network(drawn(lambda n: {"e": (3, n), "q": (n, n), "k": (n, n), "v": (n, 1)}), apply)
    assert {"softmax(θ₁)", "θ₂ g₁"} <= set(definitions(net, (5, 3)))


def test_recurrence_is_a_loop():
    assert lines(*recurrence(5))[2:7] == [
        "Nonlin x₁ := tanh(g₁ + g₂)", "for t = 1, …, 4:", "MatMul g₃[t] := w x₂[t−1]",
        "Initial g₄[t] := u ξ[t]", "Nonlin x₂[t] := tanh(g₃[t] + g₄[t] + g₂)",
    ]  # fmt: skip


def test_a_loop_says_where_it_starts():
    assert [row.note for row in program(*recurrence(5)).rows() if row.kind.startswith("for")] == ["from x₂[0] = x₁"]


def test_every_step_on_request():
    assert definitions(*recurrence(5), rolled=False).count("tanh(g₉ + g₁₀ + g₂)") == 1


def test_equal_layers_are_a_loop():
    def apply(params, x):
        h = x @ params["in"]
        for i in range(4):
            h = h + relu(h) @ params[f"w{i}"] / jnp.sqrt(h.size)
        return h @ params["v"] / jnp.sqrt(h.size)

    net = wl.Network(drawn(lambda n: {"in": (3, n)} | {f"w{i}": (n, n) for i in range(4)} | {"v": (n, 1)}), apply)
    assert {"for t = 0, …, 3:", "MatMul g₂[t] := w{t} x₁[t]"} <= set(lines(net, (3,)))


def test_activations_by_name():
    assert "gelu_tanh(g₃)" in definitions(mlp(jax.nn.gelu, layers=1), (10,))


def test_opposite_uses_carry_their_sign():
    def apply(params, x):
        h = x @ params["w"]
        return (relu(h) - relu(-h)) @ params["v"] / jnp.sqrt(h.size) - jnp.tanh(h) @ params["v"] / jnp.sqrt(h.size)

    net = wl.Network(drawn(lambda n: {"w": (3, n), "v": (n, 1)}), apply)
    assert any(d.startswith("−v ") or "− g" in d for d in definitions(net, (3,)))

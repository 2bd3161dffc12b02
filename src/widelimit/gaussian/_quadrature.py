"""E[φ(u)ψ(v)] for one Gaussian a side and any functions φ, ψ.

Piecewise linear functions by the density at their kinks (`_segments`). All others by two rules, chosen by the data:
Mehler's series where it reaches the accuracy (`_series`), the integral over the plane (`_plane`) where it does not.
The choice is made a whole array at a time, after every `vmap`, so the slow rule runs only where some entry needs it.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero

from widelimit.gaussian import _jumps, _series
from widelimit.gaussian._kinks import concretely, derivatives, kinks
from widelimit.gaussian._mesh import BLIND, Mesh, mesh
from widelimit.gaussian._plane import Law, over_plane, side_edges
from widelimit.gaussian._pointwise import Joint, Pointwise, derivative
from widelimit.gaussian._segments import is_piecewise_linear, over_kinks

# (terms, Gauss–Hermite nodes) of the series, tried in turn; the plane is what remains.
RULE_ERROR, MESH_ERROR = 1e-9, 1e-9
OFFSETS = (0.0, 0.7, -2.0)  # means, in standard deviations, at which the rules are measured
# The careful series: its terms, the widest panel (in standard deviations) that resolves them, entries a block.
LONG, SPACING, BLOCK = 256, 0.5, 256
TIERS = ((32, 97), (128, 321))


def expect_one(
    phi: Pointwise,
    psi: Pointwise,
    joint: Joint,
    left_params: tuple = (),
    right_params: tuple = (),
    *,
    accuracy: float = 1e-6,
) -> Array:
    """E[φ(u; left_params) ψ(v; right_params)] for at most one Gaussian a side.

    Args:
        phi: function of `u` (arity 0 or 1).
        psi: function of `v` (arity 0 or 1).
        joint: law of (u, v), elementwise over broadcastable arrays.
        left_params: known arguments of φ, broadcastable with the law.
        right_params: known arguments of ψ.
        accuracy: relative error aimed at, of √(E[φ²]E[ψ²]).

    Returns:
        The expectation, of the broadcast shape. The derivative with respect to the covariance is Price's
        E[φ'(u)ψ'(v)], from the same nodes; all derivatives are themselves differentiable.
    """
    if phi.arity == 0 or psi.arity == 0 or joint.cross[0][0] is None:
        left = _mean(phi, joint.left, joint.left_mean, left_params)
        return left * _mean(psi, joint.right, joint.right_mean, right_params)
    law = _law(joint)
    return _stack(phi, psi, 0, accuracy)(law, tuple(left_params), tuple(right_params))[0]


def describe_one(phi: Pointwise, accuracy: float = 1e-6) -> tuple[str, float]:
    """How a function of one Gaussian is integrated, and the relative error.

    The truncation error of a series is bounded by Parseval's identity wherever it is used, and entries that
    exceed `accuracy` are integrated over the plane, so the error is `accuracy` or what the mesh itself leaves.
    In a function with parameters kinks are not searched for: the error is then not-a-number.
    """
    if phi.arity == 0:
        return "constant", 0.0
    try:
        places = kinks(phi)
    except TypeError:
        return f"Hermite series of {LONG} terms, panels on a fixed grid (parameters: kinks not searched for)", float(
            "nan"
        )
    error = max(accuracy, MESH_ERROR)
    if places:
        if is_piecewise_linear(phi):
            return "density at the kinks " + ", ".join(f"{kink.place:.6g}" for kink in places), error
        where = ", ".join(f"{kink.place:.6g} (order {kink.order})" for kink in places)
        return (
            f"Hermite series of {LONG} terms split at {where}; panels over the plane where it converges slowly",
            error,
        )
    limits = ", ".join(f"{terms} terms to variance {_reach(phi, 1, nodes, False) ** 2:.3g}" for terms, nodes in TIERS)
    return f"Hermite series ({limits}, then {LONG} by panels); panels over the plane where it converges slowly", error


def _law(joint: Joint) -> Law:
    k12 = jnp.asarray(joint.cross[0][0])
    k11, k22 = (jnp.zeros_like(k12) if k is None else jnp.asarray(k) for k in (joint.left[0][0], joint.right[0][0]))
    return Law(k11, k22, k12, joint.left_mean[0], joint.right_mean[0])


def _mean(phi: Pointwise, covariance: tuple, mean: tuple, params: tuple) -> Array:
    """E[φ(u)] of a function of at most one Gaussian."""
    if phi.arity == 0:
        return phi.fn(*params)
    if covariance[0][0] is None:
        return phi.fn(jnp.zeros(()) if mean[0] is None else mean[0], *params)
    variance = jnp.asarray(covariance[0][0])
    centre = jnp.zeros_like(variance) if mean[0] is None else jnp.asarray(mean[0])
    return _line(phi)(centre, variance, tuple(params))


def _line(phi: Pointwise) -> Callable:
    """(mean, variance, params) -> E[φ(u)], differentiable."""
    return phi.remember("line", lambda: _make_line(phi))


def _make_line(phi: Pointwise) -> Callable:
    def value(mean: Array, variance: Array, params: tuple) -> Array:
        mean, variance = jnp.broadcast_arrays(mean, variance)
        x, w = _series.panel_nodes(side_edges(_mesh(phi, 0, params), mean, variance, 2.5))
        return jnp.sum(w * phi.fn(mean + jnp.sqrt(jnp.maximum(variance, 0)) * x, *params), 0)

    line = jax.custom_jvp(value)
    line.defjvp(partial(_line_rule, phi), symbolic_zeros=True)
    return line


def _unit(mean: Array, variance: Array) -> float:
    """E[1]."""
    return 1.0


def _line_rule(phi: Pointwise, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """∂E/∂m = E[φ'] and ∂E/∂k = ½E[φ''], in the sense of distributions."""
    (mean, variance, params), (dm, dk, dp) = primals, tangents
    value, total = _line(phi)(*primals), 0.0
    law = Law(variance, variance, variance, mean, mean)
    if _moves(dm):
        slope = _line(derivative(phi, 0))(*primals)
        total = total + dm * (slope + _jumps.one_sided(_jumps.jumps(phi, params), law, _unit))
    if _moves(dk):
        slope = derivative(phi, 0)
        curvature = _line(derivative(slope, 0))(*primals) + _jumps.one_sided(_jumps.jumps(slope, params), law, _unit)
        total = total + 0.5 * dk * (curvature + _jumps.one_sided_slope(_jumps.jumps(phi, params), law, _unit))
    for i, tangent in enumerate(dp):
        if _moves(tangent):
            total = total + tangent * _line(parameter_derivative(phi, i))(*primals)
    return value, jnp.broadcast_to(total, value.shape).astype(value.dtype)


def _stack(phi: Pointwise, psi: Pointwise, order: int, accuracy: float) -> Callable:
    """(law, params, params) -> E[φ⁽ⁱ⁾ψ⁽ⁱ⁾] for i = 0…order: one differentiable function, the orders sharing their nodes."""
    return phi.remember(("stack", psi, order, accuracy), lambda: _make_stack(phi, psi, order, accuracy))


def _make_stack(phi: Pointwise, psi: Pointwise, order: int, accuracy: float) -> Callable:
    values = _aligned(_after_vmap(partial(_choose, phi, psi, order, accuracy)))
    stack = jax.custom_jvp(values)
    stack.defjvp(partial(_rule, (phi, psi), order, accuracy), symbolic_zeros=True)
    return stack


def _aligned(f: Callable) -> Callable:
    """f with every array given the same number of axes, so that a new leading axis stays a broadcast."""

    def call(*args):
        args = jax.tree.map(jnp.asarray, args)
        ndim = max(leaf.ndim for leaf in jax.tree.leaves(args))
        return f(*jax.tree.map(lambda x: x.reshape((1,) * (ndim - x.ndim) + x.shape), args))

    return call


def _after_vmap(f: Callable) -> Callable:
    """An elementwise f that `vmap` calls once on the whole batch, so that a branch inside it stays a branch."""
    call = custom_vmap(f)

    @call.def_vmap
    def rule(axis_size, in_batched, *args):
        args = jax.tree.map(lambda x, batched: x if batched else x[None], args, tuple(in_batched))
        out = call(*args)
        out = jax.tree.map(lambda x: jnp.broadcast_to(x, (axis_size, *x.shape[1:])), out)
        return out, jax.tree.map(lambda _: True, out)

    return call


def _functions(phi: Pointwise, order: int, params: tuple) -> tuple[Callable[[Array], Array], ...]:
    return tuple(lambda u, f=f: f.fn(u, *params) for f in derivatives(phi, order))


def _choose(phi: Pointwise, psi: Pointwise, order: int, accuracy: float, *args) -> tuple[Array, ...]:
    """The first rule that reaches the accuracy for the whole array."""
    law, lp, rp = args
    shape = jnp.broadcast_shapes(*(x.shape for x in jax.tree.leaves(args)))
    functions = _functions(phi, order, lp), _functions(psi, order, rp)
    if order <= 1 and not lp and not rp and is_piecewise_linear(phi) and is_piecewise_linear(psi):
        return _spread(
            over_kinks(phi, psi, law, (_pair_of_means(phi, law.m1, law.k11), _pair_of_means(psi, law.m2, law.k22)))[
                : order + 1
            ],
            shape,
        )
    choice = partial(_careful, phi, psi, order, args, accuracy=accuracy, shape=shape)
    for terms, nodes in reversed(TIERS):
        reach = _reach(phi, order, nodes, bool(lp)), _reach(psi, order, nodes, bool(rp))
        choice = partial(
            _series_or, choice, law, functions, shape=shape, terms=terms, nodes=nodes, reach=reach, accuracy=accuracy
        )
    return choice()


def _pair_of_means(phi: Pointwise, mean: Array | None, variance: Array) -> tuple[Array, Array]:
    """(E[φ], E[φ'])."""
    centre = jnp.zeros_like(variance) if mean is None else mean
    return tuple(_line(f)(centre, variance, ()) for f in derivatives(phi, 1))


def _series_or(
    otherwise: Callable, law: Law, functions: tuple, *, shape, terms, nodes, reach, accuracy
) -> tuple[Array, ...]:
    if min(reach) == 0:
        return otherwise()
    a = _series.side(functions[0], law.m1, law.k11, terms=terms, nodes=nodes)
    b = _series.side(functions[1], law.m2, law.k22, terms=terms, nodes=nodes)
    rho = _series.correlation(law.k11, law.k22, law.k12)
    within = jnp.all(law.k11 <= reach[0] ** 2) & jnp.all(law.k22 <= reach[1] ** 2)
    converged = ~jnp.any(_unfinished(a, b, rho, accuracy))
    return lax.cond(within & converged, lambda: _spread(_series.evaluate(a, b, rho, law.k12), shape), otherwise)


def _unfinished(a: _series.Side, b: _series.Side, rho: Array, accuracy: float) -> Array:
    """Where the terms left out, at most |ρ|^J √(tail·tail) by Cauchy–Schwarz, exceed the accuracy."""
    tolerance = max(accuracy, 30 * float(jnp.finfo(rho.dtype).eps))
    return jnp.abs(rho) ** a.coefficients.shape[0] * jnp.sqrt(a.tail * b.tail) > tolerance


def _careful(
    phi: Pointwise, psi: Pointwise, order: int, args: tuple, *, accuracy: float, shape: tuple[int, ...]
) -> tuple[Array, ...]:
    """A long series with coefficients integrated panel by panel; over the plane, entries where even that does not converge."""
    law, lp, rp = args
    meshes = _mesh(phi, order, lp), _mesh(psi, order, rp)
    edges = [side_edges(m, mean, k, SPACING) for m, mean, k in zip(meshes, law[3:], law[:2], strict=True)]
    a = _series.careful_side(_functions(phi, order, lp), law.m1, law.k11, edges[0], terms=LONG)
    b = _series.careful_side(_functions(psi, order, rp), law.m2, law.k22, edges[1], terms=LONG)
    rho = _series.correlation(law.k11, law.k22, law.k12)
    values = _spread(_series.evaluate(a, b, rho, law.k12), shape)
    hard = jnp.broadcast_to(_unfinished(a, b, rho, accuracy), shape)

    def plane(law: Law, lp: tuple, rp: tuple) -> tuple[Array, ...]:
        return over_plane(_functions(phi, order, lp), _functions(psi, order, rp), law, meshes)

    return _patched(values, hard, plane, args)


def _patched(values: tuple[Array, ...], where: Array, f: Callable, args: tuple) -> tuple[Array, ...]:
    """The values, recomputed by f where asked: gathered into short blocks, as many as there are such entries."""
    shape, count = where.shape, jnp.sum(where)
    size = min(BLOCK, where.size)
    flat = jax.tree.map(lambda x: jnp.broadcast_to(x, shape).reshape(-1), args)
    places = jnp.nonzero(where.reshape(-1), size=-(-where.size // size) * size, fill_value=where.size)[0]

    def block(state):
        start, values = state
        index = lax.dynamic_slice(places, (start,), (size,))
        new = f(*jax.tree.map(lambda x: x.at[index].get(mode="clip"), flat))
        return start + size, tuple(v.at[index].set(n, mode="drop") for v, n in zip(values, new, strict=True))

    start = jnp.zeros((), places.dtype)
    values = lax.while_loop(lambda s: s[0] < count, block, (start, tuple(v.reshape(-1) for v in values)))[1]
    return tuple(v.reshape(shape) for v in values)


def _mesh(phi: Pointwise, order: int, params: tuple) -> Mesh:
    return BLIND if params else mesh(phi, order)


def _spread(values: tuple[Array, ...], shape: tuple[int, ...]) -> tuple[Array, ...]:
    return tuple(jnp.broadcast_to(x, shape) for x in values)


def _rule(pair: tuple[Pointwise, Pointwise], order: int, accuracy: float, primals: tuple, tangents: tuple) -> tuple:
    """Price: ∂E_i/∂k₁₂ = E_{i+1}; ∂/∂k₁₁ = ½E[f''g], ∂/∂m₁ = E[f'g]; a parameter moves the function itself."""
    (phi, psi), moving = pair, _moves(tangents[0].k12)
    values = _stack(phi, psi, order + moving, accuracy)(*primals)
    out = []
    for i, (f, g) in enumerate(zip(derivatives(phi, order), derivatives(psi, order), strict=True)):
        total = _left_tangents(f, g, accuracy, primals, tangents)
        total = total + _left_tangents(g, f, accuracy, _mirror(primals), _mirror(tangents))
        if moving:
            total = total + tangents[0].k12 * (values[i + 1] + _atoms(f, g, accuracy, primals))
        out.append(jnp.broadcast_to(total, values[i].shape).astype(values[i].dtype))
    return values[: order + 1], tuple(out)


def _mirror(args: tuple) -> tuple:
    return _jumps.swap(args[0]), args[2], args[1]


def _atoms(f: Pointwise, g: Pointwise, accuracy: float, primals: tuple) -> Array | float:
    """What the jumps of f and g add to E[f'(u) g'(v)]."""
    law, lp, rp = primals
    left, right = _jumps.jumps(f, lp), _jumps.jumps(g, rp)
    if not left and not right:
        return 0.0
    total = _jumps.two_sided(left, right, law)
    total = total + _jumps.one_sided(left, law, partial(_given, derivative(g, 0), rp))
    return total + _jumps.one_sided(right, _jumps.swap(law), partial(_given, derivative(f, 0), lp))


def _given(g: Pointwise, params: tuple, mean: Array, variance: Array) -> Array:
    return _line(g)(*jnp.broadcast_arrays(mean, variance), params)


def _left_tangents(f: Pointwise, g: Pointwise, accuracy: float, primals: tuple, tangents: tuple) -> Array | float:
    """What moves with the variance, the mean and the parameters of the left side."""
    (law, lp, rp), t = primals, tangents[0]
    mean, total = partial(_given, g, rp), 0.0
    if _moves(t.k11):
        df = derivative(f, 0)
        curvature = _stack(derivative(df, 0), g, 0, accuracy)(*primals)[0]
        curvature = curvature + _jumps.one_sided(_jumps.jumps(df, lp), law, mean)
        total = total + 0.5 * t.k11 * (curvature + _jumps.one_sided_slope(_jumps.jumps(f, lp), law, mean))
    if _moves(t.m1):
        slope = _stack(derivative(f, 0), g, 0, accuracy)(*primals)[0]
        total = total + t.m1 * (slope + _jumps.one_sided(_jumps.jumps(f, lp), law, mean))
    for i, tangent in enumerate(tangents[1]):
        if _moves(tangent):
            total = total + tangent * _stack(parameter_derivative(f, i), g, 0, accuracy)(*primals)[0]
    return total


def _moves(tangent) -> bool:
    return tangent is not None and not isinstance(tangent, SymbolicZero) and tangent.dtype != jax.dtypes.float0


def parameter_derivative(phi: Pointwise, i: int) -> Pointwise:
    """∂φ/∂θ_i, a function of the same arguments and parameters."""
    return phi.remember(
        ("parameter", i), lambda: Pointwise(partial(_parameter_slope, phi, i), 1, f"d/dθ{i}({phi.label})")
    )


def _parameter_slope(phi: Pointwise, i: int, u: Array, *params: Array) -> Array:
    shape = jnp.broadcast_shapes(u.shape, *(jnp.shape(p) for p in params))
    moving = jnp.broadcast_to(params[i], shape)
    return jax.jvp(lambda p: phi.fn(u, *params[:i], p, *params[i + 1 :]), (moving,), (jnp.ones_like(moving),))[1]


def _reach(phi: Pointwise, order: int, nodes: int, parametric: bool) -> float:
    """Largest standard deviation up to which Gauss–Hermite was measured to integrate φ⁽ⁱ⁾²; 0 if φ has parameters."""
    if parametric:
        return 0.0
    return phi.remember(("reach", order, nodes), lambda: _measure_reach(phi, order, nodes))


def _measure_reach(phi: Pointwise, order: int, nodes: int) -> float:
    """Squares integrated by Gauss–Hermite against panels of the function's own mesh, over scales and means.

    A kink defeats Gauss–Hermite, though symmetry may hide it for some law: the reach is then 0.
    """
    if kinks(phi):
        return 0.0
    s = np.repeat(2.0 ** np.arange(-7, 7, 0.5), len(OFFSETS))
    mean = s * np.tile(OFFSETS, s.size // len(OFFSETS))
    x, w, _ = _series.hermite_rule(1, nodes)
    rough = (concretely(phi, mean[:, None] + s[:, None] * x, order)[-1] ** 2) @ w
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        edges = side_edges(mesh(phi, order), jnp.asarray(mean), jnp.asarray(s**2), SPACING)
        x, w = (np.asarray(a) for a in _series.panel_nodes(edges))
    exact = np.sum(w * concretely(phi, mean + s * x, order)[-1] ** 2, 0)
    wrong = np.abs(rough - exact) > RULE_ERROR * np.abs(exact)
    first = np.argmax(np.append(wrong, True)) // len(OFFSETS) * len(OFFSETS)
    return float(s[first - 1]) if first else 0.0

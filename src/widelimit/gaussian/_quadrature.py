"""E[φ(u)ψ(v)] for one Gaussian a side and any functions φ, ψ.

Mehler's series (`_series`, `_sides`), from which kinks are taken off and integrated over the correlation (`_segments`); entry by entry
the integral over the plane (`_plane`) where the series does not reach the accuracy. The terms are counted, and the slow rule
chosen, after every `vmap`, from the laws at hand: the slow rule runs only where some entry needs it, and is compiled only then where
the caller can run a program again (`_deferred`).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from widelimit.gaussian import _jumps, _series
from widelimit.gaussian._batched import after_vmap, aligned
from widelimit.gaussian._deferred import deferred, tell
from widelimit.gaussian._kinks import derivatives, kinks
from widelimit.gaussian._mesh import BLIND, Mesh, mesh, mesh_at_run_time, unresolved_share
from widelimit.gaussian._missed import missed, watch
from widelimit.gaussian._pair import Pair
from widelimit.gaussian._plane import FEWER, POINTS, Law, over_plane, side_edges
from widelimit.gaussian._pointwise import Joint, Pointwise, derivative, parameter_derivative
from widelimit.gaussian._segments import depth, over_kinks
from widelimit.gaussian._segments import edges as edges_of
from widelimit.gaussian._sides import Half, missing, sides, split, tolerance

BLOCK = 256  # entries at a time by the slow rules
NEVER = 2
MESH_ERROR = 1e-9


def expect_one(pair: Pair, accuracy: float = 1e-6) -> Array:
    """E[φ(u)ψ(v)] for at most one Gaussian a side, to a relative error of √(E[φ²]E[ψ²]).

    The derivative with respect to the covariance is Price's E[φ'(u)ψ'(v)], from the same nodes; all derivatives are
    themselves differentiable.
    """
    phi, psi, joint, left_params, right_params = pair
    if phi.arity == 0 or psi.arity == 0 or joint.cross[0][0] is None:
        left = _mean(phi, joint.left, joint.left_mean, left_params)
        return left * _mean(psi, joint.right, joint.right_mean, right_params)
    law = _law(joint)
    return _stack(phi, psi, 0, accuracy)(law, tuple(left_params), tuple(right_params))[0]


def describe_one(phi: Pointwise, accuracy: float = 1e-6) -> tuple[str, float]:
    """How a function of one Gaussian is integrated, and a bound of the relative error.

    What the series leaves out is bounded by Parseval's identity, the error of its nodes is measured by a coarser rule, both for the laws
    at hand, and entries that exceed `accuracy` are integrated over the plane: the error is at most `accuracy` or what
    the plane's mesh leaves. In a function with parameters kinks are only suspected, at run time: the error is then
    not-a-number until one above the accuracy has been met.
    """
    if phi.arity == 0:
        return "constant", 0.0
    try:
        places = kinks(phi)
    except TypeError:
        return (
            "Hermite series, checked; panels over the plane split at suspected kinks (parameters: found at run time)",
            missed(phi) or float("nan"),
        )
    error, rule = max(accuracy, MESH_ERROR, missed(phi)), f"Hermite series of up to {_series.LONG} terms"
    if places:
        where = ", ".join(f"{kink.place:.6g} (order {kink.order})" for kink in places)
        rule += f", kinks {where} integrated over the correlation"
    rule += "; panels over the plane where it converges slowly"
    return rule + _unresolved(mesh(phi, 1)), error


def _unresolved(found: Mesh) -> str:
    """Where panels do not follow a function."""
    ends = [x for low, high, _ in found.unresolved for x in (low, high)]
    if not ends:
        return ""
    return f"; not followed by panels everywhere from |u| = {min(map(abs, ends)):.4g} on, measured at the laws met"


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
            total = total + tangent * _line(parameter_derivative(phi, i, len(params)))(*primals)
    return value, jnp.broadcast_to(total, value.shape).astype(value.dtype)


def _stack(phi: Pointwise, psi: Pointwise, order: int, accuracy: float) -> Callable:
    """(law, params, params) -> E[φ⁽ⁱ⁾ψ⁽ⁱ⁾] for i = 0…order: one differentiable function, the orders sharing their nodes."""
    return phi.remember(("stack", psi, order, accuracy), lambda: _make_stack(phi, psi, order, accuracy))


def _make_stack(phi: Pointwise, psi: Pointwise, order: int, accuracy: float) -> Callable:
    values = after_vmap(partial(_choose, phi, psi, order, accuracy))
    stack = jax.custom_jvp(lambda *args: values(*aligned(*args)))
    stack.defjvp(partial(_rule, (phi, psi), order, accuracy), symbolic_zeros=True)
    return stack


def _functions(phi: Pointwise, order: int, params: tuple) -> tuple[Callable[[Array], Array], ...]:
    return tuple(lambda u, f=f: f.fn(u, *params) for f in derivatives(phi, order))


def _choose(phi: Pointwise, psi: Pointwise, order: int, accuracy: float, *args) -> tuple[Array, ...]:
    """The series, what kinks add to it, and entry by entry a direct integral where the series does not reach the accuracy."""
    law, lp, rp = args
    pairs = list(zip(derivatives(phi, order), derivatives(psi, order), strict=True))
    if order and any(_jumps.jumps(f, lp) or _jumps.jumps(g, rp) for f, g in pairs[:-1]):
        # the derivative almost everywhere of a jump does not determine the function
        return tuple(_choose(f, g, 0, accuracy, *args)[0] for f, g in pairs)
    shape = jnp.broadcast_shapes(*(x.shape for x in jax.tree.leaves(args)))
    rho = _series.correlation(law.k11, law.k22, law.k12)
    aligned = jnp.abs(rho) >= 1 - 4 * jnp.finfo(rho.dtype).eps
    # entries on a line are left to the slow rule, which needs one integral for them, or else have the series go on for them
    rate = jnp.max(jnp.where(aligned, 0 if deferred() is None else 1, jnp.abs(rho)))
    halves = _half(phi, order, lp, law.m1, law.k11), _half(psi, order, rp, law.m2, law.k22)
    (left, right), terms = _pair_of_sides(halves, phi is psi and not lp and not rp, rate, accuracy)
    edges = halves[0].edges, halves[1].edges
    values = _series.evaluate(left, right, rho, law.k12, terms=terms, first=depth(*edges))
    values = _spread(values, shape)
    if edges[0].places and edges[1].places:
        added = over_kinks(
            *edges,
            (law.k11, law.k22, law.m1, law.m2),
            (left.keep, right.keep),
            jnp.broadcast_to(rho, shape),
            orders=order,
        )
        values = tuple(v + k for v, k in zip(values, reversed(added), strict=True))
    bound = missing((left.rough, left.edged), (right.rough, right.edged))
    bound = bound * jnp.where(aligned, 1, jnp.abs(rho)) ** terms
    hard = jnp.broadcast_to((bound > tolerance(accuracy, rho.dtype)) | left.wrong | right.wrong, shape)
    for f, params, mean, variance in ((phi, lp, law.m1, law.k11), (psi, rp, law.m2, law.k22)):
        if not params and mesh(f, order).unresolved:
            watch(f, unresolved_share(mesh(f, order), mean, variance), accuracy)
    # entries on a line need one integral, not two: those of a kind belong together
    turn = jnp.where(hard, jnp.where(aligned, 0, 1), NEVER)
    return _directly((phi, psi), order, accuracy, args, values=values, turn=turn)


def _half(phi: Pointwise, order: int, params: tuple, mean: Array | None, variance: Array) -> Half:
    jumps = () if params else kinks(derivatives(phi, order)[-1])
    own = None if params or not mesh(phi, order).is_long else mesh(phi, order)
    return Half(_functions(phi, order, params), edges_of(jumps), mean, variance, own)


def _pair_of_sides(halves: tuple[Half, Half], same: bool, rate: Array, accuracy: float) -> tuple:
    """Both sides; of one function without parameters in one go: half to compile."""
    if not same:
        return sides(halves, rate, accuracy)
    laws = [jnp.broadcast_arrays(jnp.zeros(()) if h.mean is None else h.mean, h.variance) for h in halves]
    means, variances = (jnp.concatenate([x.reshape(-1) for x in xs]) for xs in zip(*laws, strict=True))
    centred = all(half.mean is None for half in halves)
    both = halves[0]._replace(mean=None if centred else means.astype(variances.dtype), variance=variances)
    (whole,), terms = sides((both,), rate, accuracy)
    return split(whole, (laws[0][1].shape, laws[1][1].shape)), terms


def _directly(
    pair: tuple[Pointwise, Pointwise],
    order: int,
    accuracy: float,
    args: tuple,
    *,
    values: tuple[Array, ...],
    turn: Array,
) -> tuple[Array, ...]:
    """The values, where asked by the integral over the plane; where its panels depend on parameters, it is checked by a coarser rule."""
    phi, psi = pair

    def plane(law: Law, lp: tuple, rp: tuple) -> tuple[Array, ...]:
        meshes = _mesh_here(phi, order, lp, law.m1, law.k11), _mesh_here(psi, order, rp, law.m2, law.k22)
        stacks = _functions(phi, order, lp), _functions(psi, order, rp)
        found = over_plane(*stacks, law, meshes)
        if lp or rp:
            coarse = over_plane(*stacks, law, meshes, points=FEWER)
            scales = _norms(stacks[0], meshes[0], law.m1, law.k11), _norms(stacks[1], meshes[1], law.m2, law.k22)
            watch(phi, _plane_error(found, coarse, scales), tolerance(accuracy, law.k12.dtype))
        return found

    needed = jnp.any(turn < NEVER)
    if (later := deferred()) is not None:
        tell(later, needed)
        return values
    return lax.cond(needed, lambda: _patched(values, turn, plane, args), lambda: values)


def _plane_error(found: tuple, coarse: tuple, scales: tuple) -> Array:
    """From the change e between the rules: one of n nodes a panel errs by r⁻²ⁿ, so the finer one by about e^{10/7}, of the norms."""
    changes = [abs(x - y) / (a * b) for x, y, a, b in zip(found, coarse, *scales, strict=True)]
    return jnp.stack([jnp.max(change) for change in changes]) ** (POINTS / FEWER)


def _norms(stack: tuple[Callable, ...], found: Mesh, mean: Array | None, variance: Array) -> list[Array]:
    """√E[f²] of each; 1 of a function that vanishes."""
    x, w = _series.panel_nodes(side_edges(found, mean, variance, 2.5))
    u = (0.0 if mean is None else mean) + jnp.sqrt(jnp.maximum(variance, 0)) * x
    squares = [jnp.sum(w * f(u) ** 2, 0) for f in stack]
    return [jnp.sqrt(jnp.where(square > 0, square, 1)) for square in squares]


def _patched(values: tuple[Array, ...], turn: Array, f: Callable, args: tuple) -> tuple[Array, ...]:
    """The values, recomputed by f where the turn is not `NEVER`: in short blocks, as many as it takes, lower turns first."""
    shape, count = turn.shape, jnp.sum(turn < NEVER)
    size = min(BLOCK, turn.size)
    flat = jax.tree.map(lambda x: jnp.broadcast_to(x, shape).reshape(-1), args)
    places = jnp.pad(jnp.argsort(turn.reshape(-1)), (0, -turn.size % size), constant_values=turn.size)

    def block(state):
        start, values = state
        index = lax.dynamic_slice(places, (start,), (size,))
        index = jnp.where(start + jnp.arange(size) < count, index, turn.size)
        new = f(*jax.tree.map(lambda x: x.at[index].get(mode="clip"), flat))
        return start + size, tuple(v.at[index].set(n, mode="drop") for v, n in zip(values, new, strict=True))

    start = jnp.zeros((), jnp.int32)
    values = lax.while_loop(lambda s: s[0] < count, block, (start, tuple(v.reshape(-1) for v in values)))[1]
    return tuple(v.reshape(shape) for v in values)


def _mesh_here(phi: Pointwise, order: int, params: tuple, mean: Array | None, variance: Array) -> Mesh:
    """As `_mesh`, for a function with parameters from its values under the law at hand."""
    if not params:
        return mesh(phi, order)
    shape = jnp.broadcast_shapes(variance.shape, *(p.shape for p in params))
    centre = jnp.broadcast_to(jnp.zeros_like(variance) if mean is None else mean, shape)
    scale = jnp.broadcast_to(jnp.sqrt(jnp.maximum(variance, 0)), shape)
    return mesh_at_run_time(_functions(phi, 3, params), centre, scale)


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
            total = total + tangent * _stack(parameter_derivative(f, i, len(lp)), g, 0, accuracy)(*primals)[0]
    return total


def _moves(tangent) -> bool:
    return tangent is not None and not isinstance(tangent, SymbolicZero) and tangent.dtype != jax.dtypes.float0

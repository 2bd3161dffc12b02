"""E[φ(u_1…u_p) ψ(v_1…v_q)] for several Gaussians a side.

With n = p + q, C their joint covariance and C = V diag(λ) Vᵀ, the arguments are m + V√λ z with z standard: an eigen-root,
which exists whatever the rank of C (equal inputs, zero variance). `_rules` chooses the nodes z.

All expectations needed are M_kl = E[Dᵏφ(u) ⊗ Dˡψ(v)], and their derivatives are such expectations again (Price 1958):

    dM_kl = Σ_ij dC_ij M_{k+1,l+1}(i, j) + ½ Σ dA_ij M_{k+2,l}(i, j) + ½ Σ dB_ij M_{k,l+2}(i, j) + Σ dm_i M_{k+1,l}(i) + …

for the cross-covariances C and the covariances A, B of each side. Where φ has kinks its second derivative is a distribution.
Integration by parts then asks for one derivative only: with u = m + A y and v's regression on u of slope G = A⁺C,

    E[∂_i∂_jφ ψ] = E[∂_iφ ψ y_j] - Σ_l G_jl E[∂_iφ ∂_lψ],

and for none in derivatives of higher order: dE[F] = E[F (½ yᵀdΣy - ½ tr Σ⁺dΣ + y·dm)] with y = Σ⁺(x - m), Σ the joint covariance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from widelimit.gaussian._landscape import Regularity, regularity
from widelimit.gaussian._met import meeting
from widelimit.gaussian._pair import Pair
from widelimit.gaussian._pointwise import Joint, Pointwise, parameter_derivative
from widelimit.gaussian._ridge import of_one_gaussian, ridge
from widelimit.gaussian._rules import Rule, rule_for
from widelimit.gaussian._tower import tower


def expect_several(pair: Pair, accuracy: float = 1e-6) -> Array:
    """E[φ(u)ψ(v)] for any numbers of Gaussians, of a law of any rank; `accuracy` chooses the number of nodes, up to a bound.

    The derivative with respect to a cross-covariance is Price's E[∂_iφ ∂_jψ] at the same nodes. `describe_several` states
    the error.
    """
    phi, psi, joint, left_params, right_params = pair
    if phi.arity + psi.arity == 0:
        return phi.fn(*left_params) * psi.fn(*right_params)
    _note_parameters(phi, left_params), _note_parameters(psi, right_params)
    if (lines := _ridges(phi, psi)) is not None:
        return _along_lines(lines, joint, accuracy)
    arguments = jax.tree.map(jnp.asarray, (_law(joint), tuple(left_params), tuple(right_params)))
    shape = jnp.broadcast_shapes(*(a.shape for a in jax.tree.leaves(arguments)))
    return _moment(phi, psi, (0, 0), accuracy)(*_on_one_axis(arguments, shape)).reshape(shape)


def describe_several(phi: Pointwise, psi: Pointwise, accuracy: float = 1e-6) -> tuple[str, float]:
    """The rule and its relative error, of the expectation and of the sum of its Price derivatives, the larger.

    It is measured under two laws: variances 1 and 2, with correlations of one half and of three quarters between the sides
    and one quarter within. Known parameters are put at one. Not-a-number where the function cannot be evaluated so.
    """
    if phi.arity + psi.arity == 0:
        return "evaluated", 0.0
    if _ridges(phi, psi) is not None:
        from widelimit.gaussian._expect import describe

        parts = [describe(side.profile, accuracy=accuracy) for side in _ridges(phi, psi)]
        worst = max(parts, key=lambda d: d.error)
        return f"as a linear function and one of a single Gaussian: {worst.rule}", worst.error
    rule = rule_for(phi, psi, accuracy)
    return rule.name, rule.error


def _note_parameters(phi: Pointwise, params: tuple) -> None:
    phi.remember("parameters", lambda: len(params))


def _ridges(phi: Pointwise, psi: Pointwise) -> tuple | None:
    """Both functions as ridges of one Gaussian; their expectations then need no integral over several."""
    if max(phi.arity, psi.arity) < 2 or not phi.arity or not psi.arity:
        return None
    if phi.remember("parameters", lambda: 0) or psi.remember("parameters", lambda: 0):
        return None
    left = ridge(phi)
    right = ridge(psi) if left is not None else None
    return None if right is None else (left, right)


def _along_lines(lines: tuple, joint: Joint, accuracy: float) -> Array:
    from widelimit.gaussian._expect import expect

    return sum(expect(f, g, law, accuracy=accuracy) for f, g, law in of_one_gaussian(*lines, joint))


def _on_one_axis(arguments: Any, shape: tuple[int, ...]) -> Any:
    """The axes of the law as one: matrix products of many axes are what compilers do worst."""
    return jax.tree.map(lambda a: jnp.broadcast_to(a, shape).reshape(-1), arguments)


def _law(joint: Joint) -> tuple:
    return joint.left, joint.right, joint.cross, joint.left_mean, joint.right_mean


# --- M_kl and its derivatives ---------------------------------------------------------------------------------------------


def _moment(phi: Pointwise, psi: Pointwise, orders: tuple[int, int], accuracy: float) -> Callable[..., Array]:
    """(law, params, params) -> M_kl, shape (p, …, p, q, …, q, *law)."""
    return phi.remember(("moment", psi, orders, accuracy), lambda: _make_moment(_Pair(phi, psi, accuracy), orders))


class _Pair(NamedTuple):
    """Both functions, and the accuracy that their nodes are chosen for."""

    phi: Pointwise
    psi: Pointwise
    accuracy: float

    @property
    def rule(self) -> Rule:
        return rule_for(self.phi, self.psi, self.accuracy)

    @property
    def smooth(self) -> bool:
        return min(regularity(self.phi), regularity(self.psi)) is Regularity.SMOOTH


def _make_moment(pair: _Pair, orders: tuple[int, int]) -> Callable[..., Array]:
    noting = meeting(*pair)

    @jax.custom_jvp
    def moment(law: tuple, lp: tuple, rp: tuple) -> Array:
        value = _integrate(_powers(pair, orders, lp, rp), law, (lp, rp), pair.rule)
        return value if any(orders) else noting(value, law, lp, rp)

    moment.defjvp(partial(_jvp, pair, orders), symbolic_zeros=True)
    return moment


def _powers(pair: _Pair, orders: tuple[int, int], lp: tuple, rp: tuple) -> Callable:
    """(u, v) -> Dᵏφ ⊗ Dˡψ."""
    left, right = tower(pair.phi, orders[0]), tower(pair.psi, orders[1])

    def integrand(u: Array, v: Array, _: Array) -> Array:
        return _outer(left(u, lp), orders[0], right(v, rp), orders[1])

    return integrand


def _outer(a: Array, k: int, b: Array, l: int) -> Array:
    """a (k indices, ...) times b (l indices, ...), broadcasting what follows."""
    shape = jnp.broadcast_shapes(a.shape[k:], b.shape[l:])
    a, b = jnp.broadcast_to(a, (*a.shape[:k], *shape)), jnp.broadcast_to(b, (*b.shape[:l], *shape))
    return a.reshape(*a.shape[:k], *[1] * l, *shape) * b


def _jvp(pair: _Pair, orders: tuple[int, int], primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    k, l = orders

    def expected(more: tuple[int, int]) -> Array:
        return _moment(pair.phi, pair.psi, (k + more[0], l + more[1]), pair.accuracy)(*primals)

    value, total = expected((0, 0)), 0.0
    left, right, cross, m1, m2 = (_moving(t) for t in tangents[0])
    if pair.smooth or k + l == 0:
        total = total + _contracted(expected, (1, 1), cross, orders)
        total = total + _contracted(expected, (1, 0), m1, orders) + _contracted(expected, (0, 1), m2, orders)
    if pair.smooth:
        total = total + 0.5 * (
            _contracted(expected, (2, 0), left, orders) + _contracted(expected, (0, 2), right, orders)
        )
    elif k + l == 0:
        total = total + _by_parts(pair, primals, left, side=0) + _by_parts(pair, primals, right, side=1)
    elif left or right or cross or m1 or m2:
        total = total + _by_score(pair, orders, primals, (left, right, cross, m1, m2))
    total = total + _from_parameters(pair, orders, primals, tangents)
    return value, jnp.broadcast_to(total, value.shape).astype(value.dtype)


def _moving(tree: tuple) -> dict[tuple[int, ...], Array]:
    """The entries whose tangent is not a structural zero, by their indices."""
    zero = jax.custom_derivatives.SymbolicZero
    out = {}
    for i, row in enumerate(tree):
        for j, t in enumerate(row) if isinstance(row, tuple) else [(None, row)]:
            if t is not None and not isinstance(t, zero) and t.dtype != jax.dtypes.float0:
                out[(i,) if j is None else (i, j)] = t
    return out


def _contracted(expected: Callable, more: tuple[int, int], moving: dict, orders: tuple[int, int]) -> Any:
    """Σ dC_ij M_{k+…,l+…}(i, j): new indices come first on each side."""
    if not moving:
        return 0.0
    moment, a = expected(more), more[0]
    total = 0.0
    for at, t in moving.items():
        place = (*at[:a], *[slice(None)] * orders[0], *at[a:])
        total = total + t * moment[place]
    return total


def _from_parameters(pair: _Pair, orders: tuple[int, int], primals: tuple, tangents: tuple) -> Any:
    total = 0.0
    for (i,), t in _moving(tangents[1]).items():
        total = total + t * _moment(
            parameter_derivative(pair.phi, i, len(primals[1])), pair.psi, orders, pair.accuracy
        )(*primals)
    for (i,), t in _moving(tangents[2]).items():
        total = total + t * _moment(
            pair.phi, parameter_derivative(pair.psi, i, len(primals[2])), orders, pair.accuracy
        )(*primals)
    return total


# --- derivatives of functions with kinks ----------------------------------------------------------------------------------


def _by_parts(pair: _Pair, primals: tuple, moving: dict, *, side: int) -> Any:
    """½ Σ dA_ij E[∂_i∂_jφ ψ] for one side, by one derivative of φ and one of ψ."""
    if not moving:
        return 0.0
    law, lp, rp = primals
    if side:
        pair, law, lp, rp = pair._replace(phi=pair.psi, psi=pair.phi), _swapped(law), rp, lp
    slopes = _last(_levers(pair, lp, rp))(law, lp, rp)
    inverse, across = _regression(law)
    levers = jnp.einsum("ik...,kj...->ij...", slopes, inverse)
    if pair.psi.arity:
        both = _moment(pair.phi, pair.psi, (1, 1), pair.accuracy)(law, lp, rp)
        levers = levers - jnp.einsum("il...,jl...->ij...", both, across)
    return 0.5 * sum(t * levers[at] for at, t in moving.items())


def _levers(pair: _Pair, lp: tuple, rp: tuple) -> Callable[..., Array]:
    """E[∂_iφ ψ (u_j - m_j)], shape (p, p, *law)."""
    slope, other, p = tower(pair.phi, 1), tower(pair.psi, 0), pair.phi.arity

    def integral(law: tuple, lp: tuple, rp: tuple) -> Array:
        def integrand(u: Array, v: Array, centred: Array) -> Array:
            return _outer(slope(u, lp) * other(v, rp), 1, centred[:p], 1)

        return _integrate(integrand, law, (lp, rp), pair.rule)

    return integral


def _by_score(pair: _Pair, orders: tuple[int, int], primals: tuple, moving: tuple) -> Array:
    """E[F (½ yᵀdΣy - ½ tr Σ⁺dΣ + y·dm)] for F = Dᵏφ ⊗ Dˡψ, y = Σ⁺(x - m)."""
    p, count = pair.phi.arity, sum(orders)
    inverse = _pseudo_inverse(_covariance(primals[0]))
    centre = _moment(pair.phi, pair.psi, orders, pair.accuracy)(*primals)
    left, right, cross, m1, m2 = moving
    pairs = {**left, **{(p + i, p + j): t for (i, j), t in right.items()}}
    pairs |= {(i, p + j): 2 * t for (i, j), t in cross.items()}
    total = 0.0
    if pairs:
        second = _last(_scores(pair, orders, 2))(*primals)
        y = _inverted(_inverted(second, inverse, count), inverse, count + 1)
        for (a, b), t in pairs.items():
            total = total + 0.5 * t * (y[(slice(None),) * count + (a, b)] - centre * inverse[a, b])
    means = {**m1, **{(p + i,): t for (i,), t in m2.items()}}
    if means:
        first = _inverted(_last(_scores(pair, orders, 1))(*primals), inverse, count)
        total = total + sum(t * first[(slice(None),) * count + at] for at, t in means.items())
    return total


def _inverted(a: Array, inverse: Array, axis: int) -> Array:
    """Σ⁺ on one index axis of a."""
    moved = jnp.moveaxis(a, axis, 0)
    lead = moved.ndim - 1 - (inverse.ndim - 2)
    matrix = inverse.reshape(*inverse.shape[:2], *[1] * lead, *inverse.shape[2:])
    return jnp.moveaxis(jnp.sum(matrix * moved[None], 1), 0, axis)


def _scores(pair: _Pair, orders: tuple[int, int], power: int) -> Callable[..., Array]:
    """E[F (x - m)^⊗power], shape (*F, n, …, *law)."""

    def integral(law: tuple, lp: tuple, rp: tuple) -> Array:
        factor = _powers(pair, orders, lp, rp)

        def integrand(u: Array, v: Array, centred: Array) -> Array:
            out, indices = factor(u, v, centred), sum(orders)
            for i in range(power):
                out = _outer(out, indices + i, centred, 1)
            return out

        return _integrate(integrand, law, (lp, rp), pair.rule)

    return integral


def _last(integral: Callable[..., Array]) -> Callable[..., Array]:
    """An integral that is not differentiated any more."""
    guarded = jax.custom_jvp(integral)

    @guarded.defjvp
    def refuse(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        raise NotImplementedError(
            "derivatives of this order of an expectation of several Gaussians with kinks (a maximum, ReLU) have no rule; "
            "use a smooth function, or differences of the kernel"
        )

    return guarded


# --- the integral ---------------------------------------------------------------------------------------------------------


def _integrate(integrand: Callable, law: tuple, others: tuple, rule: Rule) -> Array:
    """Σ_k w_k integrand(u(z_k), v(z_k), x(z_k) - m), a chunk of nodes at a time."""
    p = len(law[0])
    leaves = [x for x in jax.tree.leaves((law, others)) if isinstance(x, jax.Array)]
    shape = jnp.broadcast_shapes(*(x.shape for x in leaves))
    covariance = _covariance(law, shape)
    mean = jnp.stack([_spread(m, shape, covariance.dtype) for m in (*law[3], *law[4])])
    count, chunk = rule.nodes(covariance, mean)
    axis = -1 - len(shape)

    def part(k: Array) -> Array:
        centred, weights = chunk(k)
        x = centred + mean[:, None]
        values = integrand(x[:p], x[p:], centred)
        return jnp.sum(weights * values, axis).astype(covariance.dtype)

    start = jax.eval_shape(part, jnp.zeros((), int))
    return lax.fori_loop(0, count, lambda k, total: total + part(k), jnp.zeros(start.shape, start.dtype))


def _covariance(law: tuple, shape: tuple[int, ...] | None = None) -> Array:
    """The joint covariance, (n, n, *law)."""
    left, right, cross = law[:3]
    rows = [(*left[i], *cross[i]) for i in range(len(left))]
    rows += [(*(cross[i][j] for i in range(len(left))), *right[j]) for j in range(len(right))]
    return _matrix(rows, law, shape)


def _matrix(rows: Any, law: tuple, shape: tuple[int, ...] | None = None) -> Array:
    leaves = jax.tree.leaves(law)
    dtype = jnp.result_type(*leaves, jnp.float32)
    shape = jnp.broadcast_shapes(*(x.shape for x in leaves)) if shape is None else shape
    return jnp.stack([jnp.stack([_spread(x, shape, dtype) for x in row]) for row in rows])


def _spread(x: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
    return jnp.zeros(shape, dtype) if x is None else jnp.broadcast_to(x, shape).astype(dtype)


def _swapped(law: tuple) -> tuple:
    left, right, cross, m1, m2 = law
    columns = tuple(tuple(row[j] for row in cross) for j in range(len(right)))
    return right, left, columns, m2, m1


def _regression(law: tuple) -> tuple[Array, Array]:
    """A⁺ and A⁺C: the inverse covariance of u, and the slopes of v's regression on u."""
    inverse = _pseudo_inverse(_matrix(law[0], law))
    if not law[1]:
        return inverse, inverse[:, :0]
    return inverse, jnp.einsum("ij...,jl...->il...", inverse, _matrix(law[2], law))


def _pseudo_inverse(covariance: Array) -> Array:
    """Σ⁺ by eigenvalues, (n, n, ...); directions without variance (up to rounding) have none."""
    values, vectors = jnp.linalg.eigh(jnp.moveaxis(covariance, (0, 1), (-2, -1)))
    floor = 64 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), -1, keepdims=True)
    inverse = jnp.where(values > floor, 1 / jnp.where(values > floor, values, 1), 0)
    return jnp.einsum("...ik,...k,...jk->ij...", vectors, inverse, vectors)

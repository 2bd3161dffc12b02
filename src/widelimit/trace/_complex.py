"""Complex arithmetic between real parameters and a real output: a complex array is a pair of real ones.

Each complex step is written in real steps, which are traced and read like any others. The exponential e^{a + ib} is kept as
its exponent as long as it is multiplied, raised to powers, or moved: the powers of a state's decay λ = e^{a + ib} are then functions of one
argument each, e^{ka} cos kb, and |λ| = e^a.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.trace._abstract import Concrete, Refusal
from widelimit.trace._jaxpr import Step, bind, trace

_MOVES = frozenset(
    (
        "reshape",
        "transpose",
        "broadcast_in_dim",
        "squeeze",
        "expand_dims",
        "slice",
        "rev",
        "copy",
        "copy_p",
        "unstack",
        "split",
    )
)
_LINEAR = _MOVES | {"reduce_sum", "cumsum", "concatenate", "stack", "add_any", "tile", "gather", "dynamic_slice"}


@dataclasses.dataclass(frozen=True, eq=False)
class Complex:
    """re + i·im, or e^{re + i·im} where `is_exponent`; None is zero."""

    re: Any
    im: Any
    is_exponent: bool = False


def is_complex(step: Step, operands: Sequence[Any]) -> bool:
    """Whether a step (no loop, which is walked through) reads or makes complex numbers."""
    made = any(jnp.issubdtype(v.aval.dtype, jnp.complexfloating) for v in step.eqns[0].outvars)
    return step.name not in ("scan", "cond") and (made or any(isinstance(x, Complex) for x in operands))


def read_complex(step: Step, operands: Sequence[Any], read: Callable[..., list[Any]]) -> list[Any]:
    """The outputs of a complex step; `read(bodies, inputs, caller)` reads a program of real steps."""
    return _Reader(step, read).outputs([split(x) for x in operands])


def split(x: Any) -> Complex:
    """Any value as a complex one."""
    if isinstance(x, Complex):
        return x
    if isinstance(x, Concrete):
        parts = [Concrete(tuple(part(v) for v in x.values)) for part in (np.real, np.imag)]
        return Complex(*(None if not any(np.any(v) for v in p.values) else p for p in parts))
    return Complex(x, None)


@dataclasses.dataclass(frozen=True)
class _Reader:
    """One complex step; functions of complex numbers take them and which of the widths is traced."""

    step: Step
    read: Callable[..., list[Any]]

    def outputs(self, operands: list[Complex]) -> list[Any]:
        if self.step.name == "abs" and operands[0].is_exponent:
            return self._real(
                lambda zs, width: [jnp.exp(zs[0].filled(zs[0].real))],
                [dataclasses.replace(operands[0], is_exponent=False)],
            )
        if self._keeps_exponents(operands):
            return [dataclasses.replace(z, is_exponent=True) for z in self._pairs(_of_exponents(self.step), operands)]
        operands = [self._expanded(z) for z in operands]
        if self.step.name == "exp":
            return [dataclasses.replace(operands[0], is_exponent=True)]
        fn = _rule(self.step)
        return self._pairs(fn, operands) if self._makes_complex() else self._real(fn, operands)

    def _makes_complex(self) -> bool:
        return jnp.issubdtype(self.step.dtype(), jnp.complexfloating)

    def _keeps_exponents(self, operands: list[Complex]) -> bool:
        name, first = self.step.name, operands[0]
        if name == "mul":
            return all(z.is_exponent for z in operands)
        if name == "pow" and operands[1].im is not None:
            return False
        return first.is_exponent and (name in _MOVES or name in ("integer_pow", "pow", "conj"))

    def _expanded(self, z: Complex) -> Complex:
        """e^{a + ib} as e^a cos b + i e^a sin b; made once, so that the steps of a loop share it."""
        if not z.is_exponent:
            return z
        made = vars(z).setdefault("_expanded", [])
        if not made:
            made += self._pairs(lambda zs, width: [_exp(zs[0])], [dataclasses.replace(z, is_exponent=False)])
        return made[0]

    def _pairs(self, fn: Callable[[list[_Z], int], Sequence[_Z]], operands: list[Complex]) -> list[Complex]:
        """The outputs of a function of complex numbers in terms of their parts."""
        present: list[tuple[bool, bool]] = []

        def parts(zs: list[_Z], width: int) -> list[Any]:
            outs = fn(zs, width)
            present[:] = [(z.real is not None, z.imag is not None) for z in outs]
            return [p for z in outs for p in (z.real, z.imag) if p is not None]

        found = iter(self._traced(parts, operands))
        return [Complex(*(next(found) if there else None for there in pair)) for pair in present]

    def _real(self, fn: Callable[[list[_Z], int], Sequence[Any]], operands: list[Complex]) -> list[Any]:
        return self._traced(lambda zs, width: list(fn(zs, width)), operands)

    def _traced(self, fn: Callable[[list[_Z], int], list[Any]], operands: list[Complex]) -> list[Any]:
        values = [p for z in operands for p in (z.re, z.im) if p is not None]
        bodies = [self._program(fn, operands, width) for width in range(len(self.step.eqns))]
        return self.read(bodies, values, self.step.where)

    def _program(self, fn: Callable[[list[_Z], int], list[Any]], operands: list[Complex], width: int) -> Any:
        shapes = [v.aval.shape for v in self.step.eqns[width].invars][: len(operands)]
        dtype = np.zeros((), self._dtype()).real.dtype
        structs = [
            jax.ShapeDtypeStruct(s, _own(p, dtype))
            for z, s in zip(operands, shapes, strict=True)
            for p in (z.re, z.im)
            if p is not None
        ]

        def run(*arrays: Any) -> list[Any]:
            left = iter(arrays)
            zs = [
                _Z(*(None if p is None else next(left) for p in (z.re, z.im)), shape)
                for z, shape in zip(operands, shapes, strict=True)
            ]
            return fn(zs, width)

        return trace(run, *structs)[0]

    def _dtype(self) -> Any:
        found = [v.aval.dtype for v in (*self.step.eqns[0].invars, *self.step.eqns[0].outvars)]
        return next(d for d in found if jnp.issubdtype(d, jnp.complexfloating))


def _own(x: Any, dtype: Any) -> Any:
    """Whole numbers and truth values keep their type."""
    if isinstance(x, Concrete) and x.values[0].dtype.kind in "biu":
        return x.values[0].dtype
    return dtype


@dataclasses.dataclass(frozen=True)
class _Z:
    """A complex number while its real program is traced; None is zero."""

    real: Any
    imag: Any
    shape: tuple[int, ...]

    def filled(self, part: Any) -> Any:
        return jnp.zeros(self.shape) if part is None else part


def _plus(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def _times(a: Any, b: Any) -> Any:
    return None if a is None or b is None else a * b


def _minus(a: Any) -> Any:
    return None if a is None else -a


def _z(real: Any, imag: Any) -> _Z:
    return _Z(real, imag, next((p.shape for p in (real, imag) if p is not None), ()))


def _product(x: _Z, y: _Z, times: Callable[[Any, Any], Any] = _times) -> _Z:
    return _z(
        _plus(times(x.real, y.real), _minus(times(x.imag, y.imag))), _plus(times(x.real, y.imag), times(x.imag, y.real))
    )


def _exp(z: _Z) -> _Z:
    modulus = None if z.real is None else jnp.exp(z.real)
    angle = z.filled(None) if z.imag is None else z.imag
    turned = jnp.cos(angle), jnp.sin(angle)
    return _z(*turned) if modulus is None else _z(modulus * turned[0], modulus * turned[1])


def _quotient(x: _Z, y: _Z) -> _Z:
    if y.imag is None:
        return _z(*(None if p is None else p / y.real for p in (x.real, x.imag)))
    square = _plus(_times(y.real, y.real), y.imag * y.imag)
    top = _product(x, _z(y.real, _minus(y.imag)))
    return _z(*(None if p is None else p / square for p in (top.real, top.imag)))


def _integer_power(z: _Z, n: int) -> _Z:
    if n < 0:
        return _quotient(_z(jnp.ones(z.shape), None), _integer_power(z, -n))
    out = _z(jnp.ones(z.shape), None)
    for _ in range(n):
        out = _product(out, z)
    return out


def _log(z: _Z) -> _Z:
    return _z(0.5 * jnp.log(_square(z)), jnp.arctan2(z.filled(z.imag), z.filled(z.real)))


def _square(z: _Z) -> Any:
    found = _plus(_times(z.real, z.real), _times(z.imag, z.imag))
    return z.filled(None) if found is None else found


def _both(fn: Callable[[Any], Any], z: _Z) -> _Z:
    return _z(*(None if p is None else fn(p) for p in (z.real, z.imag)))


def _selected(which: Any, *cases: _Z) -> _Z:
    def part(get: Callable[[_Z], Any]) -> Any:
        if all(get(c) is None for c in cases):
            return None
        return jax.lax.select_n(which, *(jnp.broadcast_to(c.filled(get(c)), c.shape) for c in cases))

    return _z(part(lambda z: z.real), part(lambda z: z.imag))


def _linear(step: Step) -> Callable[[list[_Z], int], Sequence[_Z]]:
    """The step on real and imaginary parts apart; operands after the first of an indexing are whole numbers."""

    def fn(zs: list[_Z], width: int) -> Sequence[_Z]:
        joins = step.name in ("concatenate", "stack", "add_any", "pad")

        def part(get: Callable[[_Z], Any]) -> list[Any] | None:
            if all(get(z) is None for z in (zs if joins else zs[:1])):
                return None
            rest = [z.filled(get(z)) if joins else z.filled(z.real) for z in zs[1:]]
            return bind(step.eqns[width], zs[0].filled(get(zs[0])), *rest)

        rows = part(lambda z: z.real), part(lambda z: z.imag)
        count = len(step.eqns[0].outvars)
        return [_z(*(None if row is None else row[i] for row in rows)) for i in range(count)]

    return fn


def _dot(step: Step) -> Callable[[list[_Z], int], Sequence[_Z]]:
    def times(a: Any, b: Any) -> Any:
        if a is None or b is None:
            return None
        return jax.lax.dot_general(a, b, step.params["dimension_numbers"], precision=step.params["precision"])

    return lambda zs, width: [_product(*zs, times)]


def _of_exponents(step: Step) -> Callable[[list[_Z], int], Sequence[_Z]]:
    """What a step that keeps exponentials does to their exponents."""
    match step.name:
        case "mul":
            return lambda zs, width: [_z(_plus(zs[0].real, zs[1].real), _plus(zs[0].imag, zs[1].imag))]
        case "integer_pow":
            return lambda zs, width: [_both(lambda p: p * step.params["y"], zs[0])]
        case "pow":
            return lambda zs, width: [_both(lambda p: p * zs[1].filled(zs[1].real), zs[0])]
        case "conj":
            return lambda zs, width: [_z(zs[0].real, _minus(zs[0].imag))]
    return _linear(step)


_ELEMENTWISE: dict[str, Callable[..., _Z]] = {
    "add": lambda x, y: _z(_plus(x.real, y.real), _plus(x.imag, y.imag)),
    "sub": lambda x, y: _z(_plus(x.real, _minus(y.real)), _plus(x.imag, _minus(y.imag))),
    "neg": lambda x: _z(_minus(x.real), _minus(x.imag)),
    "mul": _product,
    "div": _quotient,
    "square": lambda x: _product(x, x),
    "log": _log,
    "conj": lambda x: _z(x.real, _minus(x.imag)),
    "complex": lambda x, y: _z(x.real, y.real),
    "convert_element_type": lambda x: x,
    "select_n": lambda which, *cases: _selected(which.real, *cases),
    "sin": lambda x: _z(*_sine(x)),
}
_TO_REAL: dict[str, Callable[[_Z], Any]] = {
    "real": lambda z: z.filled(z.real),
    "imag": lambda z: z.filled(z.imag),
    "abs": lambda z: jnp.sqrt(_square(z)),
    "convert_element_type": lambda z: z.filled(z.real),
}


def _sine(z: _Z) -> tuple[Any, Any]:
    """sin(a + ib) = sin a cosh b + i cos a sinh b."""
    a, b = z.filled(z.real), z.filled(z.imag)
    return jnp.sin(a) * jnp.cosh(b), jnp.cos(a) * jnp.sinh(b)


def _rule(step: Step) -> Callable[[list[_Z], int], Sequence[Any]]:
    """A step on complex numbers as a function of their parts."""
    made = jnp.issubdtype(step.dtype(), jnp.complexfloating)
    if not made and step.name in _TO_REAL:
        return lambda zs, width: [_TO_REAL[step.name](zs[0])]
    if made and step.name in _ELEMENTWISE:
        return lambda zs, width: [_ELEMENTWISE[step.name](*zs)]
    if step.name == "integer_pow":
        return lambda zs, width: [_integer_power(zs[0], step.params["y"])]
    if step.name == "dot_general":
        return _dot(step)
    if step.name in _LINEAR or step.name == "pad":
        return _linear(step)
    raise Refusal(
        f"at {step.where}: the primitive `{step.name}` of complex numbers has no rule. Sums, products, quotients, exponentials, "
        "logarithms, whole powers and maps on positions have; write it with these, or in real numbers."
    )

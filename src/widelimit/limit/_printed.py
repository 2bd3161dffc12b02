"""The Tensor Program as text, in the notation of the papers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from widelimit import program as tp
from widelimit import trace
from widelimit.limit._explain import operations, outermost

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """The program that a network was read as: G-variables g (Gaussian), X-variables x, scalars θ, input ξ."""

    reading: trace.Reading

    def __str__(self) -> str:
        return "\n".join(_Printer(self.reading).lines())

    __repr__ = __str__


class _Printer:
    def __init__(self, reading: trace.Reading):
        self.reading = reading
        self.names: dict[int, str] = {}
        self.counts: dict[str, int] = {}
        self.rows: list[tuple[str, str, str]] = []

    def lines(self) -> list[str]:
        self._nonlinear = {id(v) for v in outermost(self.reading.output)}
        last = self.name(self.reading.output)
        header = [f"A  {self._law(path)}" for path in self.reading.parameters if self._used(path)]
        width = max((len(text) for _, text, _ in self.rows), default=0)
        body = [f"{kind:<9}{text:<{width}}  {where}" for kind, text, where in self.rows]
        return [*header, *body, f"output   {last}"]

    def _used(self, path: str) -> bool:
        return any(
            isinstance(v, tp.MatMul | tp.Vector) and v.weight.path == path for v in tp.reachable(self.reading.output)
        )

    def _law(self, path: str) -> str:
        law, rate = self.reading.laws[path], self.reading.rates[path]
        return f"{path}: {law.kind.replace('_', ' ')}, variance {law.variance}, learning rate {rate}"

    def fresh(self, letter: str) -> str:
        self.counts[letter] = self.counts.get(letter, 0) + 1
        return letter + str(self.counts[letter]).translate(_SUBSCRIPTS)

    def define(self, key: Any, letter: str, kind: str, text: str, where: str = "") -> str:
        self.names[id(key)] = self.fresh(letter)
        self.rows.append((kind, f"{self.names[id(key)]} := {text}", where.rpartition("/")[2]))
        return self.names[id(key)]

    def name(self, v: Any) -> str:
        if id(v) in self.names:
            return self.names[id(v)]
        return self.known(v) if isinstance(v, tp.Known) else self.value(v)

    def value(self, v: tp.Value) -> str:
        shape = f" {list(v.shape)}" if v.shape else ""
        match v:
            case tp.Given():
                return self.name(v.known)
            case tp.Vector():
                return self.define(v, "g", "Initial", f"{v.weight.path}{shape}", v.where)
            case tp.MatMul():
                return self.define(
                    v, "g", "MatMul", f"{self._weight(v)} {self.name(v.h)}{self._taps(v)}{shape}", v.where
                )
            case tp.Fluctuation():
                return self.define(v, "g", "CLT", f"m^(-1/2) Σ {self.name(v.h)} inside a head{shape}", v.where)
            case tp.Image():
                return self.define(v, self._letter(v), "LinComb", f"{self._map(v)}({self.name(v.h)}){shape}", v.where)
            case tp.Sum():
                text = " + ".join(self.name(t) for t in v.terms)
                return self.define(v, self._letter(v), "LinComb", f"{text}{shape}", v.where)
            case tp.Scaled():
                return self.define(
                    v, self._letter(v), "LinComb", f"{self.name(v.known)} {self.name(v.h)}{shape}", v.where
                )
            case tp.Product():
                text = " ⊙ ".join(self.name(f) for f in v.factors)
                return self.define(v, "x", "Nonlin", f"{text}{shape}", v.where)
        return self.define(v, "x", "Nonlin", f"ψ({self._arguments(v)}){shape}   ψ = {operations(v)}", v.where)

    def _arguments(self, v: Any) -> str:
        from widelimit.limit._fuse import fused

        phi = fused((v,))
        gaussians = ", ".join(self.name(b) for b in phi.bases)
        scalars = ", ".join(self.name(p) for p in phi.params)
        return f"{gaussians}; {scalars}" if scalars else gaussians

    def _letter(self, v: tp.Value) -> str:
        return "g" if v.is_gaussian else "x"

    def _weight(self, v: tp.MatMul) -> str:
        block = "[block]" if v.weight.block else ""
        scale = "" if np.isclose(v.weight.amplitude, 1) else f"{v.weight.amplitude:.4g}·"
        return f"{scale}{v.weight.path}{block}"

    def _taps(self, v: tp.MatMul) -> str:
        taps = [str(w.size) for w in v.windows if not w.trivial]
        summed = [v.h.shape[i] for i in v.contracted]
        return (f" over {'×'.join(taps)} taps" if taps else "") + (
            f" summed over {summed}" if summed and not isinstance(v.h, tp.Given) else ""
        )

    def _map(self, v: tp.Image) -> str:
        kinds = [m.key[0] if isinstance(m.key, tuple) else m.key for m in v.maps if not m.is_identity]
        with_matrix = [self.name(m.matrix) for m in v.maps if m.matrix is not None]
        return " ".join([*dict.fromkeys(map(str, kinds)), *with_matrix]) or "transpose"

    def known(self, k: tp.Known) -> str:
        match k:
            case tp.Input():
                self.names[id(k)] = "ξ" if len(self.reading.inputs) == 1 else f"ξ{k.index + 1}".translate(_SUBSCRIPTS)
                return self.names[id(k)]
            case tp.Constant():
                value = k.value
                return (
                    f"{value.flat[0]:.4g}"
                    if value.size and np.all(value == value.flat[0])
                    else f"constant{list(value.shape)}"
                )
            case tp.Moment():
                right = f" {self.name(k.right)}" if k.right is not None else ""
                return self.define(k, "θ", "Moment", f"E[{self.name(k.left)}{right}]")
            case tp.Slope():
                weight = f"σ²({k.by.weight.path})"
                return self.define(k, "θ", "Moment", f"{weight} E[∂{self.name(k.of)}/∂{self.name(k.by)}]")
        args = ", ".join(self.name(a) for a in k.args)
        return self.define(k, "θ", "Scalar", f"{k.name}({args})")

"""What the demonstration can be asked for."""

from dataclasses import dataclass
from pathlib import Path

import jax
from jaxtyping import PRNGKeyArray

from ._demo_data import AVAILABLE

_FORMATS = (".pdf", ".png", ".svg")
_PURPOSES = ("order", "minibatches", "networks")


@dataclass(frozen=True)
class Settings:
    """The options of `widelimit demo`; `batch` images a step of descent, `ridge` in units of the kernels' mean diagonal."""

    out: Path
    train: int
    test: int
    widths: tuple[int, ...]
    networks: int
    epochs: int
    seed: int
    batch: int = 64
    ridge: float = 1e-4

    def check(self) -> None:
        """Before minutes of work, not after them."""
        if self.train + self.test > AVAILABLE:
            raise ValueError(
                f"`--train {self.train} --test {self.test}`: there are {AVAILABLE} images, so both together are at most {AVAILABLE}"
            )
        if self.out.suffix.lower() not in _FORMATS:
            raise ValueError(
                f"`--out {self.out}`: the ending must be one of {', '.join(_FORMATS)}, to choose the picture's format"
            )
        if not self.out.absolute().parent.is_dir():
            raise FileNotFoundError(f"`--out {self.out}`: there is no folder {self.out.absolute().parent}")

    def networks_at(self, width: int) -> int:
        """How many networks are trained at a width: at most `networks`, and fewer where they are wide: they scatter less and cost more."""
        return min(self.networks, 2 * max(self.widths) // width)

    def key(self, purpose: str) -> PRNGKeyArray:
        return jax.random.fold_in(jax.random.key(self.seed), _PURPOSES.index(purpose))

"""What a kernel tells of the network that it was read from."""

from __future__ import annotations

from widelimit import trace
from widelimit.limit._printed import Program


class Read:
    """The common part of all kernels: they have a `reading`."""

    reading: trace.Reading

    @property
    def replica_axes(self) -> tuple[int, ...]:
        """The axes of the network's output that kernels do not repeat: independent copies, and axes of size one."""
        return self.reading.replica_axes

    def rates(self, width: int) -> dict[str, float]:
        """The learning rate of every parameter as the code holds it at a width."""
        return {p: rate.at(width) for p, rate in self.reading.rates.items()}

    @property
    def program(self) -> Program:
        """The Tensor Program; `str()` prints it."""
        return Program(self.reading)

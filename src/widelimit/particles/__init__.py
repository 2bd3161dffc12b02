"""The limit by samples: an engine of its own, beside the recursion, for every Tensor Program."""

from widelimit.particles._estimate import Estimate, Particles

__all__ = ["Estimate", "Particles"]

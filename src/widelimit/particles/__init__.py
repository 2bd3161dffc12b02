"""The limit by samples: an engine of its own, beside the recursion, for every Tensor Program."""

from widelimit.particles._coordinates import resolving
from widelimit.particles._estimate import LEAST, Estimate, Particles, Sampled

__all__ = ["LEAST", "Estimate", "Particles", "Sampled", "resolving"]

"""E[φ(u)ψ(v)] under a Gaussian law: closed forms, quadrature, and the choice between them."""

from widelimit.gaussian._expect import Description, describe, expect
from widelimit.gaussian._jumps import jumps
from widelimit.gaussian._pointwise import IDENTITY, ONE, Joint, Pointwise, derivative

__all__ = [
    "IDENTITY",
    "ONE",
    "Description",
    "Joint",
    "Pointwise",
    "derivative",
    "describe",
    "expect",
    "jumps",
]

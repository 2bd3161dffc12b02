"""E[φ(u)ψ(v)] under a Gaussian law: closed forms, quadrature, and the choice between them."""

from widelimit.gaussian._angle import NEAR, quarter_tangent
from widelimit.gaussian._batched import after_vmap, aligned
from widelimit.gaussian._deferred import Deferred, deferring
from widelimit.gaussian._difference import has_kink, is_nonnegative, squared_difference
from widelimit.gaussian._expect import Description, describe, expect
from widelimit.gaussian._filtered import Filtered, describe_filtered, expect_filtered
from widelimit.gaussian._jumps import jumps
from widelimit.gaussian._kinks import values_at
from widelimit.gaussian._landscape import has_steps, is_own_derivative
from widelimit.gaussian._mesh import panel_marks
from widelimit.gaussian._met import renew
from widelimit.gaussian._missed import forget, missed
from widelimit.gaussian._pointwise import IDENTITY, ONE, Joint, Pointwise, derivative
from widelimit.gaussian._recognise import homogeneity, is_polynomial
from widelimit.gaussian._rules import generation

__all__ = [
    "IDENTITY",
    "NEAR",
    "ONE",
    "Deferred",
    "Description",
    "Filtered",
    "Joint",
    "Pointwise",
    "after_vmap",
    "aligned",
    "deferring",
    "derivative",
    "describe",
    "describe_filtered",
    "expect",
    "expect_filtered",
    "forget",
    "generation",
    "has_kink",
    "has_steps",
    "homogeneity",
    "is_nonnegative",
    "is_own_derivative",
    "is_polynomial",
    "jumps",
    "missed",
    "panel_marks",
    "quarter_tangent",
    "renew",
    "squared_difference",
    "values_at",
]

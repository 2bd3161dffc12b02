"""The Tensor Program: known arrays, random vectors, and the maps between their positions."""

from widelimit.program._derived import image, map_known, once
from widelimit.program._formula import Formula
from widelimit.program._known import Apply, Constant, Input, Known, Mapped, Moment, Slope, apply, constant, is_zero
from widelimit.program._labels import Labels
from widelimit.program._listing import Line, Listing, listing
from widelimit.program._maps import (
    AxisMap,
    Window,
    added,
    apply_maps,
    is_identity,
    keep,
    mixed,
    padded,
    picked,
    pooled,
    read,
    reshaped,
    reversed_,
    spread,
    sum_of_taps,
    summed,
    taken,
)
from widelimit.program._sizes import grown
from widelimit.program._text import Row, aligned, rows
from widelimit.program._value import (
    Depthwise,
    Fluctuation,
    Given,
    Image,
    MatMul,
    Pointwise,
    Product,
    Profile,
    Scaled,
    Sum,
    Value,
    Vector,
    Weight,
    draws,
    has_profile,
    independent,
    is_stopped,
    is_uncorrelated,
)
from widelimit.program._walk import ingredients, pass_in_moments, reachable, steps

__all__ = [name for name in dir() if not name.startswith("_")]

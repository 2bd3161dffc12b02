"""Expectations by each of the two numerical engines, spelled as in `gaussian.expect`."""

from widelimit.gaussian import _quadrature, _several
from widelimit.gaussian._pair import Pair


def expect_one(*pair, accuracy=1e-6):
    return _quadrature.expect_one(Pair(*pair), accuracy)


def expect_several(*pair, accuracy=1e-6):
    return _several.expect_several(Pair(*pair), accuracy)

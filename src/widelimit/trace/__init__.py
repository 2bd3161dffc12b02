"""From the code of a network to its Tensor Program."""

from widelimit.program import ingredients, reachable
from widelimit.trace._abstract import Parameter, Refusal, ScalingRefusal
from widelimit.trace._cut import BOTH, LEFT, RIGHT, Cut, Piece, cut, made_again
from widelimit.trace._exponents import Exponents, Unsettled
from widelimit.trace._jaxpr import opened
from widelimit.trace._laws import Declared, Law
from widelimit.trace._read import Rates, Reading, read, read_exponents
from widelimit.trace._same import program_key
from widelimit.trace._scale import Scale

__all__ = [
    "BOTH",
    "LEFT",
    "RIGHT",
    "Cut",
    "Declared",
    "Exponents",
    "Law",
    "Parameter",
    "Piece",
    "Rates",
    "Reading",
    "Refusal",
    "Scale",
    "ScalingRefusal",
    "Unsettled",
    "cut",
    "ingredients",
    "made_again",
    "opened",
    "program_key",
    "reachable",
    "read",
    "read_exponents",
]

"""From the code of a network to its Tensor Program."""

from widelimit.trace._abstract import Parameter, Refusal
from widelimit.trace._jaxpr import cut_program
from widelimit.trace._read import Rates, Reading, ingredients, reachable, read
from widelimit.trace._scale import Scale

__all__ = ["Parameter", "Rates", "Reading", "Refusal", "Scale", "cut_program", "ingredients", "reachable", "read"]

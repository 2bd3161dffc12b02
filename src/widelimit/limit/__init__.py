"""The recursion over a Tensor Program, and the kernels it gives; or those of the particle engine."""

from widelimit.limit._diagnosis import diagnose
from widelimit.limit._explain import ApproximationWarning, Explanation, nonlinearities
from widelimit.limit._kernel import Kernel, limit
from widelimit.limit._kernels import Kernels
from widelimit.limit._printed import Program
from widelimit.limit._regime import Diagnosis, Layer, Problem
from widelimit.limit._sampled import SampledKernel

__all__ = [
    "ApproximationWarning",
    "Diagnosis",
    "Explanation",
    "Kernel",
    "Kernels",
    "Layer",
    "Problem",
    "Program",
    "SampledKernel",
    "diagnose",
    "limit",
    "nonlinearities",
]

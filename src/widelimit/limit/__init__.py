"""The recursion over a Tensor Program, and the kernels it gives."""

from widelimit.limit._explain import ApproximationWarning, Explanation
from widelimit.limit._kernel import Kernel, Kernels, limit

__all__ = ["ApproximationWarning", "Explanation", "Kernel", "Kernels", "limit"]

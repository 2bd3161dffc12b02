"""The recursion over a Tensor Program, and the kernels it gives."""

from widelimit.limit._kernel import Kernel, Kernels, limit

__all__ = ["Kernel", "Kernels", "limit"]

"""Evidence of data under the limit's Gaussian processes, and variances of the parameters fitted to it."""

from widelimit.evidence._evidence import evidence
from widelimit.evidence._fit import EvidenceFit, fit_evidence
from widelimit.evidence._rescale import rescaled

__all__ = ["EvidenceFit", "evidence", "fit_evidence", "rescaled"]

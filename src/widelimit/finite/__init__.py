"""Finite networks: their exact tangent kernels, ensembles of them, and their comparison with the limit."""

from ._ensemble import Draws as Draws, ensemble as ensemble
from ._ntk import EmpiricalNTK as EmpiricalNTK, empirical_ntk as empirical_ntk
from ._operator import TangentOperator as TangentOperator
from ._report import Comparison as Comparison, Report as Report, Row as Row
from ._statistics import Estimate as Estimate
from ._verify import verify as verify

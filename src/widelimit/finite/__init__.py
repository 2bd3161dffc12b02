"""Finite networks: their exact tangent kernels, ensembles of them, and their comparison with the limit."""

from ._ensemble import Draws as Draws
from ._ensemble import ensemble as ensemble
from ._ntk import EmpiricalNTK as EmpiricalNTK
from ._ntk import empirical_ntk as empirical_ntk
from ._operator import TangentOperator as TangentOperator
from ._report import Comparison as Comparison
from ._report import Report as Report
from ._report import Row as Row
from ._statistics import Estimate as Estimate
from ._training import Course as Course
from ._training import train as train
from ._verify import verify as verify

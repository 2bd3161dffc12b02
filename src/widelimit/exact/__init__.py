"""Exact learning of permutations and algorithms with ensembles in the NTK regime."""

from ._arithmetic import adder as adder
from ._arithmetic import multiplier as multiplier
from ._average import Average as Average
from ._basis import BasisTask as BasisTask
from ._condition import Condition as Condition
from ._ensemble import Ensemble as Ensemble
from ._ensemble import Trained as Trained
from ._machine import Machine as Machine
from ._network import network as network
from ._permutation import Permutation as Permutation
from ._permutation import all_inputs as all_inputs
from ._permutation import random_inputs as random_inputs
from ._rules import Rules as Rules
from ._sbn import subtract_and_branch as subtract_and_branch
from ._size import ensemble_size as ensemble_size
from ._size import failure_probability as failure_probability
from ._size import size_at as size_at
from ._sorter import sorter as sorter

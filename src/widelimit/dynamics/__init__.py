"""Training of the infinite network, in function space."""

from widelimit.dynamics._general import GeneralFit
from widelimit.dynamics._losses import cross_entropy, huber, quantile, squared_error
from widelimit.dynamics._optimizers import SGD, GradientDescent, GradientFlow, Momentum
from widelimit.dynamics._posterior import Posterior, posterior
from widelimit.dynamics._prediction import Prediction
from widelimit.dynamics._radial import radial
from widelimit.dynamics._singular import JitterWarning
from widelimit.dynamics._squared import SquaredFit
from widelimit.dynamics._train import train

__all__ = [
    "SGD",
    "GeneralFit",
    "GradientDescent",
    "GradientFlow",
    "JitterWarning",
    "Momentum",
    "Posterior",
    "Prediction",
    "SquaredFit",
    "cross_entropy",
    "huber",
    "posterior",
    "quantile",
    "radial",
    "squared_error",
    "train",
]

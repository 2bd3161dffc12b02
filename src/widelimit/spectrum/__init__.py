"""Spectra of kernels: on data, on the sphere, and what follows for training and generalisation."""

from widelimit.spectrum._certificate import Certificate, certificate
from widelimit.spectrum._choice import Choice
from widelimit.spectrum._gegenbauer import harmonics
from widelimit.spectrum._hermite import Hermite, hermite
from widelimit.spectrum._learning import LearningCurve, learning_curve
from widelimit.spectrum._modes import Modes, alignment, modes
from widelimit.spectrum._smoother import Smoother
from widelimit.spectrum._sphere import Decay, Sphere, sphere

__all__ = [
    "Certificate",
    "Choice",
    "Decay",
    "Hermite",
    "LearningCurve",
    "Modes",
    "Smoother",
    "Sphere",
    "alignment",
    "certificate",
    "harmonics",
    "hermite",
    "learning_curve",
    "modes",
    "sphere",
]

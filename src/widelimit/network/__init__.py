"""What a user hands in: a network as a family over its width."""

from widelimit.network._declare import constant as constant
from widelimit.network._declare import normal as normal
from widelimit.network._declare import uniform as uniform
from widelimit.network._equinox import from_equinox as from_equinox
from widelimit.network._flax import from_flax as from_flax
from widelimit.network._network import Network as Network

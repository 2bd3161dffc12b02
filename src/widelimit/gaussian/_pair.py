"""What an expectation is of: two functions, the joint law of their arguments, their known parameters."""

from typing import NamedTuple

from widelimit.gaussian._pointwise import Joint, Pointwise


class Pair(NamedTuple):
    """E[φ(u; θ) ψ(v; θ')], elementwise over broadcastable arrays.

    Attributes:
        phi: function of the p Gaussians on the left.
        psi: function of the q Gaussians on the right.
        joint: their law.
        left_params: the known θ of φ, after its Gaussians, broadcastable with the law.
        right_params: the known θ' of ψ.
    """

    phi: Pointwise
    psi: Pointwise
    joint: Joint
    left_params: tuple = ()
    right_params: tuple = ()

    def swapped(self) -> "Pair":
        return Pair(self.psi, self.phi, self.joint.swapped(), self.right_params, self.left_params)

    def left(self) -> "Side":
        return Side(self.phi, self.joint.left, self.joint.left_mean, self.left_params)

    def right(self) -> "Side":
        return self.swapped().left()


class Side(NamedTuple):
    """One function under the law of its own arguments."""

    phi: Pointwise
    covariance: tuple
    means: tuple
    params: tuple

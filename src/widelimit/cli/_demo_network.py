"""The network of the demonstration: an ordinary Flax module, written without a thought of its limit."""

from flax import nnx
from jaxtyping import Array, Float

_he = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")
_small = nnx.initializers.normal(0.1)


class ConvNet(nnx.Module):
    """Two strided convolutions with ReLU and a dense readout, for one image of 28 by 28; `width` is the number of channels."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(1, width, (5, 5), strides=3, kernel_init=_he, bias_init=_small, rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), strides=2, kernel_init=_he, bias_init=_small, rngs=rngs)
        self.readout = nnx.Linear(5 * 5 * width, 10, rngs=rngs)

    def __call__(self, image: Float[Array, "28 28 1"]) -> Float[Array, "10"]:
        hidden = nnx.relu(self.conv1(image))
        hidden = nnx.relu(self.conv2(hidden))
        return self.readout(hidden.reshape(-1))

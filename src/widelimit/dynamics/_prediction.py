"""What a fit returns: the law of the trained network's outputs on test points."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from jaxtyping import Array, Float, PRNGKeyArray


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The outputs on M test points over the ensemble of initialisations, with a leading axis where `t` had one.

    Attributes:
        mean: `([T,] M, *axes, *outputs)`: the finite output axes of the kernel, then the outputs as `y` has them.
        jitter: Eigenvalues of the kernel on the training points up to this one counted as zero; 0.0 where none did.
    """

    mean: Array
    jitter: float
    _covariance: Callable[[], Array] = dataclasses.field(repr=False)
    _sample: Callable[[PRNGKeyArray, int], Array] = dataclasses.field(repr=False)

    @functools.cached_property
    def covariance(self) -> Float[Array, "*shape"]:
        """`([T,] M, M, *axes, *axes)`: jointly over the test points, the same for every output. Computed when first asked for."""
        return self._covariance()

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n ..."]:
        """`(n, [T,] M, *axes, *outputs)`: trained networks; along T each is one network.

        Args:
            key: The key of the draws.
            n: How many networks.
        """
        if n < 1:
            raise ValueError(f"`fit(x).sample(key, {n})`: expected n >= 1")
        return self._sample(key, n)

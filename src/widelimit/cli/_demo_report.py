"""What the demonstration found, as text and as a picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from widelimit.plot import DemoResult, draw_demo, save

from ._demo_data import Images, by_class, one_of_each
from ._demo_finite import Finite, Scores
from ._demo_settings import Settings
from ._stages import say

_SHOWN = 25  # images of each class in the picture of the kernel


def print_finite(finite: Finite, settings: Settings) -> None:
    """One row a width, and the limit's below."""
    say(f"\n{'width':>8}{'test accuracy':>16}{'distance from limit':>22}{'same answer as limit':>23}")
    for width, right, distance, same in zip(finite.widths, *map(finite.means, Scores._fields), strict=True):
        say(f"{width:>8}{right:>16.1%}{distance:>22.4f}{same:>23.1%}")
    say(f"{'limit':>8}{finite.limit_accuracy:>16.1%}{0:>22}{1:>23.0%}")
    say(
        f"\nDistance: root mean square over the {settings.test} test images and ten outputs (the limit's outputs have {finite.limit_size:.3f}), mean over "
        "the networks of a width."
    )
    if len(finite.widths) > 1:
        say(f"It falls like width^{finite.exponent:.2f}; the theory says −0.50 at large widths.")


def draw(
    regressions: Mapping[str, float],
    finite: Finite,
    data: tuple[Images, Images],
    *,
    ntk: Float[ndarray, "n n"],
    seconds: Mapping[str, float],
    out: Path,
) -> None:
    """Write the picture."""
    training, test = data
    examples, sorted_ = one_of_each(test), by_class(training, _SHOWN)
    save(
        draw_demo(
            DemoResult(
                widths=finite.widths,
                finite_accuracy=finite.means("accuracy"),
                nngp_accuracy=regressions["nngp"],
                ntk_accuracy=regressions["ntk"],
                disagreement=finite.means("distance"),
                images=test.images[examples, :, :, 0],
                image_labels=test.labels[examples],
                kernel=ntk[np.ix_(sorted_, sorted_)],
                kernel_labels=training.labels[sorted_],
                seconds=seconds,
                title=f"A convolutional network and its infinite-width limit: {len(training.labels):,} images of MNIST",
                finite_error=finite.spreads("accuracy"),
                disagreement_error=finite.spreads("distance"),
            )
        ),
        out,
    )


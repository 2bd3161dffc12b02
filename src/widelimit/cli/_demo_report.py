"""What the demonstration found, as text and as a picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from widelimit.plot import DemoResult, draw_demo, save

from ._demo_data import Images, by_class, one_of_each
from ._demo_finite import Finite, Scores
from ._stages import explain, say

_SHOWN = 25  # images of each class in the picture of the kernel


def print_finite(finite: Finite) -> None:
    """One row a width, and the limit's below."""
    say(f"\n{'':>8}{'test':>12}{'answers as':>14}{'distance from the limit':>28}")
    say(f"{'width':>8}{'accuracy':>12}{'the limit':>14}{'after one step':>18}{'at the end':>14}")
    for width, right, same, first, last in zip(finite.widths, *map(finite.means, Scores._fields), strict=True):
        say(f"{width:>8}{right:>12.1%}{same:>14.1%}{first:>18.3f}{last:>14.3f}")
    say(f"{'limit':>8}{finite.limit_accuracy:>12.1%}{1:>14.1%}{0:>18}{0:>14}")
    say()
    explain(
        "Distance: ‖outputs − the limit's‖ / ‖the limit's‖ over the test images, mean over the networks of a width. "
        "Kernel regression, above, is where the training of infinitely wide networks ends; here all stop after the "
        "same steps."
    )
    if len(finite.widths) > 1:
        first, last = finite.exponent("first"), finite.exponent("distance")
        explain(
            f"It falls like width^{first:.2f} after one step and like width^{last:.2f} at the end. The theory says −0.50 "
            "once the width is large enough; the more outputs, images and steps there are, the more that takes."
        )


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
                images=test.pixels[examples],
                image_labels=test.labels[examples],
                kernel=ntk[np.ix_(sorted_, sorted_)],
                kernel_labels=training.labels[sorted_],
                seconds=seconds,
                title=f"A convolutional network and its infinite-width limit: {len(training.labels):,} images of MNIST",
                finite_error=finite.spreads("accuracy"),
                disagreement_error=finite.spreads("distance"),
                limit_accuracy=finite.limit_accuracy,
                first_disagreement=finite.means("first"),
                first_disagreement_error=finite.spreads("first"),
            )
        ),
        out,
    )

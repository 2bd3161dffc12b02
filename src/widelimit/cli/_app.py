"""The commands and their options."""

from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Infinite-width limits (NNGP and NTK) of neural networks, read from the network's own JAX code.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _widths(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"expected whole numbers with commas between them, as in 64,128,256, got {text!r}", param_hint="--widths"
        ) from None
    if min(widths) < 1 or any(b <= a for a, b in pairwise(widths)):
        raise typer.BadParameter(f"expected positive numbers that grow, got {text}", param_hint="--widths")
    return widths


def _print_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"widelimit {version('widelimit')}")
        raise typer.Exit
    return asked


@app.callback()
def widelimit(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Infinite-width limits (NNGP and NTK) of neural networks, read from the network's own JAX code."""


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option(help="The picture; its ending chooses the format (png, svg, pdf).")] = Path(
        "demo.png"
    ),
    train: Annotated[int, typer.Option(min=20, help="Training images.")] = 4000,
    test: Annotated[int, typer.Option(min=10, help="Test images; with the training images at most 5000.")] = 1000,
    widths: Annotated[str, typer.Option(help="Channels of the finite networks.")] = "64,128,256,512",
    networks: Annotated[int, typer.Option(min=1, help="Networks trained at a width; fewer at large widths.")] = 8,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
) -> None:
    """A convolutional Flax network and its infinite-width limit, on 5,000 images of MNIST.

    Reads the network's Tensor Program, computes its NNGP and NTK, fits both, trains the same network at several widths and
    shows how it comes nearer to the limit.
    """
    from ._demo import run
    from ._demo_settings import Settings

    run(Settings(out, train, test, _widths(widths), networks=networks, epochs=epochs, seed=seed))


@app.command()
def permutation(
    *,
    k: Annotated[int, typer.Option(min=2, max=64, help="Bits that are permuted.")] = 8,
    delta: Annotated[float, typer.Option(help="Probability of failure allowed, between 0 and 1.")] = 0.01,
    width: Annotated[int, typer.Option(min=1, help="Hidden units of a network.")] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
) -> None:
    """Exact learning of a permutation of k bits from k examples, by an ensemble of real networks.

    Prints the infinite-width limit by the number of ones of the input, how many networks make the rounded average exact
    but with probability delta, trains that many, and says at how many inputs they are.
    """
    from ._permutation import Request, run

    run(Request(k, delta, width, seed))

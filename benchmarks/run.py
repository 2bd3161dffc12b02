"""Side by side with neural-tangents 0.6.5: time and accuracy of NNGP + NTK Gram matrices, float32, on this CPU.

    python benchmarks/run.py [--cases fc3 cnn21-gap ...] [--repeat 5] [--json out.json]

Two processes a case, one in each program's interpreter, take turns, so that what else the machine does strikes both.
Medians are printed: CPU time an entry of the N × N matrix, of all threads, the one to trust on a shared machine; the
ratio of wall times stands beside. Compilation is excluded and shown apart ("first": wall time from the definition to
the first result). The floor is the symmetric half of the entries at one fused memory pass an element of covariance and
nonlinearity, plus the products of inputs at the speed of a matrix product, both measured here. Errors (NNGP, NTK) are
the largest difference over the largest entry: of each against a NumPy float64 reference on the first inputs, and
between the two over the whole matrix.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import process
from cases import CASES, Case
from reference import kept_kernels
from table import text

KERNELS, CLOCKS = ("nngp", "ntk"), ("cpu", "wall")
REFERENCE_INPUTS = {"image": 2, "vector": 5}


def compare(case: Case, starts: dict, *, inputs: int, repeat: int) -> dict:
    """Per side, `first`, `samples`, their medians `cpu` and `wall`, `peak_bytes` and `versions`; and `errors`.
    Where a side fails, `failed` says why and nothing else is there."""
    with ExitStack() as stack:
        try:
            sides = {side: stack.enter_context(start()) for side, start in starts.items()}
            return {"inputs": inputs, **_measure(case, sides, inputs=inputs, repeat=repeat)}
        except RuntimeError as problem:
            return {"inputs": inputs, "failed": str(problem)}


def _measure(case: Case, sides: dict, *, inputs: int, repeat: int) -> dict:
    found = {side: {"first": worker.ask("build", case=case.name, inputs=inputs)} for side, worker in sides.items()}
    samples = _take_turns(sides, repeat)
    kernels = {}
    for side, worker in sides.items():
        kernels[side], reply = _result(worker)
        found[side] |= {**_medians(samples[side]), "samples": samples[side], **reply, **worker.ask("versions")}
    return {**found, "errors": _errors(case, kernels, inputs=inputs)}


def _take_turns(sides: dict, repeat: int) -> dict[str, list]:
    samples = {side: [] for side in sides}
    for turn in range(repeat):
        for side in list(sides)[:: -1 if turn % 2 else 1]:
            samples[side].append(sides[side].ask("time"))
    return samples


def _medians(samples: list) -> dict[str, float]:
    return {clock: statistics.median(sample[clock] for sample in samples) for clock in CLOCKS}


def _result(worker) -> tuple[dict, dict]:
    """The kernels of the worker's last run, and what else it says on saving them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.npz"
        reply = worker.ask("save", path=str(path))
        with np.load(path) as arrays:
            return {kernel: arrays[kernel] for kernel in KERNELS}, reply


def _errors(case: Case, kernels: dict, *, inputs: int) -> dict[str, dict[str, float]]:
    """Of each side against the reference, and between the two: {side: {kernel: relative error}}."""
    count = min(inputs, REFERENCE_INPUTS["image" if case.is_image else "vector"])
    exact = dict(zip(KERNELS, kept_kernels(case, count), strict=True))
    errors = {side: {k: _error(found[k][:count, :count], exact[k]) for k in KERNELS} for side, found in kernels.items()}
    if len(kernels) == 2:
        errors["ours-peer"] = {k: _error(kernels["ours"][k], kernels["peer"][k]) for k in KERNELS}
    return errors


def _error(found, expected) -> float:
    if found.shape != expected.shape:
        raise RuntimeError(f"a kernel has shape {found.shape}, expected {expected.shape}")
    return float(np.max(np.abs(found.astype(np.float64) - expected)) / np.max(np.abs(expected)))


def machine() -> dict:
    """What the numbers depend on."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    return {"machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg(), "time": now}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--repeat", type=int, default=5, help="turns of each side (default 5)")
    parser.add_argument("--inputs", type=int, help="this many inputs instead of each case's own number")
    parser.add_argument("--sides", nargs="+", choices=("ours", "peer"), default=("ours", "peer"), help="time one alone")
    parser.add_argument("--peer-jax", default="0.4.20", help="the peer's jax (default 0.4.20; kernels run up to 0.5.3)")
    parser.add_argument("--peer-python", help="the Python 3.10 to 3.12 that makes the peer's environment")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    return parser.parse_args()


def main():
    options = arguments()
    os.environ["JAX_PLATFORMS"] = "cpu"
    from floor import costs  # imports jax, which reads the variable

    measured_costs, results = costs(), {}
    for name in options.cases:
        print(f"{name} ...", file=sys.stderr, flush=True)
        count = options.inputs or CASES[name].inputs
        results[name] = compare(CASES[name], _starts(options), inputs=count, repeat=options.repeat)
    print(text(results, measured_costs))
    if options.json:
        report = {"machine": machine(), "costs": measured_costs, "results": results}
        options.json.write_text(json.dumps(report, indent=1))


def _starts(options) -> dict:
    """The function that starts each chosen side."""
    peer = partial(process.peer, jax_version=options.peer_jax, base=options.peer_python)
    return {side: {"ours": process.ours, "peer": peer}[side] for side in options.sides}


if __name__ == "__main__":
    main()

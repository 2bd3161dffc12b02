"""One side of a comparison: a process that builds a case and runs it when told to.

A request is one JSON line on stdin, the reply one JSON line on stdout:

    {"do": "build", "case": NAME, "inputs": N}   build, compile and run once -> {"cpu": s, "wall": s}
    {"do": "time"}                               run once                    -> {"cpu": s, "wall": s}
    {"do": "save", "path": FILE}                 write nngp and ntk (.npz)   -> {"peak_bytes": n}

CPU time is that of all threads of the process. What a library prints goes to stderr.
"""

from __future__ import annotations

import json
import re
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from cases import CASES, inputs


def serve(build, **more):
    """Answer requests until stdin ends. `build(case, x)` returns a function that runs the case and waits for
    (nngp, ntk); `more` are further requests by name, functions without arguments."""
    replies, sys.stdout = sys.stdout, sys.stderr
    handlers = {**Side(build).handlers(), **{name: _without_arguments(function) for name, function in more.items()}}
    for line in sys.stdin:
        print(json.dumps(_answer(handlers, json.loads(line))), file=replies, flush=True)


class Side:
    """The case that a worker holds and its last result."""

    def __init__(self, build):
        self.build, self.run, self.result = build, None, None

    def handlers(self) -> dict:
        return {"build": self.first, "time": self.timed, "save": self.save}

    def first(self, request) -> dict:
        """From the network's definition to the first result: definition, tracing, compilation and one run."""
        case = CASES[request["case"]]
        x = inputs(case, request["inputs"])
        return _clock(lambda: self._start(case, x))

    def _start(self, case, x):
        self.run = self.build(case, x)
        self.result = self.run()

    def timed(self, request) -> dict:
        del request
        self.result = None  # freed outside the clock, so that no side holds two results
        return _clock(self._again)

    def _again(self):
        self.result = self.run()

    def save(self, request) -> dict:
        nngp, ntk = (np.asarray(k) for k in self.result)
        np.savez(request["path"], nngp=nngp, ntk=ntk)
        return {"peak_bytes": _peak_bytes()}


def _clock(function) -> dict:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def _peak_bytes() -> int | None:
    """The most memory this process has held, where Linux tells (`getrusage` would count the parent's before `exec`)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else None


def _without_arguments(function):
    return lambda request: function()


def _answer(handlers, request) -> dict:
    try:
        return handlers[request["do"]](request)
    except Exception as problem:
        traceback.print_exc()
        return {"error": f"{type(problem).__name__}: {problem}"}

"""The two processes that a comparison asks in turn (their side of the conversation is worker.py)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

from environment import isolated, peer_python

HERE = Path(__file__).parent


class Worker:
    """A process that answers one request at a time; a context that ends it."""

    def __init__(self, script: str, *, python: str, environment: dict[str, str]):
        self.script = script
        command = [python, str(HERE / script)]
        self.process = Popen(command, stdin=PIPE, stdout=PIPE, text=True, env={**environment, "JAX_PLATFORMS": "cpu"})

    def ask(self, do: str, **request) -> dict:
        """The reply to one request; RuntimeError with the worker's own words where it failed."""
        reply = self._reply({"do": do, **request})
        if "error" in reply:
            raise RuntimeError(f"`{do}` in {self.script}: {reply['error']}")
        return reply

    def _reply(self, request) -> dict:
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return {"error": "the process ended before"}
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the process ended (what it printed stands above)"}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()


def ours() -> Worker:
    return Worker("ours.py", python=sys.executable, environment=dict(os.environ))


def peer(*, jax_version: str, base: str | None) -> Worker:
    """The peer under that jax; its environment is made by the interpreter `base` where it does not exist yet."""
    return Worker("peer.py", python=str(peer_python(jax_version=jax_version, base=base)), environment=isolated())

"""Serve a GGUF model over OpenAI-style HTTP. This runs inside the inference service's container.

    python serve_model.py --model DIRECTORY --port 8000

`GET /health` answers 503 while the model loads, then 200. `POST /v1/completions` is compatible with OpenAI's.
"""

import argparse
import os
import signal
import threading
from pathlib import Path

import xllamacpp


def main() -> None:
    """Serve until SIGTERM."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--model", type=Path, required=True, help="a directory with one .gguf file")
    flags.add_argument("--port", type=int, required=True)
    given = flags.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = str(next(given.model.glob("**/*.gguf")))
    params.port = given.port
    params.n_parallel = 4  # concurrent completions
    params.n_ctx = 4 * 512  # tokens, shared by those four
    params.cpuparams.n_threads = 1  # several threads wait for each other, which costs more than it saves where a core has other work
    params.cpuparams.poll = 0  # wait without spinning, because the processor has other work, too
    params.warmup = False

    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    _server = xllamacpp.Server(params)  # serves from a thread of its own
    print(f"serving {params.model.path} on port {given.port}", flush=True)
    stopped.wait()
    os._exit(0)  # a normal exit can hang in the library's thread


if __name__ == "__main__":
    main()

"""Serve recorded answers over OpenAI-style HTTP, in place of the model that gave them.

    python serve_recorded.py --model DIRECTORY --port 8000

DIRECTORY has `exchanges.jsonl`: on each line a request and the answer to it. `GET /health` answers 200. `POST /v1/completions` answers as
the model did. A request that was not recorded, or with other parameters, is answered with 404: nothing is made up.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MAX_BODY_BYTES = 2**20


def read(folder: Path) -> dict[str, Any]:
    """The recorded answers, by their request in JSON with sorted keys."""
    path = next(folder.glob("**/exchanges.jsonl"))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {key(each["request"]): each["answer"] for each in lines}


def key(request: Any) -> str:
    """What two equal requests have in common."""
    return json.dumps(request, sort_keys=True)


class Handler(BaseHTTPRequestHandler):
    """Answers from `answers`."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    answers: dict[str, Any]

    def do_GET(self) -> None:
        self._reply(200, {"status": "ok"})

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        if size > MAX_BODY_BYTES:
            self.close_connection = True
            self._reply(413, {"error": f"the request has more than {MAX_BODY_BYTES} bytes"})
            return
        try:
            found = self.answers.get(key(json.loads(self.rfile.read(size))))
        except ValueError:
            self._reply(400, {"error": "the request is not JSON"})
            return
        self._reply(200, found) if found is not None else self._reply(404, {"error": "no answer to this request was recorded"})

    def log_message(self, *_: Any) -> None:
        """Silent: the evaluation keeps all exchanges."""

    def _reply(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until SIGTERM."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--model", type=Path, required=True, help="a directory with exchanges.jsonl")
    flags.add_argument("--port", type=int, required=True)
    given = flags.parse_args()
    Handler.answers = read(given.model)
    ThreadingHTTPServer(("0.0.0.0", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()

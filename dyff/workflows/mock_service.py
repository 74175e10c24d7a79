"""A mock inference service, with the endpoints of the published mock. Its answers are determined by the prompt.

    GET  /ready                                     200
    POST /generate                                  {"prompt", "n"?} -> {"text": [...]}
    POST /v1/completions, /openai/v1/completions    OpenAI's completions: prompt or list of prompts, n, max_tokens
    POST .../completions/transient-errors           the same, but for half of the requests the first one or two tries get a 503
    POST /errors/400                                always 400

Environment: `PORT` (default 8000); `HOST` (default 0.0.0.0). SIGTERM ends it immediately.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter

from dyff.workflows import light_http

TYPE_CHECKING = False  # importing `typing` would be a fifth of the start; type checkers know this name
if TYPE_CHECKING:
    from typing import Any

    Reply = tuple[int, Any]

_WORDS = (
    "the",
    "a",
    "model",
    "river",
    "quiet",
    "answer",
    "light",
    "seven",
    "house",
    "green",
    "slow",
    "word",
    "song",
    "night",
    "paper",
    "never",
)
_DEFAULT_TOKENS = 16
_MAX_ANSWERS = 128


class _WrongRequest(ValueError):
    """The endpoint does not accept the request."""


class MockService:
    """The application. Its only state is how often each request was tried at `transient-errors`."""

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()

    def answer(self, method: str, path: str, body: bytes) -> light_http.Reply:
        """Return the status and the body, in JSON, of the answer to a request."""
        try:
            status, answer = self._reply(method, path, body)
        except (ValueError, RecursionError) as error:
            status, answer = 400, {"error": {"message": str(error), "type": "invalid_request_error", "code": 400}}
        return status, json.dumps(answer).encode()

    def _reply(self, method: str, path: str, body: bytes) -> Reply:
        path = path.removeprefix("/openai")
        if path == "/ready":
            return 200, {"ready": True}
        if path not in ("/generate", "/v1/completions", "/v1/completions/transient-errors", "/errors/400"):
            return 404, {"error": {"message": f"no such endpoint: {path}", "type": "not_found_error", "code": 404}}
        if method != "POST":
            return 405, {"error": {"message": "use POST", "type": "invalid_request_error", "code": 405}}
        if path == "/errors/400":
            return 400, {"error": {"message": "this endpoint refuses everything", "type": "invalid_request_error", "code": 400}}
        request = json.loads(body)
        if not isinstance(request, dict):
            raise _WrongRequest("the body must be a JSON object")
        if path == "/generate":
            prompt = _text(request.get("prompt"))
            return 200, {"text": [completion(prompt, place, _tokens(request)) for place in range(_count(request))]}
        if path.endswith("transient-errors") and self._fails(body):
            return 503, {"error": {"message": "try again", "type": "server_error", "code": 503}}
        return 200, _completions(request)

    def _fails(self, body: bytes) -> bool:
        """Whether this try fails. Depending on the request, the first 0, 0, 1 or 2 tries do."""
        digest = hashlib.sha256(body).digest()
        if digest[0] % 4 < 2:
            return False
        self._tries[digest.hex()] += 1
        return self._tries[digest.hex()] <= digest[0] % 4 - 1


def completion(prompt: str, place: int, tokens: int) -> str:
    """Return answer number `place` to `prompt`: always the same, `tokens` words long."""
    words: list[str] = []
    for block in range(-(-tokens // 32)):
        digest = hashlib.sha256(f"{block}:{place}:{prompt}".encode("utf-8", "surrogatepass")).digest()
        words += [_WORDS[byte % len(_WORDS)] for byte in digest]
    return " " + " ".join(words[:tokens])


def _completions(request: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's format, with the choices of the first prompt first. `created` is constant, so that all is determined by the request."""
    given = request.get("prompt")
    prompts = [_text(each) for each in given] if isinstance(given, list) else [_text(given)]
    count, tokens = _count(request), _tokens(request)
    texts = [completion(prompt, place, tokens) for prompt in prompts for place in range(count)]
    choices = [{"index": index, "text": text, "logprobs": None, "finish_reason": "length"} for index, text in enumerate(texts)]
    asked, answered = sum(len(prompt.split()) for prompt in prompts), tokens * len(texts)
    return {
        "id": "cmpl-" + hashlib.sha256(repr(prompts).encode("utf-8", "surrogatepass")).hexdigest()[:24],
        "object": "text_completion",
        "created": 0,
        "model": request.get("model") or "mock",
        "choices": choices,
        "usage": {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered},
    }


def _text(prompt: Any) -> str:
    if not isinstance(prompt, str):
        raise _WrongRequest("prompt must be a string, or for completions a list of strings")
    return prompt


def _count(request: dict[str, Any]) -> int:
    return _whole(request, "n", 1, _MAX_ANSWERS)


def _tokens(request: dict[str, Any]) -> int:
    return _whole(request, "max_tokens", _DEFAULT_TOKENS, 2**16)


def _whole(request: dict[str, Any], name: str, default: int, most: int) -> int:
    value = request.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= most:
        raise _WrongRequest(f"{name} must be a whole number from 1 to {most}")
    return value


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM. It has no arguments of its own and ignores those of a runner."""
    del arguments
    return light_http.serve(os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8000")), MockService().answer)

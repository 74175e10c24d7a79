"""Our pipeline adapters and the published ones on the same items, in one run: items per second and the ratio.

The two alternate, so that load on the machine affects both. Run `python adapters.py 2` for twice as many rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from dyff.schema import adapters as published

from dyff.adapters import pipelines

GOAL, GOAL_EACH = 1.5, 0.5
"""The required speed relative to the published adapters: geometric mean, and each (some do almost nothing, while ours check)."""
ITEMS, ROUNDS = 1_000, 15
Pipeline = list[dict[str, Any]]

ANSWER = {
    "id": "cmpl-1", "model": "m", "usage": {"prompt_tokens": 12, "completion_tokens": 30},
    "choices": [{"index": n, "text": f"an answer of some words, number {n}", "meta": {"rank": 3 - n}} for n in range(4)],
}  # fmt: skip
ROW = {"_index_": 7, "text": "alpha beta gamma 12-34", "label": "x", "image": {"data": "aGVsbG8h" * 1000, "mediaType": "image/png"}}


def adapter(kind: str, configuration: dict[str, Any] | None) -> dict[str, Any]:
    """Return an adapter in the form of a request."""
    return {"kind": kind, "configuration": configuration}


WORDS = [{"$scalar": "$.text"}, {"$func": "sub", "pattern": "[0-9]+", "repl": "#"}, {"$func": "split", "pattern": " "}]
CASES: dict[str, tuple[Pipeline, dict[str, Any]]] = {
    "a prompt": ([adapter("TransformJSON", {"prompt": "$.text", "max_tokens": 30})], ROW),
    "choices to rows": (
        [
            adapter("ExplodeCollections", {"collections": ["choices"], "index": {"rank": "$.choices[*].meta.rank"}}),
            adapter("TransformJSON", {"text": "$.choices.text", "rank": "$.rank"}),
        ],
        ANSWER,
    ),
    "a computation": ([adapter("TransformJSON", {"words": {"$compute": WORDS}})], ROW),
    "a descent": ([adapter("TransformJSON", {"texts": {"$compute": {"$list": "$..text"}}})], ANSWER),
    "Drop": ([adapter("Drop", {"fields": ["image"]})], ROW),
    "Select": ([adapter("Select", {"fields": ["_index_", "text"]})], ROW),
    "Rename": ([adapter("Rename", {"text": "prompt"})], ROW),
    "FlattenHierarchy": ([adapter("FlattenHierarchy", None)], ANSWER),
    "Map": ([adapter("Map", {"collections": ["choices"], "adapter": adapter("Select", {"fields": ["text"]})})], ANSWER),
    "FileUpload": ([adapter("FileUpload", {"field": "$.image.data", "contentType": "$.image.mediaType"})], ROW),
}


def seconds(run: Callable[[Iterable[Any]], Iterable[Any]], item: dict[str, Any]) -> float:
    """Return the seconds that `ITEMS` items take."""
    started = time.perf_counter()
    for _ in run([item] * ITEMS):
        pass
    return time.perf_counter() - started


def compiling() -> tuple[float, float]:
    """Return the microseconds to compile the same pipeline again, as in repeated creates: ours, published."""
    pipeline = CASES["choices to rows"][0]
    times: list[tuple[float, float]] = []
    for _ in range(200):
        started = time.perf_counter()
        pipelines.build(pipeline)
        middle = time.perf_counter()
        published.create_pipeline(pipeline)
        times.append((middle - started, time.perf_counter() - middle))
    return statistics.median(ours for ours, _ in times) * 1e6, statistics.median(theirs for _, theirs in times) * 1e6


def main(rounds: int) -> int:
    """Measure; return 1 if the goal is missed."""
    warnings.simplefilter("ignore")
    ratios: dict[str, float] = {}
    print(f"{'items/s':<20}{'ours':>12}{'published':>12}{'ratio':>8}")
    for name, (pipeline, item) in CASES.items():
        ours, theirs = pipelines.build(pipeline, upload=True), published.create_pipeline(pipeline)
        pairs = [(seconds(ours, item), seconds(theirs, item)) for _ in range(rounds)]
        first, second = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratios[name] = second / first
        print(f"{name:<20}{ITEMS / first:>12,.0f}{ITEMS / second:>12,.0f}{ratios[name]:>8.2f}")
    first, second = compiling()
    print(f"compiling 'choices to rows': {first:.0f} us, published {second:.0f} us, ratio {second / first:.1f}")
    mean = statistics.geometric_mean(ratios.values())
    slower = [name for name, ratio in ratios.items() if ratio < GOAL_EACH]
    reached = mean >= GOAL and not slower
    verdict = "reached" if reached else f"missed by {', '.join(slower) or 'the mean'}"
    print(f"goal: {GOAL:g} times as fast in the mean, each at least {GOAL_EACH:g} times: {mean:.2f}, {verdict}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main(ROUNDS * (int(sys.argv[1]) if len(sys.argv) > 1 else 1)))

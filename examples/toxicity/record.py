"""Record what both systems answer to our own prompts, for the small demo.

    examples/toxicity/run.sh .venv-demo/bin/python --record examples/toxicity/recorded

It keeps each request and answer as the evaluation stored them, but for what differs in every run (IDs and times).
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.dataset

VOLATILE = ("id", "created", "timings")


def write(outputs: dict[str, Path], folder: Path) -> None:
    """Write the exchanges of evaluations. `outputs`: for each system where its outputs were downloaded."""
    for system, downloaded in outputs.items():
        files = sorted((downloaded / ".dyff" / "exchanges").glob("*.parquet"))
        rows = pyarrow.dataset.dataset(files).to_table().sort_by("_index_").to_pylist()
        lines = [_line(row) for row in rows if row["error"] is None]
        into = folder / f"gemma-3-270m-{system}"
        into.mkdir(parents=True, exist_ok=True)
        (into / "exchanges.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"recorded    {len(lines)} exchanges of {system} in {into}")
    (folder / "date.txt").write_text(f"{datetime.now(UTC):%Y-%m-%d}\n")


def _line(row: dict) -> str:
    answer = {name: value for name, value in json.loads(row["answer"]).items() if name not in VOLATILE}
    if "model" in answer:
        answer["model"] = Path(answer["model"]).name
    return json.dumps({"request": json.loads(row["request"]), "answer": answer}, ensure_ascii=False) + "\n"

"""The tutorial does what it says: its blocks run in order on a server, once with the published client and once with our SDK."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest
from dyff.client import Client

from dyff.sdk import Client as Sdk
from tests.acceptance.test_guide import Clone
from tests.conftest import missing

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorial.md").read_text()
MODULE = ROOT / "examples/tutorial/module"
CLIENTS: dict[str, Any] = {"published": Client, "sdk": Sdk}
MADE = ("dataset", "evaluation", "module", "measuring", "measurement", "failed", "reporting", "report", "service", "model")
"""The variables of the page that hold entities."""
_BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, *kinds: str) -> list[str]:
    """The page's blocks of a language that are of these kinds; the kind is the word behind the language, or nothing."""
    return [body for found, kind, body in _BLOCK.findall(PAGE) if found == language and kind in kinds]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone with an account, whose server was started with the page's own lines."""
    if not (ROOT / ".venv-analysis/.ready").exists():
        missing("the environment of analyses is not installed: make analysis-env")
    made = Clone(tmp_path_factory.mktemp("clone"))
    (made.folder / ".venv-analysis").symlink_to(ROOT / ".venv-analysis")
    serve, account = blocks("bash", "")
    try:
        made.serve(serve)
        endpoint = made.environment["DYFF_API_ENDPOINT"]
        made.remember(account)
        made.environment["DYFF_API_ENDPOINT"] = endpoint  # a free port, not the page's
        yield made
    finally:
        made.stop()


class Followed:
    """The results of following the page with one client. `printed`: all output; `ids`: of the entities, by variable."""

    def __init__(self, clone: Clone, reader: str) -> None:
        script = "\n".join([*blocks("python", "", reader), f"import json\nprint(json.dumps({{n: globals()[n].id for n in {MADE}}}))"])
        self.printed = clone.run(script, ".venv/bin/python -")
        self.ids: dict[str, str] = json.loads(self.printed.splitlines()[-1])
        self.folder = clone.folder
        self.client = CLIENTS[reader](api_token=clone.environment["DYFF_API_TOKEN"], endpoint=clone.environment["DYFF_API_ENDPOINT"])

    @property
    def page(self) -> str:
        """The text of the downloaded report."""
        html = (self.folder / "tutorial-report" / self.ids["report"] / "index.html").read_text()
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|script).*?</\1>", "", html))).split())


@pytest.fixture(scope="module", params=CLIENTS)
def followed(request, clone):
    """The page, followed from its beginning to its end."""
    return Followed(clone, request.param)


def test_a_reader_sees_what_the_page_shows(followed):
    """Each line of output that the page shows is printed, in this order; `...` stands for anything."""
    rest = followed.printed
    for line in "".join(blocks("text", "")).splitlines():
        pattern = ".*".join(map(re.escape, line.split("...")))
        found = re.search(f"^{pattern}$", rest, re.MULTILINE)
        assert found, f"{line!r} is not in {rest}"
        rest = rest[found.end() :]


def test_the_measurement_has_a_row_for_each_output(followed):
    """The rows have the lengths that the texts imply, for each prompt and each of both repetitions."""
    table = pyarrow.dataset.dataset(followed.folder / "tutorial-lengths" / followed.ids["measurement"]).to_table().to_pylist()
    outputs = pyarrow.dataset.dataset(followed.folder / "tutorial-outputs" / followed.ids["evaluation"]).to_table().to_pylist()
    key = lambda row: (row["_index_"], row["_replication_"])  # noqa: E731
    assert sorted(map(key, table)) == sorted(map(key, outputs))
    assert {row["prompt"] for row in table if row["_index_"] == 1} == {13 / 3}  # Call me Ishmael
    texts = {key(row): row["responses"][0]["text"] for row in outputs}
    for row in table:
        lengths = [len(word) for word in texts[key(row)].split() if len(word) >= 2]
        assert row["completion"] == pytest.approx(sum(lengths) / len(lengths))


def test_the_report_has_the_scores_of_the_measurement(followed):
    """Scores and curve are computed from the rows, belong to the report, and are about the service and the method."""
    table = pyarrow.dataset.dataset(followed.folder / "tutorial-lengths" / followed.ids["measurement"]).to_table()
    completions, prompts = (table[name].to_pylist() for name in ("completion", "prompt"))
    mean = sum(completions) / len(completions)
    ids = followed.ids
    scores = {each.name: each for each in followed.client.safetycases.scores(ids["report"])}
    assert {name: each.quantity for name, each in scores.items()} == {
        "word_length": pytest.approx(mean),
        "difference": pytest.approx(mean - sum(prompts) / len(prompts)),
    }
    assert {each.analysis for each in scores.values()} == {ids["report"]}
    (curve,) = followed.client.safetycases.curves(ids["report"])
    assert curve.points["length"] == pytest.approx(sorted(completions))
    refs = plain(scores["word_length"].metadata.refs)
    assert (refs["method"], refs["inferenceService"]) == (ids["reporting"], ids["service"])


def plain(value: Any) -> dict[str, Any]:
    """A part of an entity as a dictionary, whichever client read it."""
    return value if isinstance(value, dict) else value.model_dump()


def test_the_report_has_all_texts(followed):
    """The title card has the texts of the documents; argument, scores and conclusion are there; code and errors of libraries are not."""
    page = followed.page
    for text in (
        "Words of completions are as long as those of people", "The tutorial", "No concern",
        "The mock model", "It completes any prompt with words that mean nothing.",
        "Lengths of words", "Compares the words that a system writes with the words that it reads.",
        "What was measured", "For auditors: 8 completions of 4 prompts.",
        "The mean length of the words in completions.", "The lengths of words give no reason for concern.",
    ):  # fmt: skip
        assert text in page, text
    assert "get_argument" not in page
    assert "error" not in page.lower()


def test_test_and_report_are_published(followed):
    """Both have the label, and the data behind them do not."""
    client, ids = followed.client, followed.ids
    for group, name, label in (
        (client.methods, "reporting", "public"), (client.safetycases, "report", "public"), (client.measurements, "measurement", None),
    ):  # fmt: skip
        assert group.get(ids[name]).labels.get("dyff.io/access") == label


def test_an_error_names_the_authors_line(followed):
    """The failed measurement says in which line of the module it failed."""
    failed = followed.client.measurements.get(followed.ids["failed"])
    code = (MODULE / "lengths.py").read_text()
    line = code[: code.index('int(arguments["shortest"])')].count("\n")
    assert (failed.status, failed.reason) == ("Failed", "RunFailed")
    assert re.search(rf"lengths\.py.*\b{line + 1}\b", failed.message), failed.message


def test_the_page_shows_the_files():
    """What the page shows of the module and of the notebook is in their files."""
    assert blocks("python", "file") == [(MODULE / "lengths.py").read_text()]
    cells = json.loads((MODULE / "report.ipynb").read_text())["cells"]
    assert blocks("python", "cell") == ["".join(each["source"]) + "\n" for each in cells if each["cell_type"] == "code"]
    assert {each.strip() for each in re.findall(r"^```.*$", PAGE, re.MULTILINE)} == {
        "```", "```bash", "```text", "```python", "```python published", "```python sdk", "```python file", "```python cell",
    }  # fmt: skip

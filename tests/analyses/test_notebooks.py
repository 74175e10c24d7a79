"""Methods that are notebooks, run by the real runner in the environment of analyses, and the page that it makes of them."""

from __future__ import annotations

import json
import re
import sys

import pyarrow as pa
import pytest

from tests.analyses.runs import ROOT, Analysis, code, notebook

DATA = pa.table({"_index_": [0, 1], "text": ["a b c", "d"]})
CONTEXT = "from dyff.audit.analysis import AnalysisContext\nctx = AnalysisContext()\n"
CARD = "ctx.TitleCard(headline='Is it clear?', author='Example Audits', summary_phrase='Mostly', summary_text='Nine of ten.')\n"
SCORES = [
    {"name": "words", "title": "Words", "summary": "Mean words"},
    {"name": "curve", "title": "Curve", "summary": "A curve", "dimensions": {}},
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
def analysis(tmp_path):
    """Makes an analysis with a notebook of these cells."""

    def make(*cells, **more):
        files = {"report.ipynb": notebook(*cells), **more.pop("files", {})}
        return Analysis(tmp_path, **{"kind": "JupyterNotebook", "name": "report.ipynb", "files": files, "datasets": {"data": DATA}, **more})

    return make


def test_a_safety_case(analysis):
    """Context, scores, curves, components, tables and figures; the code is not on the page, and nothing is fetched from elsewhere."""
    run = analysis(
        "# What was measured\n\nThe *mean* of [words](https://example.org).\n\n| a | b |\n|---|---|\n| cell | 2 |",
        CONTEXT + CARD,
        "frame = ctx.open_input_dataset('data').to_table().to_pandas()\nframe",
        "ctx.Score(output='words', quantity=2.0, text='words in an answer')\n"
        "ctx.Score(quantity=0.5, text='half', format='{quantity:.0%}')\n"
        "ctx.Curve(output='curve', points={'x': [1.0], 'y': [2.0]}, text='curve')",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('A figure');",
        "print(ctx.system.spec.name, ctx.usecase.spec.name, ctx.get_argument('threshold'))",
        "ctx.Conclusion(text='Use it with care.', indicator='Hazard')",
        arguments={"threshold": "3"},
        scores=SCORES,
    ).run()
    page = run.succeeded().page
    for shown in ("Is it clear?", "Example model", "Clear answers", "Example Audits", "<td>cell</td>", "2.0", "50%", "Use it with care."):
        assert shown in page
    assert '<table border="1" class="dataframe">' in page
    assert '<img src="data:image/png;base64,' in page
    assert "example Word length 3" in page
    assert "AnalysisContext" not in page
    assert "<time datetime=" in page
    assert not fetched(page)
    scores = json.loads((run.result / ".dyff/scores.json").read_text())["scores"]
    assert [(each["name"], each["quantity"]) for each in scores] == [("words", 2.0)]
    assert [each["name"] for each in json.loads((run.result / ".dyff/curves.json").read_text())["curves"]] == ["curve"]


CONFINED = """
import os, sys
from dyff.cluster.pods.shim import seccomp, syscalls
syscalls.prctl(38, 1)
seccomp.install(seccomp.program(seccomp.LANDLOCK, network=False, own_user=False))
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command under the strictest filter of the local cluster."""


def test_a_notebook_where_little_is_allowed(analysis):
    """No sockets, no change of permissions, no sessions: the page and its figure are made all the same."""
    run = analysis(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);", "!echo two", "import asyncio\nawait asyncio.sleep(0)\nprint('three')"
    ).run(sys.executable, "-c", CONFINED, PYTHONPATH=str(ROOT))
    page = run.succeeded().page
    assert page.index("data:image/png") < page.index("two") < page.index("three")


def test_a_process_that_holds_the_output_open_does_not_delay_the_end(analysis):
    """No mark of ours goes to the log, and nothing waits for one, if a process that the code left still has the pipes."""
    cell = "import subprocess\nleft = subprocess.Popen(['sleep', '60'], close_fds=False)\nprint('printed')"
    run = analysis(cell, limits={"timeout_s": 12}).run().succeeded()
    assert "printed" in run.page
    assert "\0" not in run.text


def fetched(page):
    """What a browser would load from elsewhere."""
    assert "Content-Security-Policy" in page
    found = re.findall(r"""(?:src|srcset|data|poster)\s*=\s*["']?(?!data:)[^"'\s>]+""", page)
    return found + re.findall(r"<script|<link|@import|url\((?!data:)", page)


def test_what_cells_put_out(analysis):
    """All that a notebook shows, in its order: also what processes print, updates of a display and values of expressions."""
    run = analysis(
        "print('one')\n!echo two\nimport subprocess\nsubprocess.run(['echo', 'three'])\nprint('four')",
        "import sys\nprint('five', file=sys.stderr)\nsys.stdout.buffer.write(b'six\\n');",
        "%%bash\necho seven",
        "import asyncio\nawait asyncio.sleep(0)\nasync def f():\n    return 'eight'\nawait f()",
        "from IPython.display import display, Markdown, clear_output, HTML, SVG\nhandle = display('waiting', display_id=True)",
        "handle.update(Markdown('**nine**'))\nprint('removed')\nclear_output()\nprint('ten')",
        "print('  5%', end='\\r')\nprint('100%')",
        "display(HTML('<b>eleven</b>'))\ndisplay(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"><circle r=\"1\"/></svg>'))",
        "print('\\x1b[31mtwelve\\x1b[0m <&>')",
        code("1 / 0", "raises-exception"),
        code("raise RuntimeError('skipped')", "skip-execution"),
        "",
        "%time x = 13\nget_ipython().run_line_magic('pwd', '');\nx",
    ).run()
    page = run.succeeded().page
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "<strong>nine", "ten", "100%", "<b>eleven", "<circle"]
    places = [page.index(each, page.index("<main>")) for each in [*words, "twelve &lt;&amp;&gt;", "ZeroDivisionError", "13"]]
    assert places == sorted(places)
    for hidden in ("waiting", "removed", "  5%", "skipped", "\x1b"):
        assert hidden not in page[page.index("<main>") :]
    for logged in ("one", "two", "three", "five", "six", "seven", "[dyff] cell 3"):
        assert logged in run.text


def test_images_of_texts_are_put_into_the_page(analysis):
    """Attachments and files of the module are; what is elsewhere becomes a link, also a file outside of the module."""
    text = "![one](attachment:a.png) ![two](images/b.svg) ![three](https://example.org/c.png) ![four](../../x.png)"
    cell = {"cell_type": "markdown", "metadata": {}, "source": text, "id": "m", "attachments": {"a.png": {"image/png": PIXEL}}}
    run = analysis(cell, files={"images/b.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>'}).run()
    page = run.succeeded().page
    assert f'<img src="data:image/png;base64,{PIXEL}" alt="one">' in page
    assert '<img src="data:image/svg+xml;base64,' in page
    assert '<a class="elsewhere" href="https://example.org/c.png">three</a>' in page
    assert 'alt="four"' not in page


@pytest.mark.parametrize(
    ("cells", "message", "line"),
    [
        (["x = 1", "def f(row):\n    return row['text']\nf({})"], "cell 2, line 2, in f: KeyError: 'text' (line: return row['text'])", 2),
        (["# Title", "x ="], "cell 1, line 1: SyntaxError: ", 1),
        (["import sys\nsys.exit()"], "cell 1, line 2: the code ended the process by sys.exit(None)", 2),
        (["exit()"], "cell 1, line 1: the code ended the process by sys.exit(", 1),
        (["input('name?')"], "cell 1, line 1: ", 1),
        (["from helper import f", "f()"], "helper.py, line 2, in f: ValueError: wrong", 2),
        (["x = 1", "print('x' * (200 * 2**20))"], "cell 2, line 1: cell 2 puts out more than 1048576 bytes", 1),
        (["!head -c 200000000 /dev/zero"], "cell 1 puts out more than 1048576 bytes", None),
        (["from IPython.display import HTML\nHTML('x' * 2**21)"], "cell 1 puts out more than 1048576 bytes", None),
        (["import os", "os._exit(3)"], "exit code 3 before the code had finished", None),
        (["import ctypes\nctypes.string_at(0)"], "cell 1, line 2: the process was ended by SIGSEGV", 2),
        (["while True: pass"], "cell 1, line 1: it did not end within 8 seconds", 1),
        (["%%nothing\nx"], "UsageError", None),
    ],
)
def test_the_first_cell_that_fails_ends_the_run(analysis, cells, message, line):
    """The message names the cell and the line in it, or the file of a module. There is no page."""
    files = {"helper.py": "def f():\n    raise ValueError('wrong')\n"}
    timeout = 8 if "while" in cells[0] else 120
    run = analysis(*cells, files=files, limits={"timeout_s": timeout}).run()
    outcome = run.failed()
    assert message in outcome["message"]
    assert line is None or outcome["line"]["line"] == line
    assert not (run.result / "index.html").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("print('not a notebook')", "report.ipynb is not a Jupyter notebook: it is not JSON"),
        ("\x00\xff", "report.ipynb is not a Jupyter notebook: it is not JSON"),
        ("[1, 2]", "it is JSON, but has no nbformat"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "strange"}]}', "is not a valid Jupyter notebook"),
        ('{"nbformat": 99, "nbformat_minor": 0, "metadata": {}, "cells": []}', "is not a valid Jupyter notebook"),
        ('{"nbformat": 4}', "is not a valid Jupyter notebook"),
        (notebook("x", kernelspec={"name": "ir", "display_name": "R", "language": "R"}), "is a notebook in R; only Python is supported"),
    ],
)
def test_a_file_that_is_no_notebook(analysis, content, message):
    """The message says what is wrong with it."""
    assert message in analysis(files={"report.ipynb": content}).run().failed()["message"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("missing.ipynb", "it has report.ipynb"), ("../../etc/passwd", "is not a path inside of the module"), ("", "is not a path inside")],
)
def test_a_path_that_leads_nowhere(analysis, path, message):
    """The message says what is there."""
    assert message in analysis("x = 1", name=path).run().failed()["message"]


def test_an_old_notebook(analysis):
    """A notebook of format 3 is read as well."""
    cell = {"cell_type": "code", "input": "print('old')", "language": "python", "outputs": [], "collapsed": False, "metadata": {}}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [cell], "metadata": {}}]}
    assert "old" in analysis(files={"report.ipynb": json.dumps(old)}).run().succeeded().page

"""Saves the pages of safety cases as files, and draws both systems in one picture."""

import html
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pyarrow.dataset

from dyff.sdk import Client

HERE = Path(__file__).parent


def address(client: Client, case: str) -> str:
    """The address of a page."""
    parts = urlsplit(client.endpoint)
    return f"{parts.scheme}://{parts.netloc}/safetycases/{case}"


def save(client: Client, out: Path, cases: dict[str, str]) -> None:
    """Save the page of each case as one file, as anybody sees it without a token, with its author's document in it."""
    folder = out / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    with httpx.Client(timeout=60) as anybody:
        for name, case in cases.items():
            url = address(client, case)
            page, document = (anybody.get(each).raise_for_status().text for each in (url, f"{url}/document"))
            whole = page.replace(f' src="/safetycases/{case}/document"', f' srcdoc="{html.escape(document)}"')
            whole = whole.replace(' href="/', f' href="{url.partition("/safetycases/")[0]}/')  # these links need the server
            (folder / f"{name}.html").write_text(whole, encoding="utf-8")


def draw(client: Client, out: Path, measurements: dict[str, str], prompts: dict[int, tuple[str, str]]) -> None:
    """Draw the shares of all systems by kind of prompt, from the downloaded rows. `prompts`: kind and text by `_index_`."""
    sys.path.insert(0, str(HERE / "report" / "module"))
    import chart  # the notebook draws with it, too

    systems = {}
    for name, measurement in measurements.items():
        folder = out / "measurements" / measurement
        shutil.rmtree(folder, ignore_errors=True)
        client.measurements.download(measurement, folder, progress=False)
        rows = pyarrow.dataset.dataset(folder, ignore_prefixes=["."]).to_table().to_pylist()
        systems[name] = chart.shares([prompts[row["_index_"]][0] for row in rows], [row["toxic"] for row in rows])
    (out / "pages" / "systems.svg").write_text(chart.draw(systems, "Toxic completions by kind of prompt, with 95 % intervals"))

"""Hostile authors: whatever a document, a name or a text has in it, in a real browser nothing of it runs, and nothing is fetched."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.test_role import serving
from tests.pages import browser, cases

FOLDER = Path(__file__).parent / "attacks"
SCRIPT = "alert(1); document.title = 'taken'; parent.document.title = 'taken'; fetch('OUT/fetch')"


def attacks(out: str) -> dict[str, str]:
    """By name, what an author can put into a document. `out`: another server."""
    files = {each.stem: each.read_text() for each in sorted(FOLDER.iterdir())}
    return {name: text.replace("SCRIPT", SCRIPT).replace("OUT", out) for name, text in files.items()}


@contextlib.contextmanager
def other_server() -> Iterator[tuple[str, list[str]]]:
    """Another server. Yields its URL, and the first bytes of each connection that was made to it."""
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(0.2)
                    try:
                        seen.append(connection.recv(200).decode("latin-1"))
                    except OSError:
                        seen.append("a connection without a request")

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_no_document_runs_anything_or_reaches_anybody(audit, world):
    """In the frame of the page and alone: no script, no dialog, no request but for the page and the document, no change of our page."""
    with other_server() as (out, reached):
        found = {}
        measurement = await audit.measurement(await audit.evaluation())
        for name, body in attacks(out).items():
            found[name] = await audit.case(
                measurement, document=f"<!DOCTYPE html><html><head>{body}</head><body>{body}<p>the end of it</p>".encode()
            )
            await audit.publish("safetycases", found[name])
        async with serving(world) as url, browser.opened() as seen:
            for name, case in found.items():
                page = f"{url}/safetycases/{case}"
                for address in (page, f"{page}/document"):
                    seen.forget()
                    await seen.show(address)
                    shown = seen.page.frame_locator("#document iframe") if address == page else seen.page
                    await shown.get_by_text("the end of it").wait_for(state="attached")
                    assert seen.sent() <= {page, f"{page}/document"}, (name, address, seen.sent())
                    assert seen.page.url == address, name
                    assert await seen.page.title() != "taken", name
                assert seen.dialogs == [], name
        assert reached == []


HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg onload=alert(1)>{{ 7 * 7 }}{% raw %}\u202egnp.exe"


async def test_no_name_or_text_becomes_a_part_of_our_page(world, api):
    """Names, documentation and a score's texts are shown as they are: our page reports nothing, and asks for nothing else."""
    audit = await cases.Audit(world, api).prepare(service=HOSTILE, dataset=HOSTILE)
    _, _, case = await audit.run()
    texts = dict.fromkeys(("claim", "scope", "assumptions", "limits", "evaluators", "summary", "fullPage"), HOSTILE)
    await audit.describe(case, title=HOSTILE[:140], **texts)
    async with serving(world) as url, browser.opened(extra_http_headers={"Authorization": f"Bearer {world.admin}"}) as seen:
        await seen.show(f"{url}/safetycases/{case}")
        assert seen.sent() == {f"{url}/safetycases/{case}", f"{url}/safetycases/{case}/document"}
        assert (seen.errors, seen.dialogs) == ([], [])
        assert await seen.page.locator("script, img, [onload], [onerror], body style").count() == 0
        assert HOSTILE.replace("\u202e", "\ufffd") in await seen.page.locator("#text").inner_text()
        assert "{{ 7 * 7 }}" in await seen.page.locator("blockquote").inner_text()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_and_is_silent(audit, world, width, scheme):
    """Narrow and wide, light and dark: nothing is wider than the window, and neither console nor policies report anything."""
    _, _, case = await audit.run()
    await audit.describe(case, claim="x" * 3000)
    await audit.publish("safetycases", case)
    async with serving(world) as url, browser.opened(viewport={"width": width, "height": 900}, color_scheme=scheme) as seen:
        await seen.show(f"{url}/safetycases/{case}")
        assert await seen.page.evaluate("document.documentElement.scrollWidth") == width
        assert seen.errors == []
        headings = await seen.page.locator("h1, h2").all_inner_texts()
        assert headings == [
            "Toxicity of the mock model", "Claim", "Scores", "Other systems", "What is not shown", "What it rests on",
            "The author’s document", "About this page",
        ]  # fmt: skip

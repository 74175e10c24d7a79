"""Make one page of a notebook that has run: its texts and outputs, without its code.

The page fetches nothing and needs no script: style and images are in it, and it says itself, as a policy, that nothing else may be loaded.
What a notebook puts out is not changed, so the one that serves the page has to keep it apart from other pages.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from . import markdown
from .outputs import overwritten

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)
"""What a browser may load for the page, also when it is opened as a file."""

IMAGES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")
ORDER = ("text/html", *IMAGES, "text/markdown", "text/latex", "application/json", "text/plain")
"""The form that is shown if an output has several."""

_DATE = re.compile(r'(id="date_berry"\s*>)\s*([0-9]{4}-[0-9]{2}-[0-9]{2}T[^<\s]*)\s*(</)')
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def page(cells: Sequence[Mapping[str, Any]], *, title: str, folder: Path, module: Path) -> str:
    """Return the page.

    Args:
        cells: the cells of the notebook, with their outputs.
        title: of the page.
        folder: where the notebook is; images are relative to it.
        module: outside of it no image is read.
    """
    parts = []
    for cell in cells:
        if cell["cell_type"] == "markdown":
            body = markdown.rendered(cell["source"], cell.get("attachments", {}), folder, module)
            parts.append(f'<section class="cell text">\n{body}</section>\n')
        elif cell["cell_type"] == "code":
            shown = "".join(output(each, folder, module) for each in cell["outputs"])
            if shown:
                parts.append(f'<section class="cell">\n{shown}</section>\n')
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def output(each: Mapping[str, Any], folder: Path, module: Path) -> str:
    """Return one output as HTML; nothing if it has no form that can be shown."""
    kind = each["output_type"]
    if kind == "stream":
        text = overwritten(_ANSI.sub("", "".join(each["text"])))
        return f'<pre class="output {html.escape(each["name"])}">{html.escape(text)}</pre>\n' if text.strip() else ""
    if kind == "error":
        text = _ANSI.sub("", "\n".join(each["traceback"]))
        return f'<pre class="output error">{html.escape(text)}</pre>\n'
    data, metadata = each["data"], each.get("metadata") or {}
    mime = next((name for name in ORDER if name in data), None)
    if mime is None:
        return ""
    return f'<div class="output">{_form(mime, data[mime], metadata, data, folder, module)}</div>\n'


def _form(mime: str, value: Any, metadata: Mapping[str, Any], data: Mapping[str, Any], folder: Path, module: Path) -> str:
    text = "".join(value) if isinstance(value, list) else value if isinstance(value, str) else json.dumps(value, indent=2, default=str)
    if mime == "text/html":
        return f'<div class="html">{_DATE.sub(_dated, text)}</div>'
    if mime == "image/svg+xml":
        return f'<div class="image">{text[text.find("<svg") :]}</div>' if "<svg" in text else ""
    if mime in IMAGES:
        own = metadata.get(mime)
        of: Mapping[str, Any] = own if isinstance(own, Mapping) else metadata
        size = "".join(f' {name}="{of[name]}"' for name in ("width", "height") if isinstance(of.get(name), int))
        alternative = html.escape(str(of.get("alt") or _plain(data)), quote=True)
        return f'<div class="image"><img src="data:{mime};base64,{"".join(text.split())}" alt="{alternative}"{size}></div>'
    if mime == "text/markdown":
        return markdown.rendered(text, {}, folder, module)
    return f"<pre>{html.escape(_ANSI.sub('', text))}</pre>"


def _plain(data: Mapping[str, Any]) -> str:
    text = data.get("text/plain")
    return text if isinstance(text, str) else "".join(text) if isinstance(text, list) else ""


def _dated(match: re.Match[str]) -> str:
    """The date of a title card, which the published page formats by a script."""
    before, text, after = match.groups()
    try:
        date = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return match.group()
    return f'{before}<time datetime="{html.escape(text, quote=True)}">{date.day} {date:%B %Y}</time>{after}'

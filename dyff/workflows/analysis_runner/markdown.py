"""Turn the Markdown of a notebook into HTML that fetches nothing."""

from __future__ import annotations

import base64
import html
import mimetypes
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mistune

from .places import MAX_IMAGE_BYTES

PLUGINS = ("strikethrough", "footnotes", "table", "task_lists", "url", "math")


class Renderer(mistune.HTMLRenderer):
    """Puts images into the page, gives headings an address, and leaves formulas as they were typed."""

    def __init__(self, attachments: Mapping[str, Mapping[str, str]], folder: Path, module: Path) -> None:
        """`attachments`: of the cell. `folder`: where the notebook is. `module`: outside of it no file is read."""
        super().__init__(escape=False)
        self._attachments, self._folder, self._module = attachments, folder, module

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        plain = html.unescape(re.sub(r"<[^>]*>", "", text)).strip()
        name = html.escape(plain.replace(" ", "-"), quote=True)
        return f'<h{level} id="{name}">{text}</h{level}>\n'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        source = self._inside(url)
        if source is None:
            return f'<a class="elsewhere" href="{html.escape(url, quote=True)}">{html.escape(text or url)}</a>'
        named = f' title="{html.escape(title, quote=True)}"' if title else ""
        return f'<img src="{source}" alt="{html.escape(text, quote=True)}"{named}>'

    def inline_math(self, text: str) -> str:
        return f'<span class="math">${html.escape(text)}$</span>'

    def block_math(self, text: str) -> str:
        return f'<div class="math">$${html.escape(text)}$$</div>\n'

    def _inside(self, url: str) -> str | None:
        """The image as a `data:` URL; None if it is somewhere else."""
        if url.startswith("data:image/"):
            return html.escape(url, quote=True)
        if url.startswith("attachment:"):
            bundle = self._attachments.get(unquote(url.removeprefix("attachment:")), {})
            return next((f"data:{mime};base64,{content}" for mime, content in bundle.items() if mime.startswith("image/")), None)
        parts = urlsplit(url)
        mime = mimetypes.guess_type(parts.path)[0] or ""
        path = Path(os.path.realpath(self._folder / unquote(parts.path)))
        if parts.scheme or parts.netloc or not mime.startswith("image/") or not path.is_relative_to(self._module):
            return None
        if not path.is_file() or path.stat().st_size > MAX_IMAGE_BYTES:
            return None
        return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()}"


def rendered(source: str, attachments: Mapping[str, Mapping[str, str]], folder: Path, module: Path) -> str:
    """Return Markdown as HTML. HTML in it stays as it is."""
    renderer = Renderer(attachments, folder, module)
    return str(mistune.create_markdown(renderer=renderer, plugins=list(PLUGINS))(source))

"""Paints a widget: `python -m dyff.workflows paint-widget --manifest FILE`."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from dyff.entities import codecs
from dyff.entities.kinds import widget
from dyff.objects import layout
from dyff.workflows import endings, manifests


class Manifest(msgspec.Struct, frozen=True):
    """The content of the step's manifest."""

    spec: widget.WidgetSpec


def main(arguments: list[str]) -> int:
    """Run the step; its exit code."""
    return endings.run(lambda: _step(arguments))


async def _step(arguments: list[str]) -> None:
    spec, store = manifests.read(arguments, "paint-widget", Manifest).spec, manifests.store()
    root, data = layout.root("widgets", spec.id), f"all {spec.color}\n".encode()
    endings.say(f"painting {spec.id} {spec.color}")
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    stored = await store.put(root + "picture.txt", data)
    listed = [{"path": "picture.txt", "key": stored.key, "size": len(data), "digest": {"md5": md5}}]
    await store.put(root + layout.ARTIFACTS, codecs.encode({"artifacts": listed}))

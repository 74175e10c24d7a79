"""What a safety case carries of its method and its system. Pure."""

from __future__ import annotations

import base64
import binascii

from dyff.entities import codecs


def carried(case: codecs.Json) -> codecs.Json:
    """What the case carries of its method and its system, by key: `{"spec": ..., "documentation": ...}`. What cannot be read is not."""
    found: codecs.Json = {}
    for each in case.get("data") or []:
        try:
            value = codecs.decode_object(base64.b64decode(each["value"], validate=True))
        except (KeyError, TypeError, ValueError, binascii.Error):
            continue
        if isinstance(value.get("spec"), dict) and isinstance(value.get("documentation"), dict):
            found[str(each.get("key"))] = value
    return found

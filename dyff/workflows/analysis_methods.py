"""The method of an analysis, as its custom resource carries it. Pure."""

from __future__ import annotations

import base64
import binascii

from dyff.entities import codecs, specs
from dyff.entities.analysis_data import USECASE
from dyff.kernel import errors


def method(spec: specs.Analysis) -> codecs.Json:
    """The whole method.

    Raises:
        Misconfigured: the spec does not have it.
    """
    value = next((each.value for each in spec.data if each.key == USECASE), None)
    if value is None:
        raise errors.Misconfigured(f"spec.data has no {USECASE!r}, which must have the method: base64 of {{'spec': <Method>}}")
    try:
        found = codecs.decode_object(base64.b64decode(value, validate=True)).get("spec")
    except (binascii.Error, ValueError) as error:
        raise errors.Misconfigured(f"spec.data: the value of {USECASE!r} is not the base64 of a JSON object: {error}") from error
    if not isinstance(found, dict) or found.get("id") != spec.method:
        raise errors.Misconfigured(f"spec.data: the method in {USECASE!r} is not the one with the ID {spec.method}")
    return found

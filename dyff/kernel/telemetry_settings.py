"""Settings of what the program reports about itself, a part of `dyff.kernel.settings`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec

PATH = "/v1/traces"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Traces (docs/tracing.md).

    `otlp_endpoint`: the URL of the collector that takes OTLP over HTTP, such as `http://collector:4318`; None to send nothing.
    `otlp_headers`: sent with each request to it, such as credentials; never shown. `service_name`: of the spans. `sample_ratio`: the
    share of new traces that is recorded; a trace that a client began is recorded if the client says so. `max_waiting_spans`: how many
    spans wait for the collector; further ones are lost. `export_timeout_s`: time for one request to it, with its retries.
    """

    otlp_endpoint: str | None = None
    otlp_headers: dict[str, str] = {}
    service_name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "dyff"
    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    max_waiting_spans: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 8192
    export_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 10.0

    def __post_init__(self) -> None:
        """Refuse a collector or a header that no request can have. The message does not repeat a value, which may be a credential."""
        if self.otlp_endpoint is not None:
            _require_url(self.otlp_endpoint)
        for name, value in self.otlp_headers.items():
            if not _HEADER_NAME.fullmatch(name) or not value.isascii() or not value.isprintable():
                raise ValueError(f"otlp_headers: the header {name!r} is no header of HTTP, or its value has characters that none can have")


def _require_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("otlp_endpoint must be a URL that begins with http:// or https://, such as http://collector:4318")
    if parts.query or parts.fragment:
        raise ValueError("otlp_endpoint must have nothing after its path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("otlp_endpoint must not have a user or a password; put credentials into otlp_headers")


def traces_url(endpoint: str) -> str:
    """The URL that spans are sent to: the standard path is added unless it is there."""
    plain = endpoint.rstrip("/")
    return plain if plain.endswith(PATH) else plain + PATH


def of_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    """Defaults from OpenTelemetry's standard variables: by setting, the variable and the value. Other variables of OpenTelemetry, such as
    those for certificates, are read by its exporter.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return {}
    found: dict[str, tuple[str, object]] = {}
    sampler = environment.get(_SAMPLER, "").strip().lower()
    if sampler.endswith("always_off"):
        found["sample_ratio"] = _SAMPLER, "0"
    elif sampler.endswith("traceidratio") and (ratio := environment.get(_SAMPLER_ARGUMENT, "").strip()):
        found["sample_ratio"] = _SAMPLER_ARGUMENT, ratio
    for setting, variables in _VARIABLES.items():
        for each in variables:
            if text := environment.get(each, "").strip():
                found[setting] = each, _headers(text) if setting == "otlp_headers" else text
                break
    return found


_VARIABLES = {
    "otlp_endpoint": ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    "otlp_headers": ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
    "service_name": ("OTEL_SERVICE_NAME",),
}
_SAMPLER, _SAMPLER_ARGUMENT = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"


def _headers(text: str) -> dict[str, str]:
    """Headers as OpenTelemetry's variables have them: `name=value,name=value`, with escapes as in URLs."""
    pairs = (each.partition("=") for each in text.split(",") if each.strip())
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}

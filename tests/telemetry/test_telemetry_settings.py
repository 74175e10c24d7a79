"""Settings of traces, and OpenTelemetry's own variables."""

from __future__ import annotations

import pytest

from dyff.kernel import errors, settings, settings_printing, telemetry_settings


def loaded(**environment: str) -> telemetry_settings.Telemetry:
    return settings.load(None, environment).telemetry


def test_the_standard_variables_are_defaults():
    """The one for traces comes before the one for everything, and our own settings come before both."""
    found = loaded(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://a:4318/", OTEL_EXPORTER_OTLP_HEADERS="x-key=a%20b, y=2", OTEL_SERVICE_NAME="audits",
        OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25",
    )  # fmt: skip
    assert found == telemetry_settings.Telemetry("http://a:4318/", {"x-key": "a b", "y": "2"}, "audits", 0.25)
    specific = loaded(OTEL_EXPORTER_OTLP_ENDPOINT="http://a:4318", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://b:4318/v1/traces")
    assert specific.otlp_endpoint == "http://b:4318/v1/traces"
    assert (
        loaded(OTEL_EXPORTER_OTLP_ENDPOINT="http://a:4318", DYFF_TELEMETRY__OTLP_ENDPOINT="http://c:4318").otlp_endpoint == "http://c:4318"
    )
    assert loaded(OTEL_TRACES_SAMPLER="always_off").sample_ratio == 0
    assert loaded(OTEL_TRACES_SAMPLER_ARG="0.5").sample_ratio == 1
    assert loaded(OTEL_EXPORTER_OTLP_ENDPOINT="http://a:4318", OTEL_SDK_DISABLED="true") == telemetry_settings.Telemetry()


@pytest.mark.parametrize(
    "url",
    ["collector:4318", "grpc://collector:4317", "http://", "http://a/?x=1", "http://u:p4ss@a:4318", "http://a:99999", "http://[::1", ""],
)
def test_a_collector_that_no_request_can_reach_is_refused(url):
    """The error names the setting and the fix, and no password."""
    with pytest.raises(errors.Misconfigured, match="otlp_endpoint") as caught:
        loaded(DYFF_TELEMETRY__OTLP_ENDPOINT=url)
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize("headers", ["bad name=1", "x=s3cr3t%0d%0aHost: a", "x=s3cr3tä", "=s3cr3t"])
def test_a_header_that_http_cannot_have_is_refused(headers):
    """And its value is not repeated."""
    with pytest.raises(errors.Misconfigured, match="otlp_headers") as caught:
        loaded(OTEL_EXPORTER_OTLP_HEADERS=headers)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "nan", "x"])
def test_a_ratio_is_from_0_to_1(ratio):
    """Nothing else is a share."""
    with pytest.raises(errors.Misconfigured, match="sample_ratio"):
        loaded(DYFF_TELEMETRY__SAMPLE_RATIO=ratio)


def test_values_of_headers_are_never_shown():
    """Whatever their names are."""
    found, origins = settings.load_with_origins(None, {"OTEL_EXPORTER_OTLP_HEADERS": "tenant=abc123,authorization=Basic%20xyz"})
    shown = "\n".join(settings_printing.lines(found, origins))
    assert "abc123" not in shown
    assert "xyz" not in shown
    assert "tenant" in shown


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("http://a/otlp/", "http://a/otlp/v1/traces"),
        ("http://a/v1/traces", "http://a/v1/traces"),
    ],
)
def test_the_standard_path_is_added_unless_it_is_there(endpoint, url):
    """So both standard variables can be given as they are meant."""
    assert telemetry_settings.traces_url(endpoint) == url

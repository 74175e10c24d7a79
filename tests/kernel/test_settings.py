"""Settings with rules of their own."""

from __future__ import annotations

import pytest

from dyff.kernel import errors, settings


def written(tmp_path, text):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", ["HF_TOKEN", "hf_token", "AWS_SECRET_ACCESS_KEY", "PASSWORD"])
def test_a_secret_is_no_environment_of_a_fetch(tmp_path, name):
    """What would be in every manifest must not be a secret; the message says what to do, and not the value."""
    with pytest.raises(errors.Misconfigured, match="HF_TOKEN_PATH") as refused:
        settings.load(written(tmp_path, f"operator: {{fetch_env: {{{name}: s3cret}}}}"), {})
    assert "s3cret" not in refused.value.message


def test_the_hub_of_the_servers_environment_is_the_default(tmp_path):
    """`HF_ENDPOINT` counts unless the settings name another hub; nothing else of the environment does."""
    environment = {"HF_ENDPOINT": "http://theirs", "HF_TOKEN": "s3cret"}
    assert settings.load(None, environment).operator.fetch_env == {"HF_ENDPOINT": "http://theirs"}
    file = written(tmp_path, "operator: {fetch_env: {HF_ENDPOINT: 'http://ours', HF_TOKEN_PATH: /run/token}}")
    assert settings.load(file, environment).operator.fetch_env == {"HF_ENDPOINT": "http://ours", "HF_TOKEN_PATH": "/run/token"}
    assert settings.load(None, {}).operator.fetch_env == {}


@pytest.mark.parametrize("text", ["operator: 3", "operator: {fetch_env: 3}"])
def test_a_default_does_not_hide_a_wrong_setting(tmp_path, text):
    """A value that is not a group is reported as such, also where a default would go into it."""
    with pytest.raises(errors.Misconfigured, match="operator"):
        settings.load(written(tmp_path, text), {"HF_ENDPOINT": "http://theirs"})

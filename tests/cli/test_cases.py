"""What a safety case says of itself: which texts are missing, where they come from, and who is asked."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from dyff.cli import claims
from dyff.cli.methods import template
from tests.cli.test_commands import ID, dyff_command

__all__ = ["dyff_command"]

WHOLE = dict.fromkeys(("claim", "scope", "assumptions", "limits", "evaluators"), "x") | {"relationship": "other"}
PATH = f"/safetycases/{ID}"


def server(**texts):
    """Answers about a case with this documentation."""
    entity = {"id": ID, "account": "me", "kind": "SafetyCase", "metadata": {"documentation": texts}}
    return {f"{PATH}/documentation": texts | {"metadata": {"documentation": texts}}, f"{PATH}/labels": {}, PATH: entity}


def sent(asked, path):
    """The bodies of the requests to a path that change something."""
    return [json.loads(each.content) for each in asked if each.url.path.endswith(path) and each.method == "PATCH"]


WRONG = {
    "no TOML": ("claim = ", "cannot be read"),
    "an unknown text": ('clam = "x"', "clam is not known; did you mean 'claim'?"),
    "no text": ("claim = 3", "claim: give a text"),
    "an unknown relationship": ('relationship = "friends"', "relationship: 'friends' is not known"),
    "too large": (f'claim = "{"x" * claims.MAX_FILE_BYTES}"', "has more than"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_wrong(tmp_path, text, message):
    """The text and the fix are named."""
    (tmp_path / "case.toml").write_text(text)
    with pytest.raises(claims.Wrong, match=re.escape(message)):
        claims.read(tmp_path)


def test_what_is_missing_is_known(tmp_path):
    """A folder without a file has no texts, the template's are empty, and white space is none."""
    assert claims.read(tmp_path) == {}
    template.write("report", "notebook", tmp_path / "m")
    assert claims.read(tmp_path / "m") == {}
    assert claims.missing(WHOLE | {"scope": " ", "limits": None}) == ["scope", "limits"]


def test_texts_are_written_in_place_of_empty_ones(tmp_path):
    """Comments and other texts stay, what has no line gets one, and quotes do no harm."""
    template.write("report", "notebook", tmp_path / "m")
    file = tmp_path / "m/case.toml"
    claims.add(file, {"claim": 'It says "no".\\', "limits": "None\x7f known."})
    claims.add(file, {"title": "T"})
    found = tomllib.loads(file.read_text())
    assert (found["claim"], found["limits"], found["scope"], found["title"]) == ('It says "no".\\', "None\\x7f known.", "", "T")
    assert "# what the case shows" in file.read_text()
    claims.add(tmp_path / "new.toml", {"claim": "x"})
    assert (tmp_path / "new.toml").read_text() == 'claim = "x"\n'


def test_publishing_says_what_is_missing_and_goes_on(dyff_command, tmp_path):
    """Without a terminal nobody is asked: the texts of the file are set, those that are missing are named, and the page is printed."""
    (tmp_path / "case.toml").write_text('claim = "It is safe."\nscope = ""\n')
    result = dyff_command("case", "publish", ID, "--from", str(tmp_path), answers=server(limits="known"))
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"http://127.0.0.1:8000/safetycases/{ID}"
    assert sent(dyff_command.asked, "/documentation") == [{"documentation": {"claim": "It is safe."}}]
    assert sent(dyff_command.asked, "/labels") == [{"labels": {"dyff.io/access": "public"}}]
    listed = re.findall(r"^  (\w+) ", result.stderr, re.MULTILINE)
    assert listed == ["scope", "assumptions", "evaluators", "relationship"]
    assert f"dyff case describe {ID} --from FILE" in result.stderr


def test_a_person_is_asked(dyff_command, monkeypatch):
    """At a terminal, for each text that is missing; an empty answer leaves it out, and a relationship must be one."""
    monkeypatch.setattr(claims, "at_terminal", lambda: True)
    present = {name: text for name, text in WHOLE.items() if name not in ("claim", "scope", "relationship")}
    typed = "It is safe.\n\nfriends\nthird_party\n"
    result = dyff_command("case", "describe", ID, answers=server(**present), typed=typed)
    assert result.exit_code == 0, result.output
    assert sent(dyff_command.asked, "/documentation") == [{"documentation": {"claim": "It is safe.", "relationship": "third_party"}}]
    assert "these texts are missing:\n  scope " in result.stderr


def test_nothing_is_said_about_a_case_that_is_whole(dyff_command):
    """Nor is anything changed but who can see it."""
    result = dyff_command("case", "publish", ID, "--access", "private", answers=server(**WHOLE))
    assert (result.exit_code, result.stderr) == (0, "")
    assert sent(dyff_command.asked, "/documentation") == []
    assert sent(dyff_command.asked, "/labels") == [{"labels": {"dyff.io/access": None}}]

"""The files of the audit log: written by several processes, rotated, bounded, and read meanwhile."""

from __future__ import annotations

import gzip
import os
import stat
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from dyff.kernel import audit, clock, log_settings
from dyff.serve import cli
from dyff.serve.audit import files, reading
from tests.narrowing import sure
from tests.serving.furnished import furnish


class Now:
    """A clock that is set."""

    def __init__(self):
        self.moment = datetime.now(UTC)

    def now(self):
        return self.moment

    def monotonic(self):
        return 0.0


def entry(number: int, **fields) -> bytes:
    made = audit.Entry(
        stream="audit", time=clock.iso(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)), action="a.b", outcome="ok"
    )
    for name, value in fields.items():
        setattr(made, name, value)
    trail: list[Any] = []
    made.count = number
    audit.Trail(trail.append, "w", reads=False).record(made)
    return trail[0]


def numbers(folder, **wanted) -> list[int]:
    return [sure(each.count) for each in reading.Reader(reading.Wanted(**wanted)).folder(folder)]


def opened(folder, time=None, *, keeps_house=False, **chosen) -> files.Files:
    return files.Files(folder, log_settings.Audit(**chosen), time or Now(), keeps_house=keeps_house)


def test_files_are_for_their_owner_only(tmp_path):
    """Folder 0700, files 0600, the compressed ones, too."""
    os.umask(0o077)
    subject = opened(tmp_path / "audit", max_file_bytes=2**16)
    for number in range(3):
        subject.write(entry(number) * 1000)
    subject.close()
    files.tidy_up(tmp_path / "audit", log_settings.Audit(), datetime.now(UTC))
    modes = {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "audit").iterdir()}
    assert (stat.S_IMODE((tmp_path / "audit").stat().st_mode), modes) == (0o700, {0o600})
    assert list((tmp_path / "audit").glob("*.gz"))


def test_a_file_is_closed_when_it_is_large_and_every_day(tmp_path):
    """All entries are read, in their order, from all files."""
    time = Now()
    subject = opened(tmp_path, time, max_file_bytes=2**16)
    subject.write(entry(1))
    time.moment += timedelta(days=1, seconds=1)
    subject.write(entry(2))
    os.utime(tmp_path / files.CURRENT, (time.moment.timestamp(),) * 2)
    subject.write(entry(0) * 1000)
    os.utime(tmp_path / files.CURRENT, (time.moment.timestamp(),) * 2)
    subject.write(entry(3))
    subject.close()
    assert len(files.closed(tmp_path)) == 2
    assert [each for each in numbers(tmp_path) if each] == [1, 2, 3]


def test_an_idle_file_is_closed_at_midnight_too(tmp_path):
    """So that no entry is kept longer than the setting says because nothing came after it."""
    time = Now()
    subject = opened(tmp_path, time, keeps_house=True)
    subject.write(entry(1))
    subject.idle()
    time.moment += timedelta(days=1, seconds=1)
    subject._looked = None
    subject._unsynced_since = None
    subject.idle()
    sure(subject._work).join(10)
    assert [each.suffix for each in files.closed(tmp_path)] == [".gz"]
    assert numbers(tmp_path) == [1]


def test_old_files_are_removed_by_age_and_by_size(tmp_path):
    """`audit.keep_days` and `audit.max_total_bytes`; the current file always stays."""
    time = Now()
    subject = opened(tmp_path, time, max_file_bytes=2**16)
    for number in range(4):
        subject.write(entry(number) * 1000)
        time.moment += timedelta(days=1)
    assert len(files.closed(tmp_path)) == 3
    files.tidy_up(tmp_path, log_settings.Audit(keep_days=2.5), time.moment)
    assert sorted(set(numbers(tmp_path))) == [1, 2, 3]
    small = log_settings.Audit(max_file_bytes=2**20, max_total_bytes=2**20, keep_days=None)
    files.tidy_up(tmp_path, small, time.moment)
    assert sorted(set(numbers(tmp_path))) == [3]


def test_two_processes_write_to_the_same_files(tmp_path):
    """When one has closed the file, the other writes to the new one; no entry is lost and none is read twice."""
    one, other = opened(tmp_path, max_file_bytes=2**16), opened(tmp_path, max_file_bytes=2**16)
    for number in range(0, 2000, 2):
        one.write(entry(number))
        other.write(entry(number + 1))
        if number % 500 == 0:
            files.tidy_up(tmp_path, log_settings.Audit(), datetime.now(UTC))
    assert len(files.closed(tmp_path)) > 2
    assert numbers(tmp_path) == list(range(2000))


def test_a_line_that_was_cut_costs_itself_only(tmp_path):
    """After a loss of power the file may end within a line: it is skipped, and the next entry begins a new line."""
    subject = opened(tmp_path)
    subject.write(entry(1))
    subject.close()
    with (tmp_path / files.CURRENT).open("ab") as file:
        file.write(entry(2)[:30])
    subject = opened(tmp_path)
    subject.write(entry(3))
    reader = reading.Reader(reading.Wanted())
    assert [each.count for each in reader.folder(tmp_path)] == [1, 3]
    assert reader.skipped == 1


@pytest.mark.parametrize("garbage", [b"\0" * 100_000 + b"\n", b"x" * 200_000 + b"\n", b"{}\n[]\nnull\n\xff\xfe\n", b"[" * 60_000 + b"\n"])
def test_what_is_no_entry_is_skipped(tmp_path, garbage):
    """Damage, other programs' lines and very long lines do not keep what comes after them from being read."""
    (tmp_path / files.CURRENT).write_bytes(entry(1) + garbage + entry(2))
    assert numbers(tmp_path) == [1, 2]


def test_a_compressed_file_that_was_cut_is_read_as_far_as_it_goes(tmp_path):
    """The entries after the cut are missing, those of other files are not."""
    whole = gzip.compress(b"".join(entry(number) for number in range(1000)))
    (tmp_path / "audit-20260101T000000.000000Z.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / files.CURRENT).write_bytes(entry(2000))
    found = numbers(tmp_path)
    assert found[0] == 0
    assert found[-1] == 2000
    assert 100 < len(found) < 1000


def test_a_reader_follows_through_a_rotation(tmp_path):
    """New entries come as they are written, a half-written one when it is complete, and the next file is taken up."""
    subject = opened(tmp_path, max_file_bytes=2**16)
    subject.write(entry(1))
    half = entry(2)

    def append(data: bytes) -> None:
        with (tmp_path / files.CURRENT).open("ab") as file:
            file.write(data)

    steps = iter([
        lambda: append(half[:20]),
        lambda: append(half[20:]),
        lambda: subject.write(entry(3) * 1000),
        lambda: subject.write(entry(4)),
        lambda: files.tidy_up(tmp_path, log_settings.Audit(), datetime.now(UTC)),
        lambda: subject.write(entry(5)),
    ])  # fmt: skip

    def wait() -> bool:
        step = next(steps, None)
        if step is not None:
            step()
        return step is not None

    found = [each.count for each in reading.Reader(reading.Wanted()).folder(tmp_path, wait)]
    assert found == [1, 2, *[3] * 1000, 4, 5]


def test_filters_choose_entries(tmp_path):
    """By time, account (ID or name), entity or token, action and outcome; all of them together."""
    subject = opened(tmp_path)
    subject.write(entry(1, account="a1", account_name="me", kind="Dataset", entity="d1", action="datasets.create", token="t1"))
    subject.write(entry(2, account="a2", kind="Account", entity="a1", action="accounts.delete", outcome="refused"))
    subject.write(entry(3, user="root (0)", kind="Account", entity="a1", target="t1", action="operator.token.revoke"))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert numbers(tmp_path, account="me") == [1]
    assert numbers(tmp_path, account="a1") == [1, 2, 3]
    assert numbers(tmp_path, entity="t1") == [1, 3]
    assert numbers(tmp_path, action="*.delete") == [2]
    assert numbers(tmp_path, outcome="refused", account="a2") == [2]
    assert numbers(tmp_path, since=start + timedelta(seconds=2), until=start + timedelta(seconds=3)) == [2]


def test_a_full_disk_cuts_no_entry_for_the_reader(tmp_path, monkeypatch):
    """A write that ends within a line reports only the complete lines; the rest is written again, on a new line."""
    subject = opened(tmp_path)
    lines = entry(1) + entry(2)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(entry(1)) + 10]))
    assert subject.write(lines) == len(entry(1))
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
    with pytest.raises(OSError, match="No space"):
        subject.write(entry(2))
    monkeypatch.setattr(os, "write", real)
    subject.write(entry(2))
    assert numbers(tmp_path) == [1, 2]


@pytest.mark.parametrize(("flags", "reason"), [((), "has no entries"), (("--action", "models.*"), "has no such entry")])
def test_an_audit_log_without_a_match_says_so(tmp_path, flags, reason):
    """On standard error, so that programs still read nothing; it is no failure."""
    audit_folder = furnish(tmp_path / "data").audit
    audit_folder.mkdir()
    (audit_folder / files.CURRENT).touch()
    done = CliRunner().invoke(cli.main, ["audit-log", "--data-dir", str(tmp_path / "data"), *flags])
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"dyff: the audit log {reason}\n"

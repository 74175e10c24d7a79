"""Settings of the log and of the audit log, a part of `dyff.kernel.settings`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Logs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log on standard error. `format`: `auto` for text on a terminal and a JSON object per line otherwise, or one of them always."""

    format: Literal["auto", "json", "text"] = "auto"


class Audit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The audit log: who did what to which entity, with what outcome.

    `output`: `file` for files, `stdout` for JSON lines on standard output, `none`; `auto` for files if the accounts are in the data
    directory or a `directory` is named, else standard output. `directory`: of the files; None for `audit` in the data directory.
    `reads`: also keep requests that only read. `keep_days`: how long files are kept; None for as long as `max_total_bytes` permits.
    `max_file_bytes`: a file is closed and compressed when it is larger, and at midnight (UTC). `max_total_bytes`: if all files together
    are larger, the oldest is removed. `sync_s`: the longest time until an entry that was written is forced to the disk.
    """

    output: Literal["auto", "file", "stdout", "none"] = "auto"
    directory: str | None = None
    reads: bool = False
    keep_days: Annotated[float, msgspec.Meta(gt=0, le=36500)] | None = 365.0
    max_file_bytes: Annotated[int, msgspec.Meta(ge=2**16, le=2**34)] = 64 * 2**20
    max_total_bytes: Annotated[int, msgspec.Meta(ge=2**20)] = 2 * 2**30
    sync_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0

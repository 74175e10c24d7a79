"""The reserve on the disk of the data directory: when it is given up, and when it is taken again."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from dyff.kernel import degradation
from dyff.serve import space

MIB = 2**20


class Disk:
    """A disk of 1 GiB of which `free` bytes are free, besides what the reserve takes."""

    def __init__(self, root, monkeypatch):
        self.root, self.free = root, 512 * MIB
        monkeypatch.setattr(os, "statvfs", self.statvfs)

    def statvfs(self, _path):
        taken = sum(entry.stat().st_size for entry in os.scandir(self.root))
        return SimpleNamespace(f_frsize=1, f_blocks=2**30, f_bavail=max(0, self.free - taken))


@pytest.fixture
def disk(tmp_path, monkeypatch):
    return Disk(tmp_path, monkeypatch)


def reserve(disk):
    return {entry.name: entry.stat().st_size for entry in os.scandir(disk.root)}


def test_the_reserve_is_given_up_on_a_full_disk_and_taken_again(disk):
    """Half of it for what still has to be written, the other half only by a start; it is back when there is enough space."""
    troubles = degradation.Troubles()
    subject = space.Space(disk.root, 8 * MIB, troubles)
    subject.look()
    assert reserve(disk) == {"reserve-for-work": 4 * MIB, "reserve-for-start": 4 * MIB}
    disk.free = 9 * MIB
    subject.look()
    assert subject.full
    assert reserve(disk) == {"reserve-for-start": 4 * MIB}
    (trouble,) = troubles.current()
    assert (trouble.name, "is full" in trouble.reason) == ("disk", True)
    disk.free = 15 * MIB
    subject.look()
    assert subject.full, "what the reserve gave back is not space"
    again = space.Space(disk.root, 8 * MIB, troubles)
    disk.free = 4 * MIB
    again.make_room()
    assert (again.full, reserve(disk)) == (True, {})
    disk.free = 100 * MIB
    again.look()
    assert (again.full, troubles.current()) == (False, [])
    assert reserve(disk) == {"reserve-for-work": 4 * MIB, "reserve-for-start": 4 * MIB}


def test_the_reserve_is_a_small_part_of_the_disk(disk):
    """However much is asked for."""
    space.Space(disk.root, 2**40, degradation.Troubles()).look()
    assert sum(reserve(disk).values()) == 2**30 // space.SHARE


def test_without_a_reserve_nothing_is_full(disk):
    """Then only the stores themselves notice."""
    disk.free = 0
    subject = space.Space(disk.root, 0, degradation.Troubles())
    subject.make_room()
    subject.look()
    assert (subject.full, reserve(disk)) == (False, {})


def test_a_reserve_that_does_not_fit_leaves_nothing(disk, monkeypatch):
    """A disk that is fuller than it says is not filled by half of a reserve."""

    def refuse(_file, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(OSError, match="No space"):
        space.Space(disk.root, 8 * MIB, degradation.Troubles()).look()
    assert reserve(disk) == {}

"""The filter, run by a small interpreter of classic BPF, for both machines; and the same filter in the kernel of this one."""

from __future__ import annotations

import struct

import pytest

from dyff.cluster.pods.shim import seccomp, syscalls

ALLOWED, REFUSED, UNKNOWN, NO_FAMILY, KILLED = "allowed", "EPERM", "ENOSYS", "EAFNOSUPPORT", "killed"
VERDICTS = {0x7FFF0000: ALLOWED, 0x00050001: REFUSED, 0x00050026: UNKNOWN, 0x00050061: NO_FAMILY, 0x80000000: KILLED}
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}
HIGH = 1 << 40
"""Bits that the kernel ignores in arguments of 32 bits: they must not hide the others."""


def verdict(code: bytes, number: int, *arguments: int, machine: str) -> str:
    """What a filter decides about a call."""
    words = (list(arguments) + [0] * 6)[:6]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, ARCHITECTURES[machine], 0, *(each & (1 << 64) - 1 for each in words))
    accumulator, at = 0, 0
    while True:
        operation, then, otherwise, constant = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, constant)[0]
            case 0x54:
                accumulator &= constant
            case 0x06:
                return VERDICTS[constant]
            case 0x15 | 0x25 | 0x35 | 0x45:
                holds = {
                    0x15: accumulator == constant,
                    0x25: accumulator > constant,
                    0x35: accumulator >= constant,
                    0x45: bool(accumulator & constant),
                }
                at += then if holds[operation] else otherwise
            case _:
                raise AssertionError(f"instruction {operation:#x} is not one that the filter needs")


def on_each(call: str) -> list[tuple[str, int]]:
    found = [(machine, syscalls.number(call, machine)) for machine in syscalls.MACHINES]
    return [(machine, number) for machine, number in found if number is not None]


def judged(call: str, *arguments: int, **how: object) -> str:
    """The verdict about a call, which must be the same on all machines that have it."""
    found = {
        verdict(seccomp.program(machine=machine, **how), number, *arguments, machine=machine)  # type: ignore[arg-type]
        for machine, number in on_each(call)
    }
    assert len(found) == 1, found
    return found.pop()


BUBBLEWRAP = {"tier": "bubblewrap"}
OWN = {"tier": "landlock", "own_user": True}
SHARED = {"tier": "landlock", "own_user": False}
ALONE = {"tier": "landlock", "own_user": True, "network": False}
EVERY = (BUBBLEWRAP, OWN, SHARED, ALONE)


@pytest.mark.parametrize("call", seccomp.DENIED)
def test_a_denied_call_is_refused_everywhere(call):
    """Calls that lead out of a sandbox, or into the less tested parts of the kernel, are refused in every tier."""
    assert {judged(call, **how) for how in EVERY} == {REFUSED}


@pytest.mark.parametrize("call", seccomp.DENIED_SHARED_USER)
def test_a_shared_user_can_change_no_attributes(call):
    """Attributes of files and process groups are out of reach only where the server's files and processes have the same user."""
    assert [judged(call, **how) for how in EVERY] == [ALLOWED, ALLOWED, REFUSED, ALLOWED]


STREAM, DATAGRAM, RAW, SEQPACKET, FLAGS = 1, 2, 3, 5, 0o2004000
UNIX, INET, INET6, NETLINK, PACKET, ALG, VSOCK, XDP = 1, 2, 10, 16, 17, 38, 40, 44


@pytest.mark.parametrize(
    ("arguments", "bubblewrap", "landlock"),
    [
        ((INET, STREAM, 0), ALLOWED, ALLOWED),
        ((INET6, STREAM | FLAGS, 6), ALLOWED, ALLOWED),
        ((INET | HIGH, STREAM | HIGH, 6 | HIGH), ALLOWED, ALLOWED),
        ((INET, STREAM, 262), REFUSED, REFUSED),
        ((INET, STREAM | HIGH, 262 | HIGH), REFUSED, REFUSED),
        ((INET, STREAM, 132), REFUSED, REFUSED),
        ((INET, DATAGRAM, 0), ALLOWED, REFUSED),
        ((INET6, DATAGRAM | FLAGS, 17), ALLOWED, REFUSED),
        ((INET, DATAGRAM, 1), REFUSED, REFUSED),
        ((INET, DATAGRAM, 6), REFUSED, REFUSED),
        ((INET, RAW, 6), REFUSED, REFUSED),
        ((INET6, SEQPACKET, 132), REFUSED, REFUSED),
        ((UNIX, STREAM, 0), ALLOWED, NO_FAMILY),
        ((UNIX | HIGH, DATAGRAM, 0), ALLOWED, NO_FAMILY),
        *(((family, RAW, 0), NO_FAMILY, NO_FAMILY) for family in (0, NETLINK, PACKET, ALG, VSOCK, XDP, 0xFFFFFFFF)),
    ],
)
def test_only_ordinary_sockets_exist(arguments, bubblewrap, landlock):
    """Without a network of its own, a program gets TCP and nothing else; Netlink, packet, vsock and other families nowhere."""
    assert judged("socket", *arguments, **BUBBLEWRAP) == bubblewrap
    assert {judged("socket", *arguments, **how) for how in (OWN, SHARED)} == {landlock}


@pytest.mark.parametrize("family", [UNIX, INET, INET6, NETLINK, VSOCK])
def test_without_network_there_is_no_socket(family):
    """A program that neither listens nor connects gets no socket at all in the tier landlock."""
    assert judged("socket", family, STREAM, 0, **ALONE) == NO_FAMILY


@pytest.mark.parametrize(
    ("call", "arguments", "bubblewrap", "landlock"),
    [
        ("socketpair", (UNIX, STREAM | FLAGS), ALLOWED, ALLOWED),
        ("socketpair", (UNIX, SEQPACKET), ALLOWED, ALLOWED),
        ("socketpair", (UNIX, DATAGRAM), ALLOWED, REFUSED),
        ("socketpair", (UNIX, RAW), REFUSED, REFUSED),
        ("socketpair", (30, STREAM), NO_FAMILY, NO_FAMILY),
        ("sendto", (3, 0, 0, 0x4000), ALLOWED, ALLOWED),
        ("sendto", (3, 0, 0, 0x20004000), ALLOWED, REFUSED),
        ("sendmsg", (3, 0, 0x20000000), ALLOWED, REFUSED),
        ("sendmsg", (3, 0x20000000, 0), ALLOWED, ALLOWED),
        ("sendmmsg", (3, 0, 1, 0x20000000 | HIGH), ALLOWED, REFUSED),
        ("setsockopt", (3, 6, 1), ALLOWED, ALLOWED),
        ("setsockopt", (3, 6, 30), ALLOWED, REFUSED),
        ("setsockopt", (3, 6 | HIGH, 30 | HIGH), ALLOWED, REFUSED),
        ("setsockopt", (3, 6, 31), ALLOWED, REFUSED),
        ("setsockopt", (3, 1, 30), ALLOWED, ALLOWED),
        ("clone", (0x003D0F00,), ALLOWED, ALLOWED),
        ("clone", (0x11,), ALLOWED, ALLOWED),
        *(("clone", (0x11 | 1 << bit,), REFUSED, REFUSED) for bit in (17, 25, 26, 27, 28, 29, 30)),
        ("clone3", (0, 0), UNKNOWN, UNKNOWN),
        ("personality", (0xFFFFFFFF,), ALLOWED, ALLOWED),
        ("personality", (0,), ALLOWED, ALLOWED),
        ("personality", (0x0400000,), REFUSED, REFUSED),
        ("personality", (8,), REFUSED, REFUSED),
        ("ioctl", (0, 0x5401), ALLOWED, ALLOWED),
        ("ioctl", (0, 0x5412), REFUSED, REFUSED),
        ("ioctl", (0, 0x5412 | HIGH), REFUSED, REFUSED),
        ("ioctl", (0, 0x541C), REFUSED, REFUSED),
        ("setrlimit", (7, 1), ALLOWED, ALLOWED),
        ("setrlimit", (15, 1), REFUSED, REFUSED),
        ("prlimit64", (0, 7, 1, 0), ALLOWED, ALLOWED),
        ("prlimit64", (0, 15, 0, 1), ALLOWED, ALLOWED),
        ("prlimit64", (0, 15, 1, 0), REFUSED, REFUSED),
        ("prlimit64", (0, 15, HIGH, 0), REFUSED, REFUSED),
        ("prlimit64", (1, 7, 1, 0), ALLOWED, REFUSED),
        *((call, (0, 1), ALLOWED, ALLOWED) for call in ("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")),
        *((call, (1, 1), ALLOWED, REFUSED) for call in ("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")),
        ("setpriority", (0, 0, 5), ALLOWED, ALLOWED),
        ("setpriority", (0, 1, 5), ALLOWED, REFUSED),
        ("setpriority", (2, 0, 5), ALLOWED, REFUSED),
        ("ioprio_set", (1, 0, 5), ALLOWED, ALLOWED),
        ("ioprio_set", (1, 2, 5), ALLOWED, REFUSED),
        ("ioprio_set", (3, 0, 5), ALLOWED, REFUSED),
        ("inotify_add_watch", (3,), ALLOWED, REFUSED),
    ],
)
def test_arguments_decide(call, arguments, bubblewrap, landlock):
    """Calls that are harmless with some arguments only are judged by these, whatever the bits say that the kernel ignores."""
    assert judged(call, *arguments, **BUBBLEWRAP) == bubblewrap
    assert {judged(call, *arguments, **how) for how in (OWN, SHARED)} == {landlock}


@pytest.mark.parametrize("how", EVERY)
@pytest.mark.parametrize("machine", syscalls.MACHINES)
def test_foreign_calls_kill(machine, how):
    """Calls of another architecture, whose numbers mean other things, kill the program; so do those of x32."""
    code = seccomp.program(machine=machine, **how)
    for other in ARCHITECTURES.keys() - {machine}:
        assert verdict(code, 1, machine=other) == KILLED
    if machine == "x86_64":
        assert {verdict(code, 0x40000000 | number, machine=machine) for number in (0, 1, 41, 520)} == {KILLED}


@pytest.mark.parametrize("how", EVERY)
@pytest.mark.parametrize("machine", syscalls.MACHINES)
def test_a_call_that_is_newer_than_the_rules_does_not_exist(machine, how):
    """A call that the rules do not know looks as if the kernel did not have it, so libraries use an older one."""
    code = seccomp.program(machine=machine, **how)
    assert verdict(code, syscalls.NEWEST + 1, machine=machine) == UNKNOWN
    listed = {syscalls.number(name, machine) for name in syscalls.NUMBERS}
    plain = [number for number in range(syscalls.NEWEST + 1) if number not in listed]
    assert {verdict(code, number, machine=machine) for number in plain} == {ALLOWED}


def test_an_unknown_machine_or_tier_is_refused():
    """There is no filter for a machine whose numbers are not known, nor for a tier that does not exist."""
    with pytest.raises(OSError, match="riscv64 are not known; only x86_64 and aarch64"):
        seccomp.program("landlock", machine="riscv64")
    with pytest.raises(ValueError, match="there is no tier 'none'"):
        seccomp.program("none")

"""A program for test_first_uses.py: many threads use each Struct of Dyff for the first time, all at the same instant.

A Struct has one first use in a process, so the test needs fresh processes. Each races over the Structs of Dyff, then over as many
families of new types as its argument says, and prints how many Structs of Dyff there are. It fails if two threads got different answers.

Annotations are objects here, not texts: a text could not name a class that a function defines.
"""

import enum
import faulthandler
import functools
import importlib
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Literal, NamedTuple, TypedDict, TypeVar

import msgspec

THREADS = 8
T = TypeVar("T")


def race(turns: Iterable[Sequence[Callable[[], object]]]) -> None:
    """Run each turn's uses in `THREADS` threads that start every turn together; each thread begins with another use.

    Raises:
        RuntimeError: a use failed, or did not give the same in every thread.
    """
    turns = list(turns)
    barrier = threading.Barrier(THREADS, timeout=60)
    found: list[list[dict[int, str]]] = [[] for _ in range(THREADS)]

    def run(thread: int) -> None:
        for uses in turns:
            answers = {}
            barrier.wait()
            for number in range(thread, thread + len(uses)):
                answers[number % len(uses)] = answer(uses[number % len(uses)])
            found[thread].append(answers)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(THREADS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    differ = [answers for answers in zip(*found, strict=True) if any(each != answers[0] for each in answers)]
    if differ or len(found[0]) != len(turns):
        raise RuntimeError(f"first uses differ: {differ}")


def answer(use: Callable[[], object]) -> str:
    """What a use gave, as a text that is equal in every thread. A document may be refused, in the same words everywhere."""
    try:
        return repr(use())
    except (msgspec.ValidationError, TypeError) as error:
        return repr(error)


ELSEWHERE = ("dyff.client", "dyff.schema", "dyff.workflows.analysis_runner")
"""Other packages, and a program that runs in another environment."""


def structs_of_dyff() -> list[type[msgspec.Struct]]:
    """Every Struct that a module of Dyff defines, however deep it is derived."""
    import dyff

    for package in pkgutil.walk_packages(dyff.__path__, "dyff."):
        if not package.name.endswith("__main__") and not package.name.startswith(ELSEWHERE):
            importlib.import_module(package.name)
    found: list[type[msgspec.Struct]] = []
    left = [msgspec.Struct]
    while left:
        below = left.pop().__subclasses__()
        left += below
        found += [each for each in below if each.__module__.startswith("dyff.")]
    return sorted(set(found), key=lambda each: (each.__module__, each.__qualname__))


def first_uses(form: type[msgspec.Struct]) -> list[Callable[[], object]]:
    """All ways in which a Struct is used for the first time. Its last field is prepared last, so documents have that one."""
    last = form.__struct_encode_fields__[-1:]
    values: tuple[object, ...] = ({}, [{}], None, "x")
    documents = [dict.fromkeys(last, value) for value in values]
    return [
        *(functools.partial(msgspec.convert, document, form) for document in documents),
        *(functools.partial(msgspec.json.decode, msgspec.json.encode(document), type=form) for document in documents[:2]),
        lambda: msgspec.json.Decoder(form).decode(msgspec.json.encode(documents[0])),
        lambda: msgspec.msgpack.decode(msgspec.msgpack.encode(documents[0]), type=form),
        lambda: len(msgspec.inspect.type_info(form).fields),  # type: ignore[attr-defined]
        lambda: sorted(msgspec.json.schema(form)),
    ]


def fresh_family(number: int) -> list[Callable[[], object]]:
    """First uses of new types of every sort that refer to one another."""

    class Color(enum.Enum):
        RED = f"red{number}"

    class Level(enum.IntEnum):
        LOW = number

    class Point(NamedTuple):
        x: int
        y: Literal[1, 2] = 1

    class Options(TypedDict):
        color: Color
        level: Level

    class Leaf(msgspec.Struct, tag=f"leaf{number}"):
        options: Options
        points: list[Point] = []
        kind: Literal["a", "b"] = "a"

    class Node(msgspec.Struct, Generic[T], tag=f"node{number}"):
        value: T
        children: list[Leaf] = []
        fields: dict[str, tuple[Leaf | None, ...]] = {}

    leaf = {"type": f"leaf{number}", "options": {"color": f"red{number}", "level": number}, "points": [[1, 2]], "kind": "b"}
    node = {"type": f"node{number}", "value": leaf, "children": [leaf], "fields": {"a": [leaf, None]}}
    text = msgspec.json.encode(node)
    packed = msgspec.msgpack.encode(node)
    return [
        lambda: msgspec.json.Decoder(Node[Leaf]).decode(text),
        lambda: msgspec.convert(node, Node[Leaf]),
        lambda: msgspec.convert(leaf, Leaf),
        lambda: msgspec.json.decode(text, type=Node[Leaf]),
        lambda: msgspec.msgpack.decode(packed, type=Node[Leaf]),
        lambda: msgspec.json.Decoder(Leaf | Node[Leaf]).decode(text),
        lambda: msgspec.json.schema(Node[Leaf]),
        lambda: msgspec.to_builtins(Node(value=Leaf({"color": Color.RED, "level": Level.LOW}))),
        lambda: msgspec.json.encode(Node(value=Leaf({"color": Color.RED, "level": Level.LOW}))),
        lambda: len(msgspec.inspect.type_info(Node[Leaf]).fields),  # type: ignore[attr-defined]
    ]


def main(rounds: int) -> None:
    faulthandler.enable()
    forms = structs_of_dyff()
    sys.setswitchinterval(1e-6)
    race(first_uses(form) for form in forms)
    race(fresh_family(number) for number in range(1, rounds + 1))
    sys.stdout.write(f"{len(forms)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))

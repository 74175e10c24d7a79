"""Which keys and paths are allowed."""

import pytest

from dyff.entities import tree_paths
from dyff.kernel import errors
from dyff.objects import layout
from tests.narrowing import sure


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b.c",
        ".hidden",
        "..a",
        "...a/b",
        "a b",
        "über/日本",
        "console",
        "com10",
        "lpt",
        "x" * 255,
        "/".join(["x" * 224] * 4),
        "-",
        "~",
        "a'b",
    ],
    ids=lambda path: path[:12],
)
def test_a_plain_relative_path_is_fine(path):
    """Names that only look like special ones are ordinary."""
    assert tree_paths.path_problem(path) is None
    assert layout.check_key(path) == path


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("", "relative path"),
        ("/a", "relative path"),
        ("a/", "relative path"),
        ("a//b", "empty"),
        ("a/./b", "'..' segments"),
        ("..", "'..' segments"),
        ("a\\b", "must not contain '\\\\'"),
        ("a:b|c", "must not contain ':' '|'"),
        ("a\tb", "must not contain '\\t'"),
        ("a\u0085", "must not contain '\\x85'"),
        ("\udcff", "must not contain '\\udcff'"),
        ("x" * 256, "longer than 255 bytes"),
        ("/".join(["ü" * 100] * 5), "longer than 900 bytes"),
        ("ü" * 128, "longer than 255 bytes"),
        ("/".join(["x" * 225] * 4), "longer than 900 bytes"),
        ("a /b", "end in a space or a dot"),
        ("a/b.", "end in a space or a dot"),
        ("a/nul", "reserved name nul"),
        ("Aux.tar.gz/b", "reserved name Aux.tar.gz"),
        ("con .txt", "reserved name con .txt"),
        ("LPT9", "reserved name LPT9"),
    ],
)
def test_a_path_that_is_unsafe_somewhere_is_refused_with_the_reason(path, want):
    """The sentence says which rule it breaks, in words that go behind the path."""
    assert want in sure(tree_paths.path_problem(path))


@pytest.mark.parametrize("path", [".dyff/x", ".DYFF/artifacts.json", ".dyff", ".d\u200byff/x", ".dy\ufb00/x", ".\uff44yff/x"], ids=ascii)
def test_users_cannot_write_where_dyff_does(path):
    """`.dyff/` is reserved in every spelling that some file system takes for the same name."""
    assert "begin with .dyff/" in sure(tree_paths.artifact_problem(path))


@pytest.mark.parametrize("path", ["a/.dyff/x", ".dyffx/a", "dyff/a", "x.dyff", ".dyfü/x"])
def test_users_may_write_what_only_looks_similar(path):
    """Only the first segment is reserved."""
    assert tree_paths.artifact_problem(path) is None


def test_other_rules_hold_for_artifacts_too():
    """A reserved prefix is not the only reason to refuse what users choose."""
    assert "segments" in sure(tree_paths.artifact_problem("a/../b"))
    assert "segments" in sure(tree_paths.artifact_problem("über/../b"))
    assert "longer than 900 bytes" in sure(tree_paths.artifact_problem("a" * 10**6))


def test_a_key_has_room_for_a_path_of_full_length():
    """A path of 900 bytes below an entity's prefix is a key, and 1024 bytes are the most."""
    path = "/".join(["x" * 224] * 4)
    assert layout.check_key(layout.evaluation_verified("0" * 32) + "attempt-1/" + path)
    assert layout.check_key("/".join(["x" * 255] * 4))
    with pytest.raises(errors.InvalidFields, match="longer than 1024 bytes"):
        layout.check_key("/".join(["x" * 255] * 4) + "/yy")


@pytest.mark.parametrize(
    ("paths", "want"),
    [
        ([], None),
        (["a", "b/c", "b/d", "ab", "b-", "b.c"], None),
        (["a", "b", "a"], "'a' is there twice"),
        (["a/b/c", "x", "a"], "'a' cannot be a file, because 'a/b/c' is below it"),
        (["a/b", "a/b/c/d"], "'a/b' cannot be a file, because 'a/b/c/d' is below it"),
        (["a", "a-b", "a b/c", "a.b", "a/c"], "'a' cannot be a file, because 'a/c' is below it"),
        (["a/b", "a/b-c", "a/b/c", "a/b.d/e"], "'a/b' cannot be a file, because 'a/b/c' is below it"),
    ],
)
def test_paths_that_cannot_be_files_of_one_tree(paths, want):
    """No path may be there twice, nor lead through another file."""
    assert tree_paths.tree_problem(paths) == want


def test_plain_paths_have_the_same_rules():
    """The fast way for plain paths agrees with the look at each segment."""
    parts = ["a", "con", "CON.txt", "com1", "com0", "x.con", "a.b", "a_b=c-d", "x" * 255, "x" * 256, "nul"]
    for path in [*parts, *(f"{one}/{other}" for one in parts for other in parts)]:
        slow = tree_paths.path_problem(path + "/ü")
        assert tree_paths.path_problem(path) == slow, path


def test_the_check_of_a_tree_is_linear():
    """Twice as many paths, each below long common directories, cost about twice the steps: neighbours are compared, not all directories."""
    compared = 0

    class Counted(str):
        def startswith(self, *given):
            nonlocal compared
            compared += 1
            return super().startswith(*given)

        def replace(self, *given):
            return Counted(super().replace(*given))

    paths = [Counted("d/" * 400 + f"f{n}") for n in range(2000)]
    assert tree_paths.tree_problem(paths) is None
    assert compared == len(paths) - 1


ID = "0" * 32
PLACES = {
    "an entity's data": (layout.root("datasets", ID), f"datasets/{ID}/"),
    "raw outputs": (layout.evaluation_raw(ID), f"outputs/{ID}/data/"),
    "verified outputs": (layout.evaluation_verified(ID), f"outputs/{ID}/verified/"),
    "reasons of items without responses": (layout.evaluation_errors(ID), f"outputs/{ID}/.dyff/errors/"),
    "exchanges": (layout.evaluation_exchanges(ID), f"outputs/{ID}/.dyff/raw-exchanges/"),
    "uploads": (layout.staging("models", ID), f"uploads/models/{ID}/"),
    "bytes by their digest": (layout.blob(f"models/{ID}/", "abc"), f"models/{ID}/.dyff/blobs/abc"),
    "parts of one file": (layout.parts(f"models/{ID}/", "abc"), f"models/{ID}/.dyff/parts/abc/"),
    "parts of all files": (layout.parts(f"models/{ID}/"), f"models/{ID}/.dyff/parts/"),
    "an attempt of an analysis": (layout.analysis_attempt(f"measurements/{ID}/", "a-1"), f"measurements/{ID}/data/a-1/"),
    "results": (layout.results(f"measurements/{ID}/"), f"measurements/{ID}/.dyff/results.json"),
    "progress": (layout.progress("outputs", ID), f"outputs/{ID}/.dyff/progress.json"),
    "logs": (layout.logs("outputs", ID), f"outputs/{ID}/.dyff/logs.txt"),
}


@pytest.mark.parametrize(("found", "want"), PLACES.values(), ids=PLACES)
def test_where_data_is(found, want):
    """Stored data is found there by every later release, so no place ever changes."""
    assert found == want


def test_all_data_of_an_entity_is_in_the_folders_of_its_kind():
    """So that deleting these deletes all of it."""
    assert layout.trees(("evaluations", "outputs"), ID) == (f"evaluations/{ID}/", f"outputs/{ID}/")


@pytest.mark.parametrize(
    ("collection", "want"), [("datasets", f"datasets/{ID}/"), ("outputs", f"outputs/{ID}/verified/"), ("measurements", None)]
)
def test_where_older_releases_stored_data_without_a_manifest(collection, want):
    """Measurements are younger than manifests."""
    assert layout.without_manifest(collection, ID) == want


@pytest.mark.parametrize(
    ("key", "want"),
    [
        (f"uploads/models/{ID}/a/b", ("models", ID, "a/b")),
        (layout.staging("datasets", ID) + "a", ("datasets", ID, "a")),
        (f"uploads/models/{ID}", None),
        ("uploads/", None),
        (f"models/{ID}/a/b", None),
        (f"a/uploads/models/{ID}/b", None),
    ],
)
def test_whose_a_staged_file_is_shows_in_its_key(key, want):
    """Other keys are nobody's upload."""
    assert layout.staged(key) == want


@pytest.mark.parametrize(
    ("link", "target", "want"),
    [
        ("a", "b", None),
        ("snapshots/main/config.json", "../../blobs/abc", None),
        ("a/b", "../c/d", None),
        ("a/b", "..", None),
        ("a", "..", "must not lead out of the tree"),
        ("a/b", "../../c", "must not lead out of the tree"),
        ("a/b/c", "d/../../../x", "must not lead out of the tree"),
        ("a/b/c", "d/../x", "must not lead out of the tree"),
        ("a", "/etc/passwd", "must be a relative path of a file"),
        ("a", "", "must be a relative path of a file"),
        ("a/b", "../", "must be a relative path of a file"),
        ("a", "./b", "must not have empty, '.' or '..' segments"),
        ("a", "b//c", "must not have empty, '.' or '..' segments"),
        ("a", "b:c", "must not contain ':'"),
    ],
)
def test_a_link_stays_in_its_tree(link, target, want):
    """Whatever the names on its way are: one of them may itself be a link, so `..` may only come first."""
    assert layout.link_problem(link, target) == want


@pytest.mark.parametrize(
    ("link", "target", "want"),
    [("a", "b", "b"), ("a/b", "c", "../c"), ("s/main/x", "blobs/1", "../../blobs/1"), ("a/b", "a/c", "c"), ("a/b/c", "a/d", "../d")],
)
def test_links_are_relative(link, target, want):
    """So that they hold wherever the tree is."""
    assert layout.relative_link(link, target) == want
    assert layout.link_problem(link, want) is None

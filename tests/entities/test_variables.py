"""What a spec may put into the environment of a program, and how much."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dyff.entities import variables

LOADERS = [
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "LD_DEBUG", "LD_ANYTHING", "DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES", "GCONV_PATH",
    "LOCPATH",
    "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONWARNINGS",
    "PYTHONBREAKPOINT", "PYTHONEXECUTABLE", "PYTHONPYCACHEPREFIX", "PYTHON_ANYTHING", "PYTHONUNBUFFEREDX",
    "BASH_ENV", "ENV", "IFS", "SHELLOPTS", "PS4", "PROMPT_COMMAND", "NODE_OPTIONS", "NODE_PATH",
    "PERL5LIB", "PERL5OPT", "PERL5DB", "PERLLIB", "RUBYLIB", "RUBYOPT", "GEM_PATH", "LUA_INIT", "LUA_PATH_5_4",
    "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "DOTNET_STARTUP_HOOKS", "CORECLR_PROFILER_PATH",
    "OPENSSL_CONF", "R_PROFILE", "RES_OPTIONS", "HOSTALIASES",
]  # fmt: skip
OURS = ["DYFF_STORAGE_URL", "DYFF_FETCH_ALLOWED_HOSTS", "DYFF_X"]
INVALID = ["", "1A", "A B", "A=B", "A\n", "A\0", "é", "A$", "BASH_FUNC_x%%", "A/B", "\u2028"]
ALLOWED = [
    "MODEL", "OMP_NUM_THREADS", "HF_HOME", "CUDA_VISIBLE_DEVICES", "LANG", "LD", "XLD_PRELOAD", "MY_PYTHONPATH", "PYTHONUNBUFFERED",
    "PYTHONHASHSEED", "PYTHONUTF8", "NODE_ENV", "ENVIRONMENT", "PATHS", "JAVA_HOME", "a.b-c", "_",
    *sorted(variables.OURS),
]  # fmt: skip


@pytest.mark.parametrize("name", [*LOADERS, *OURS, *INVALID])
def test_a_name_that_is_refused_is_named_with_what_to_do(name):
    """One sentence says which variable it is and what to do instead."""
    problem = variables.problem(name)
    assert problem is not None
    assert name in problem or repr(name) in problem
    assert len(problem) < 200
    assert problem.count("\n") == 0


@pytest.mark.parametrize("name", ALLOWED)
def test_other_names_are_allowed(name):
    """What programs are configured with is the account's, also names that Dyff sets itself on one machine."""
    assert variables.problem(name) is None


@pytest.mark.parametrize("name", [*LOADERS, *OURS, *ALLOWED])
def test_the_schema_says_the_same(name):
    """The JSON schema of what is refused agrees with the check."""
    schema: dict[str, Any] = variables.REFUSED
    refused = re.search(schema["pattern"], name) is not None and name not in schema["not"]["enum"]
    assert refused is (variables.problem(name) is not None)


@pytest.mark.parametrize(
    "values",
    [
        ["x" * 30_000, *["$(A)$(A)"] * 8],
        ["x" * 30_000, *["$(A)" * 8000] * 99],
        ["x" * 130_000] * 9,
        ["\U0001f600" * 32_768],
    ],
    ids=["twice each time", "a bomb", "many", "wide characters"],
)
def test_what_becomes_too_large_is_refused_before_it_is_made(values):
    """A variable that refers to itself grows at every step; it is never made larger than the limit."""
    with pytest.raises(ValueError, match="larger than"):
        variables.expanded([("A", value) for value in values], ())


def test_arguments_count_too():
    """Together with the variables, arguments have one limit, which a program's start has on Linux as well."""
    pairs = [("A", "x" * 100_000)]
    variables.expanded(pairs, ["$(A)"] * 9)
    with pytest.raises(ValueError, match="together"):
        variables.expanded(pairs, ["$(A)"] * 10)

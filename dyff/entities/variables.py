"""Which environment variables a spec may set, and how large they may become. Pure.

A variable that changes which code the loader or an interpreter loads would make a program that an administrator chose run code of
an account. So a spec must not set it. The sandbox does not depend on this list, which cannot be complete: it is one more obstacle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MAX_VALUE_BYTES = 131_000
"""The size of a variable or an argument after its expansion. Linux refuses to start a program with one of 128 KiB."""
MAX_ENVIRONMENT_BYTES = 2**20
"""The size of all variables and arguments of a program together, after their expansion."""

NAME = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$(?!\n)"
_NAME = re.compile(NAME)
_VARIABLE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")

_PREFIXES = (
    "LD_", "DYLD_",  # the dynamic loader
    "BASH_FUNC_",
    "PERL", "RUBY", "GEM_", "BUNDLE_", "LUA_", "ERL_", "JULIA_", "GUILE_", "R_",
    "CORECLR_", "COR_",  # profilers, which .NET loads
)  # fmt: skip
_NAMES = (
    "GLIBC_TUNABLES", "GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NIS_PATH", "NLSPATH", "RESOLV_HOST_CONF",
    "RES_OPTIONS", "TZDIR",  # what the C library ignores in programs with more rights than their caller
    "BASH_ENV", "BASHOPTS", "CDPATH", "ENV", "GLOBIGNORE", "IFS", "PROMPT_COMMAND", "PS4", "SHELLOPTS",
    "NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE",
    "CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS",
    "DOTNET_ADDITIONAL_DEPS", "DOTNET_SHARED_STORE", "DOTNET_STARTUP_HOOKS",
    "OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES", "KRB5_CONFIG", "SASL_PATH", "GIO_MODULE_DIR", "GIO_EXTRA_MODULES",
    "OMP_TOOL_LIBRARIES", "CUDA_INJECTION32_PATH", "CUDA_INJECTION64_PATH",
    "PHPRC", "PHP_INI_SCAN_DIR", "TCLLIBPATH",
)  # fmt: skip
_HARMLESS = tuple(f"PYTHON{each}" for each in ("DONTWRITEBYTECODE", "FAULTHANDLER", "HASHSEED", "IOENCODING", "UNBUFFERED", "UTF8"))
_LOADERS = rf"^({'|'.join((*_PREFIXES, 'PYTHON', 'DYFF_'))}|({'|'.join(_NAMES)})$)"
REFUSED = {"pattern": _LOADERS, "not": {"enum": list(_HARMLESS)}}
"""What a refused name looks like, as a JSON schema."""
_REFUSED = re.compile(_LOADERS)

OURS = frozenset({
    "PATH", "HOME", "TMPDIR", "HOST", "PORT",
    *(name for each in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy") for name in (each, each.upper())),
})  # fmt: skip
"""Variables that the local cluster sets, or leaves out, itself. A spec may have them: in a container image they mean something."""


def problem(name: str) -> str | None:
    """Why a spec must not set the variable `name`, with what to do instead; None if it may."""
    if not _NAME.fullmatch(name):
        return f"{name[:100]!r} is no name of a variable: letters, digits, '-', '_' or '.', not beginning with a digit"
    if name.startswith("DYFF_"):
        return f"{name} belongs to Dyff, like all names that begin with DYFF_; choose another name"
    if _REFUSED.match(name) and name not in _HARMLESS:
        return f"{name} changes how programs are loaded, so a spec must not set it; set it in the container image"
    return None


def expand(text: str, env: Mapping[str, str]) -> str:
    """Expand `$(VAR)` as Kubernetes does: unknown variables stay unchanged, `$$` is a dollar sign.

    Raises:
        ValueError: the result would be too large; it is not made.
    """
    parts: list[str] = []
    size = at = 0
    for match in _VARIABLE.finditer(text):
        parts += (text[at : match.start()], "$" if match[0] == "$$" else env.get(match[1], match[0]))
        size += len(parts[-2]) + len(parts[-1])
        at = match.end()
        _check(size)
    whole = "".join((*parts, text[at:]))
    _check(len(whole.encode()))
    return whole


def expanded(pairs: Iterable[tuple[str, str]], words: Iterable[str]) -> None:
    """Check the size of variables, of which each may refer to earlier ones, and of arguments, after their expansion.

    Raises:
        ValueError: one of them, or all together, would be too large.
    """
    env: dict[str, str] = {}
    total = 0
    for name, value in pairs:
        env[name] = expand(value, env)
        total += len(name.encode()) + len(env[name].encode())
        check_total(total)
    for word in words:
        total += len(expand(word, env).encode())
        check_total(total)


def check_total(size: int) -> None:
    """Check the size of all variables and arguments together.

    Raises:
        ValueError: it is too large.
    """
    if size > MAX_ENVIRONMENT_BYTES:
        raise ValueError(
            f"variables and arguments are larger than {MAX_ENVIRONMENT_BYTES:,} bytes together, with what $(...) stands for; shorten them"
        )


def _check(size: int) -> None:
    if size > MAX_VALUE_BYTES:
        raise ValueError(
            f"a variable or an argument is larger than {MAX_VALUE_BYTES:,} bytes, with what $(...) stands for; put the data into a file"
        )

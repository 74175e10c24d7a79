"""The settings file: YAML in which no key is there twice, and `{here}` stands for the file's directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dyff.kernel import errors


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently lose the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value[:100]!r} is there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(file: str, named_by: str) -> dict[str, Any]:
    """The settings in a file, not yet validated, with `{here}` replaced. `named_by`: what named the file, for the message; may be empty.

    Raises:
        Misconfigured: it cannot be read, or is no mapping.
    """
    try:
        with Path(file).open(encoding="utf-8") as text:
            tree = yaml.load(text, Loader=_Loader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise errors.Misconfigured(f"the settings file {file}{named_by} cannot be read: {error}") from error
    if tree is not None and not isinstance(tree, dict):
        raise errors.Misconfigured(f"the settings file {file}{named_by} must be a mapping of settings")
    here = str(Path(file).absolute().parent)
    return {key: _placed(value, here) for key, value in (tree or {}).items()}


def _placed(value: Any, here: str) -> Any:
    """Replace `{here}`, in any text of a settings file, by the file's own directory."""
    if isinstance(value, dict):
        return {key: _placed(each, here) for key, each in value.items()}
    if isinstance(value, list):
        return [_placed(each, here) for each in value]
    return value.replace("{here}", here) if isinstance(value, str) else value

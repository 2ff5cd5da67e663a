"""A recipe's YAML as plain values: no key twice, and nothing that stands at no key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from nhwc.flows.printable import printable
from nhwc.validators.errors import MachineError, RecipeError


def read_yaml(path: Path) -> Any:
    """What stands in the file.

    Raises RecipeError where it is no YAML or a key is given twice, MachineError where it is there and cannot be read.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except IsADirectoryError as error:
        found = "found a folder, expected a recipe's file: `nhwc init FOLDER` writes one"
        raise RecipeError(str(path), (found,)) from error
    except (OSError, RecursionError, yaml.YAMLError, *_LET_THROUGH) as error:
        MachineError.see(error, path)
        raise RecipeError(str(path), (f"cannot be read as YAML: {error}",)) from error


class _UniqueKeys(yaml.SafeLoader):
    """A SafeLoader that refuses a key given twice, of which YAML would silently take the last."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """The keys as written, before a merge (<<) adds those of other mappings, which may be given again."""
        node = super().compose_mapping_node(anchor)
        keys = [(key.tag, key.value) for key, _ in node.value]
        twice = [value for tag, value in keys if keys.count((tag, value)) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} is given twice", node.start_mark)
        return node


_LET_THROUGH = (ValueError, LookupError, AttributeError)
"""What PyYAML raises of a value that its tag does not fit (`!!bool maybe`, 2024-13-45); not UTF-8 is a ValueError."""

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
"""What YAML can write with escapes, and no file name or UTF-8 can hold."""

_DEEPEST = 8
"""Parts within parts: more than any key needs."""


def unfit(value: Any, key: str, above: tuple[int, ...] = ()) -> list[str]:
    """What stands at no key of any recipe: dates, parts that hold themselves, text that cannot be written."""
    if isinstance(value, dict | list | tuple):
        if id(value) in above or len(above) > _DEEPEST:
            return [f"{printable(key)}: found parts that hold themselves or lie too deep, expected plain values"]
        inner = list(value.items() if isinstance(value, dict) else enumerate(value))
        names = [problem for name, _ in inner for problem in unfit(name, f"{key}.{name}")]
        return names + [text for name, one in inner for text in unfit(one, f"{key}.{name}", (*above, id(value)))]
    if isinstance(value, str):
        wrong = f"{value!r}, expected text without NUL and lone surrogates" if _UNWRITABLE.search(value) else ""
    elif isinstance(value, int):
        wrong = f"a number of {value.bit_length()} bits, expected at most 63" if value.bit_length() > 63 else ""
    else:
        is_plain = value is None or isinstance(value, float)
        wrong = "" if is_plain else f"{value} ({type(value).__name__}), expected text: put it in quotes"
    return [f"{printable(key)}: found {wrong}"] if wrong else []

"""Names of files as they may be shown."""

import json
import re


def printable(name: str) -> str:
    """The name with control characters escaped: a file name must not steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def printable_json(text: str) -> str:
    """JSON that says the same, its lines kept, with other control characters escaped."""
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def markdown_cell(text: str) -> str:
    """Text that cannot break out of a Markdown table's cell or become markup."""
    return re.sub(r"([\\|`*_<>\[\]#])", r"\\\1", printable(text))

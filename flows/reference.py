"""The pages of docs/ that are made from the code: `python -m nhwc.flows.reference docs`, which `make docs` runs."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nhwc.flows.recipe import PublishRecipe, Recipe
from nhwc.flows.recipe_schema import described_keys, recipe_schema, schema_text
from nhwc.flows.source_recipes.folders import FolderRecipe
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.validators.manifest import COLUMNS, MEANINGS
from nhwc.validators.quality import QualityFigures
from nhwc.validators.rules import WARNING
from nhwc.validators.violation import CHAPTERS, Code

Schema = Mapping[str, Any]

SCHEMA_FILE = "recipe.schema.json"

_MADE = "<!-- Made by `make docs` from the code: change it there. -->\n"

_ROOMS = ("validators", "pipelines", "flows")

_EVERY_CODE = {"violation.py", "rules.py"}
"""Files that name codes without finding anything."""


def pages(docs: Path) -> dict[str, str]:
    """Every page that is made from the code, by its file name.

    Args:
        docs: the folder of the pages, in a checkout: its other pages are listed, and the rooms beside it are read.
    """
    schema = recipe_schema()
    made = {
        "recipe.md": recipe_page(schema),
        SCHEMA_FILE: schema_text() + "\n",
        "manifest.md": manifest_page(),
        "codes.md": codes_page(_seen_in(docs.parent)),
    }
    others = {path.name: path.read_text(encoding="utf-8") for path in docs.glob("*.md") if path.name != "index.md"}
    return made | {"index.md": index_page(others | {name: text for name, text in made.items() if name != SCHEMA_FILE})}


def recipe_page(schema: Schema) -> str:
    """The reference of the recipe: a table for each of its parts, and one for each kind of source."""
    example = Recipe(
        dataset="clothing",
        source=FolderRecipe(path="photos/"),
        image=ImageRecipe(rows=224, cols=224),
        publish=PublishRecipe(to="datasets/"),
    )
    return "\n".join([_RECIPE_HEAD, *_part("", schema, schema), _RECIPE_TAIL, f"```yaml\n{example.to_yaml()}```", ""])


_RECIPE_HEAD = f"""# The recipe

{_MADE}
Every key of a recipe, what may stand there, and what is taken where it does not. This is all that one needs:

```yaml
# recipe.yaml
# yaml-language-server: $schema=recipe.schema.json
dataset: clothing
source: {{path: photos/}}
image: {{rows: 224, cols: 224}}
publish: {{to: datasets/}}
```

The second line is for editors: with a YAML language server, as in VS Code's YAML extension, they complete keys,
show what this page says of them, and underline what is wrong. The file comes from nhwc:

```sh
nhwc schema > recipe.schema.json
```

What only the whole recipe shows, keys that contradict one another and paths that are not there, every command tells
before it reads an image, all at once. `nhwc init photos/` writes a recipe that fits a folder of images,
or any other source, and `nhwc explain recipe.yaml` says what it comes to. What each kind of source makes of its files,
and of damage in them, tells [Sources](sources.md).
"""

_RECIPE_TAIL = """## A recipe in full

The one above with every default written out, as each version records it in its own `recipe.yaml`:
"""


def _part(name: str, part: Schema, whole: Schema) -> Iterator[str]:
    """A part's chapter, and those of the parts in it."""
    title = f"{'###' if '.' in name else '##'} {name}" if name else "## The parts"
    yield f"{title}\n\n{part['description']}\n"
    yield "| key | what | where it is not given | meaning |\n| --- | --- | --- | --- |"
    yield from (_row(name, key, found, part.get("required", ())) for key, found in part["properties"].items())
    yield ""
    for key, found in part["properties"].items():
        inner = f"{name}.{key}" if name else key
        if "$ref" in found:
            yield from _part(inner, _at(found, whole), whole)
        if "oneOf" in found:
            yield f"## {inner}\n\n{found['description'].capitalize()}\n"
            for kind in found["oneOf"]:
                keys = _at(kind, whole)
                yield from _part(f"{inner}.kind: {keys['properties']['kind']['const']}", keys, whole)


def _at(found: Schema, whole: Schema) -> Schema:
    """What a $ref leads to."""
    part: Schema = whole["$defs"][found["$ref"].rpartition("/")[2]]
    return part


def _row(name: str, key: str, found: Schema, required: Any) -> str:
    link = "#" + re.sub(r"[^\w -]", "", f"{name}.{key}" if name else key).replace(" ", "-")
    what = f"[its keys]({link})" if "$ref" in found or "oneOf" in found else _what(found)
    default = "**needed**" if key in required else _default(found)
    return f"| `{key}` | {what} | {default} | {_cell(found['description'])} |"


def _what(found: Schema) -> str:
    """What may stand at a key, in words."""
    if "anyOf" in found:
        return _what(found["anyOf"][0])
    if "properties" in found:
        return f"[codes](codes.md), each with {_what(next(iter(found['properties'].values())))}"
    if "const" in found or "enum" in found:
        *most, last = (f"`{one}`" for one in found.get("enum", [found.get("const")]))
        return f"{', '.join(most)} or {last}" if most else last
    if found["type"] == "object":
        return f"names, each with {_what(found['additionalProperties'])}"
    if found["type"] == "array":
        one = found.get("items")
        return (
            f"a list of {_what(one).replace('number', 'numbers')}"
            if one
            else f"[{', '.join(map(_what, found['prefixItems']))}]"
        )
    return _TYPES[found["type"]] + _bounds(found)


_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}


def _bounds(found: Schema) -> str:
    if "exclusiveMinimum" in found:
        return f" above {found['exclusiveMinimum']:g}"
    if "maximum" in found:
        return f" from {found['minimum']:g} to {found['maximum']:g}"
    return f", {found['minimum']:g} or more" if "minimum" in found else ""


def _default(found: Schema) -> str:
    default = found.get("default")
    if isinstance(default, list) and default == found["items"].get("enum"):
        return "all"
    if isinstance(default, bool):
        return f"`{json.dumps(default)}`"
    if isinstance(default, int | float):
        return f"{default:,g}" if abs(default) < 1 or default != int(default) else f"{int(default):,}"
    return f"`{default}`" if default and isinstance(default, str) else "as said there" if "$ref" in found else "none"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def manifest_page() -> str:
    """Every column of a manifest."""
    meanings = {**described_keys(QualityFigures), **MEANINGS}
    rows = (f"| `{name}` | {dtype} | {_cell(meanings[name])} |" for name, dtype in COLUMNS.items())
    return "\n".join([_MANIFEST_HEAD, *rows, ""])


_MANIFEST_HEAD = f"""# The manifest

{_MADE}
Every column of `manifest.parquet`, which has a row for each entry of the source, kept or not.

Rules of your own (`checks.file` in [the recipe](recipe.md#checks), `--rules`) are pandera models over these columns,
without `perceptual_hash`, and see the kept rows. The figures, from `brightness` to `fill_level`, are those of the
decoded pixels, upright, before channels and size are changed; `checks.thresholds` are held against them.
Types are Polars'. What does not apply to a row is null.

| column | type | holds |
| --- | --- | --- |"""


def codes_page(seen_in: Mapping[str, list[str]]) -> str:
    """Every violation code, chapter by chapter.

    Args:
        seen_in: the source files that find a code, by the code's name in `Code`.
    """
    lines = [_CODES_HEAD]
    for code in Code:
        if code in CHAPTERS:
            lines.append(f"\n## {CHAPTERS[code]}\n\n| code | means | to mend | found by |\n| --- | --- | --- | --- |")
        files = ", ".join(f"[{file}](../{file})" for file in seen_in.get(code.name, ()))
        lines.append(f"| `{code}` | {_cell(code.meaning)} | {_cell(code.mend)} | {files} |")
    warning = ", ".join(f"`{code}`" for code in Code if code in WARNING)
    return "\n".join([*lines, "", "## At the gate", "", _CODES_TAIL.format(warning=warning)])


_CODES_HEAD = f"""# Violation codes

{_MADE}
Every reason that nhwc gives, what it means, how to mend it, and which file finds it. `nhwc codes` prints the same.

A code says what was seen; the manifest's `status` says whether the sample was kept with it, skipped or quarantined,
which is often a matter of the recipe (`image.alpha`, `image.extension`, ...)."""

_CODES_TAIL = """Of what the gate finds, these warn: {warning}.

Everything else refuses. `checks.rules` in [the recipe](recipe.md#checks) weighs any code otherwise.
"""


def _seen_in(checkout: Path) -> dict[str, list[str]]:
    """The source files that say `Code.NAME`, by NAME."""
    seen: dict[str, list[str]] = defaultdict(list)
    for file in sorted(path for room in _ROOMS for path in (checkout / room).rglob("*.py")):
        if file.name in _EVERY_CODE:
            continue
        nodes = ast.walk(ast.parse(file.read_bytes()))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_code(node.value)}
        for name in names:
            seen[name].append(file.relative_to(checkout).as_posix())
    return seen


def _is_code(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "Code"


_FOR_WHOM = {
    "You run scheduled ingestion": ("scheduled_ingestion.md", "schedules.md", "operations.md", "storage.md"),
    "You gate a training run on its data": ("gating.md", "codes.md"),
    "You are a data engineer": ("data_engineering.md", "sources.md", "recipe.md", "manifest.md", "exports.md"),
}
"""Whom the first pages are for; every other page comes after them."""


def index_page(others: Mapping[str, str]) -> str:
    """All pages, each with its title and its first sentence.

    Args:
        others: the text of every other page, by its file name.
    """
    named = [name for names in _FOR_WHOM.values() for name in names]
    groups = _FOR_WHOM | {"For all": tuple(sorted(set(others) - set(named)))}
    lines = ["# The pages", "", _MADE]
    for title, names in groups.items():
        lines += [f"## {title}", *(_listed(name, others[name]) for name in names if name in others), ""]
    return "\n".join(lines)


def _listed(name: str, text: str) -> str:
    paragraphs = [part for part in text.replace(_MADE, "").split("\n\n") if part.strip()]
    title, first = paragraphs[0].partition("\n")[0].removeprefix("# "), " ".join(paragraphs[1].split())
    return f"- [{title}]({name}): {re.split(r'(?<=[.:])(?: |$)', first)[0].rstrip(':.')}."


if __name__ == "__main__":
    for page, content in pages(Path(sys.argv[1])).items():
        Path(sys.argv[1], page).write_text(content, encoding="utf-8")

"""The recipe as a JSON Schema, from which editors complete and check; each key with what its docstring says of it."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from nhwc.flows.recipe import Recipe
from nhwc.validators.rules import WARNING
from nhwc.validators.violation import Code

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, as plain values.

    What contradicts one another between keys, and paths that are not there, only `parse_recipe` tells.
    """
    schema = Recipe.model_json_schema(schema_generator=_Described)
    del schema["properties"]["source"]["discriminator"]  # OpenAPI's, not JSON Schema's: each kind's constant does it
    del schema["$defs"]["Code"]
    rules = schema["$defs"]["CheckRecipe"]["properties"]["rules"]
    del rules["propertyNames"]  # editors complete from properties
    level, rules["additionalProperties"] = rules["additionalProperties"], False
    rules["properties"] = {str(code): level | {"description": _weighed(code)} for code in Code}
    return {"$schema": DIALECT, **schema, "title": "nhwc recipe"}


def schema_text() -> str:
    """The same as JSON, as it lies in a file."""
    return json.dumps(recipe_schema(), indent=2)


def _weighed(code: Code) -> str:
    return f"{code.meaning} (warns by default)" if code in WARNING else code.meaning


class _Described(GenerateJsonSchema):
    """Pydantic's own, with descriptions from docstrings, and without titles that only repeat the key."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """A part that is a model."""
        return _described(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        """A part that is a dataclass."""
        return _described(super().dataclass_schema(schema), schema["cls"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def _described(schema: JsonSchemaValue, part: type) -> JsonSchemaValue:
    """A part's schema with the first paragraphs of its docstring, and what its Args say of each key."""
    said = described_keys(part)
    for key, found in schema["properties"].items():
        if key in said:
            found["description"] = said[key]
        if "$ref" in found:
            found.pop("default", None)  # its keys have their own
    return {**schema, "description": inspect.cleandoc(part.__doc__ or "").partition("\n\nArgs:\n")[0]}


_KEYS = re.compile(r"(\w+(?:, \w+)*): (.*)")


def described_keys(part: type) -> dict[str, str]:
    """What the Args of a class's docstring, and of those that it stands on, say of each key."""
    said: dict[str, str] = {}
    for one in reversed(part.__mro__):
        said |= _args(inspect.cleandoc(one.__dict__.get("__doc__") or ""))
    return said


def _args(docstring: str) -> dict[str, str]:
    """The text of each name below `Args:`; names that share one, as in `rows, cols:`, each have it."""
    said: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.partition("Args:\n")[2].splitlines():
        if line and not line.startswith("    "):  # the next section
            break
        if begun := _KEYS.fullmatch(line.removeprefix("    ")):
            names = begun[1].split(", ")
            said |= dict.fromkeys(names, begun[2])
        elif line.strip():
            said |= {name: f"{said[name]} {line.strip()}" for name in names}
    return said

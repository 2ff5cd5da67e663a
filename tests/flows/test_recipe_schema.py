"""The recipe's JSON Schema, by which editors complete: what it takes is what nhwc takes, and every key is described."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from nhwc.flows.init import propose_recipe
from nhwc.flows.recipe import Recipe, parse_recipe
from nhwc.flows.recipe_schema import described_keys, recipe_schema
from nhwc.flows.source_recipes import KINDS
from nhwc.validators.errors import RecipeError
from nhwc.validators.violation import Code

CHECKOUT = Path(__file__).parents[2]
SCHEMA = recipe_schema()


class AsEditors(yaml.SafeLoader):
    """YAML 1.2, as editors read it: only true and false are booleans, so `off` is text."""


AsEditors.yaml_implicit_resolvers = {
    letter: [(tag, found) for tag, found in resolvers if tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
AsEditors.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def found_wrong(recipe: Any) -> list[str]:
    """What an editor underlines."""
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(json.loads(json.dumps(recipe)))]


def plain(**parts: Any) -> dict[str, Any]:
    right = {
        "dataset": "clothing",
        "source": {"kind": "folder", "path": "photos"},
        "image": {"rows": 32, "cols": 48},
        "publish": {"to": "datasets"},
    }
    return right | parts


def image(**keys: Any) -> dict[str, Any]:
    return plain(image={"rows": 32, "cols": 48, **keys})


def test_it_is_a_schema() -> None:
    """Of the dialect that it names."""
    Draft202012Validator.check_schema(SCHEMA)
    assert "https://json-schema.org/draft/2020-12/schema" == SCHEMA["$schema"]


def keys_of(part: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every key that a schema describes, wherever it is."""
    for key, found in part.get("properties", {}).items():
        yield f"{name}.{key}", found
        yield from keys_of(found, f"{name}.{key}")


def test_every_key_is_described() -> None:
    """The page docs/recipe.md and an editor's help are made of these: give a key that has none a line in its Args."""
    parts = {"recipe": SCHEMA} | SCHEMA["$defs"]
    assert [] == [f"{name}: no docstring" for name, part in parts.items() if not part.get("description")]
    found = [one for name, part in parts.items() for one in keys_of(part, name)]
    assert len(found) > 80
    assert [] == [key for key, one in found if len(one.get("description", "")) < 8]


def test_no_part_takes_unknown_keys() -> None:
    """So that an editor underlines what the recipe would refuse."""
    parts = {"recipe": SCHEMA} | SCHEMA["$defs"]
    assert [] == [name for name, part in parts.items() if part["additionalProperties"] is not False]


def test_args_are_those_that_there_are() -> None:
    """No docstring describes a key that is gone."""
    for kind in [*KINDS.values(), Recipe]:
        keys = {info.alias or name for name, info in kind.model_fields.items()}
        assert set() == set(described_keys(kind)) - keys, kind


RECIPES: dict[str, Any] = {
    f"{path.relative_to(CHECKOUT)}: {number}": plain() | found
    for path in [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
    for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", path.read_text("utf-8"), re.S | re.M))
    if isinstance(found := yaml.load(text, AsEditors), dict) and set(found) & set(SCHEMA["properties"])
}
"""The recipes that the pages show, and parts of one in an otherwise right one."""


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_in_the_pages_is_right(name: str) -> None:
    """As an editor judges it."""
    assert [] == found_wrong(RECIPES[name])


def test_there_are_recipes_in_the_pages() -> None:
    """The README's, and the two of docs/recipe.md."""
    assert {"README.md: 0", "docs/recipe.md: 0", "docs/recipe.md: 1"} <= set(RECIPES)


def test_what_init_writes_is_right(photos: Path, write_image: Callable[..., Path], tmp_path: Path) -> None:
    """With classes and, beside a label file to be written, without."""
    write_image("../flat/a.png")
    for source in (photos, tmp_path / "flat"):
        text = propose_recipe(source, recipe=tmp_path / "r.yaml", contract=tmp_path / "c.yaml").recipe
        assert [] == found_wrong(yaml.load(text, AsEditors)), text


def test_what_a_version_records_is_right(recipe_for: Callable[..., Recipe], photos: Path) -> None:
    """All keys written out, none for those that are not given."""
    assert photos.is_dir()
    assert [] == found_wrong(yaml.safe_load(recipe_for().to_yaml()))


@pytest.mark.parametrize(
    "recipe",
    [
        plain(),
        plain(source={"path": "photos"}),
        plain(source={"path": "s3://bucket/photos"}),
        plain(source={"kind": "idx", "path": "mnist", "labels": None}),
        plain(source={"kind": "arrays", "path": "a.npz", "images": "x_train", "layout": "channels_first"}),
        image(float_range=[0, 1.5], formats=["jpeg"], resize={"method": "area"}),
        plain(labels={"from": "file", "file": "labels.csv"}, splits={"from": "file"}),
        plain(checks={"rules": dict.fromkeys(map(str, Code), "off"), "thresholds": {"dark": 0.3}}),
    ],
)
def test_right_ones_are_right(recipe: dict[str, Any]) -> None:
    """A source without a kind is a folder."""
    assert [] == found_wrong(recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        {"dataset": "a"},
        plain(check={}),
        plain(dataset="a/b"),
        plain(dataset="a" * 101),
        plain(dataset=2024),
        plain(source={}),
        plain(source={"kind": "ftp", "path": "photos"}),
        plain(source={"path": "photos", "labels": "fine"}),
        plain(source={"kind": "cifar", "path": "photos", "labels": "finest"}),
        plain(source={"path": "~/photos"}),
        plain(image={"rows": 32}),
        image(chanels=3),
        image(channels=2),
        image(rows=0),
        image(rows="32"),
        image(dtype="int8"),
        image(resize="area"),
        image(resize={"metod": "area"}),
        image(formats=[]),
        image(formats=["tga"]),
        image(float_range=[0]),
        plain(labels=None),
        plain(labels={"from_": "folder"}),
        plain(labels={"classes": [False]}),
        plain(splits={"train": 1.5}),
        plain(splits={"dev": 0.1}),
        plain(checks={"rules": {"same_byte": "off"}}),
        plain(checks={"rules": {"same_bytes": "of"}}),
        plain(checks={"balance": {"held_out": 0}}),
        plain(publish={}),
    ],
)
def test_wrong_ones_are_wrong(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Both for an editor and for nhwc."""
    (tmp_path / "photos").mkdir()
    assert found_wrong(recipe)
    with pytest.raises(RecipeError):
        parse_recipe(recipe, base=tmp_path)


def test_the_command_prints_it(nhwc_command: Callable[..., tuple[int, str, str]]) -> None:
    """As it lies in docs/recipe.schema.json."""
    status, out, err = nhwc_command("schema")
    assert (0, "") == (status, err)
    assert SCHEMA == json.loads(out)

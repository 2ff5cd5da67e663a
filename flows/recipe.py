"""The recipe: what the user asks for, read from YAML, every wrong key told at once."""

from __future__ import annotations

import difflib
import json
from dataclasses import fields, is_dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_type_hints

import polars as pl
import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

from nhwc.flows.places import place_beside, place_problems
from nhwc.flows.printable import printable
from nhwc.flows.recipe_part import Part, PathText
from nhwc.flows.recipe_yaml import read_yaml, unfit
from nhwc.flows.source_recipes import KINDS, Kind, SourceRecipe, kind_of
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.mirror import mirror_of
from nhwc.pipelines.remote import Remote, is_url
from nhwc.validators.balance import BalanceThresholds
from nhwc.validators.budget import check_budget
from nhwc.validators.errors import RecipeError
from nhwc.validators.quality_rules import QualityThresholds
from nhwc.validators.rules import Level, judge
from nhwc.validators.splits import SPLITS
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code

if TYPE_CHECKING:
    from nhwc.pipelines.version import Version

Fraction = Annotated[float, Field(ge=0, le=1)]

Weight = Annotated[Level, BeforeValidator(lambda found: "off" if found is False else found)]
"""YAML 1.1 takes `off` without quotes for false."""


class LabelRecipe(Part):
    """Where labels come from, and, if given, the only class names in the order of their ids.

    A source that has labels of its own gives them (`from: source`) unless the recipe names a file.

    Args:
        from: `folder`, the class folders; `file`, a table; or `source`, the source's own.
        file: with `from: file`: a CSV or Parquet file with columns path (relative to source.path), label, and perhaps
            split.
        depth: with `from: folder`: how many folders make a class; 2 makes animals/cat of animals/cat/1.jpg.
        classes: only these, in the order of their ids; else those found, sorted. Where a source's labels are numbers,
            these are their names, in their order.
    """

    from_: Literal["folder", "file", "source"] = Field("folder", alias="from")
    file: PathText | None = None
    depth: Annotated[int, Field(ge=1)] = 1
    classes: tuple[str, ...] = ()

    def contradictions(self) -> list[tuple[str, str]]:
        """(key, what is wrong) for keys that contradict one another."""
        problems = []
        if self.from_ == "file" and self.file is None:
            problems.append(
                ("file", "missing, but from: file needs it: a CSV or Parquet file with columns path and label")
            )
        if self.from_ != "file" and self.file is not None:
            problems.append(
                (
                    "file",
                    f"found {self.file!r}, but from: {self.from_} does not read it: set from: file, or leave it out",
                )
            )
        if self.from_ != "folder" and self.depth != 1:
            problems.append(("depth", f"found {self.depth}, but from: {self.from_} has no folders: leave it out"))
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            problems.append(("classes", f"found {', '.join(twice)} more than once, expected each class once"))
        return problems


class SplitRecipe(Part):
    """Shares made by hash, or splits given by folders, by the label file or by a source that has its own.

    Args:
        from: `hash`, shares of each class, made so that no image moves when others come, and no copies are parted, but
            where a new image is a copy of some in two splits, which the gate tells;
            `folder`, folders named train, validation and test above the classes; `file`, the label file's column split;
            or `source`, the source's own.
        train, validation, test: the split's share; all add up to 1.
        seed: another one deals the images otherwise.
    """

    from_: Literal["hash", "folder", "file", "source"] = Field("hash", alias="from")
    train: Fraction = 1
    validation: Fraction = 0
    test: Fraction = 0
    seed: int = 0

    @property
    def fractions(self) -> dict[str, float]:
        """The share of each split that is to have any."""
        shares = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: share for name, share in shares.items() if share}

    def contradictions(self) -> list[tuple[str, str]]:
        """(key, what is wrong) for keys that contradict one another."""
        if self.from_ != "hash" and (self.fractions != {"train": 1} or self.seed):
            return [
                (
                    "from",
                    f"found {self.from_} beside shares or a seed, which only splits made by hash have: leave one out",
                )
            ]
        total = sum(self.fractions.values())
        if abs(total - 1) > 1e-9:
            told = {name: getattr(self, name) for name in SPLITS if name in self.model_fields_set}
            shown = ", ".join(f"{name}: {share:g}" for name, share in (self.fractions | told).items())
            return [("", f"found {shown}, which add up to {total:g}, expected 1")]
        return []


class CheckRecipe(Part):
    """How much may be quarantined before nothing is published, and what the gate looks for and how it weighs it.

    Args:
        bad_fraction: of the images, the share that may be quarantined; above it nothing is published.
        bad_fraction_per_class: the same within each class.
        rules: what a finding weighs, by its code: `refuse`, `warn` or `off`. Else most refuse, some warn.
        thresholds: where a figure of an image becomes a finding.
        balance: where the number of a class's images becomes a finding.
        contract: a frozen contract.yaml that images and classes must keep, as `nhwc init` writes it.
        file: a Python file of your own pandera rules over the manifest. It is run.
    """

    bad_fraction: Fraction = 0.02
    bad_fraction_per_class: Fraction = 0.1
    rules: dict[Code, Weight] = Field(default={})
    thresholds: QualityThresholds = QualityThresholds()
    balance: BalanceThresholds = BalanceThresholds()
    contract: PathText | None = None
    file: PathText | None = None

    def budget(self, manifest: pl.DataFrame, before: pl.DataFrame | None = None) -> Verdict:
        """Whether no more of a manifest is quarantined than may be, as `rules` weigh it; nothing kept refuses.

        What only the version before has, since a file of the source is damaged, counts too.
        """
        found = check_budget(
            manifest,
            bad_fraction=self.bad_fraction,
            bad_fraction_per_class=self.bad_fraction_per_class,
            before=before,
        )
        always: dict[Code, Level] = {Code.NOTHING_KEPT: "refuse"}
        return judge(found.violations, {**self.rules, **always}, found.figures)


class PublishRecipe(Part):
    """Where versions go: `<to>/<dataset>/<version>`.

    Args:
        to: a folder, relative to the recipe, that does not lie in the source; or a URL on an object store.
    """

    to: PathText


class Recipe(Part):
    """Everything that an ingest needs to know. Paths are relative to the folder of the recipe's file.

    Args:
        dataset: its name, and that of its folder.
        source: where the images are; its keys are those of its kind.
        image: what is asked of every image.
        labels: where labels come from.
        splits: how images come to be in train, validation and test. Without it everything is in train, or where the
            source says.
        checks: how much may be bad, what the gate looks for, and how it weighs it.
        publish: where versions go.
        base: that folder.
    """

    dataset: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=100)]
    source: SourceRecipe
    image: ImageRecipe
    labels: LabelRecipe = LabelRecipe()
    splits: SplitRecipe = SplitRecipe()
    checks: CheckRecipe = CheckRecipe()
    publish: PublishRecipe
    base: SkipJsonSchema[Path] = Field(default=Path(), exclude=True)

    @property
    def source_path(self) -> str | Path:
        """Where the source is: a path, or the URL as text."""
        return self.source.place if is_url(self.source.place) else self.base / self.source.place

    @property
    def label_file(self) -> Path | None:
        """The CSV or Parquet file of labels, where labels come from one."""
        return None if self.labels.file is None else self.base / self.labels.file

    @property
    def frozen_contract(self) -> Path | None:
        """The contract.yaml that the dataset must keep, where the recipe names one."""
        return None if self.checks.contract is None else self.base / self.checks.contract

    @property
    def own_rules(self) -> Path | None:
        """The Python file of the user's own rules, where the recipe names one."""
        return None if self.checks.file is None else self.base / self.checks.file

    @property
    def dataset_path(self) -> Path:
        """The folder of the published dataset; of one on a store, that of its mirror."""
        return self.base / self.publish.to / self.dataset if self.remote is None else mirror_of(self.remote.url)

    @property
    def remote(self) -> Remote | None:
        """Where the dataset is published, if that is a store."""
        return Remote.at(self.named_dataset) if is_url(self.publish.to) else None

    @property
    def named_dataset(self) -> str:
        """The published dataset as the recipe names it: a path relative to it, or a URL."""
        to = self.publish.to
        return f"{to.rstrip('/')}/{self.dataset}" if is_url(to) else str(Path(to, self.dataset))

    def to_yaml(self) -> str:
        """The whole recipe, defaults written out, paths as the user wrote them."""
        return yaml.safe_dump(self.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)


def recorded_checks(version: Version) -> CheckRecipe:
    """The checks of the recipe that a version recorded. Raises DataError where that is damaged."""
    return version.recorded("checks", lambda checks: CheckRecipe.model_validate_json(json.dumps(checks)))


def recorded_source(version: Version) -> Path | None:
    """Where the source lies that a version was made from, if that can be told. Raises DataError where it is damaged."""
    kind: Kind = version.recorded("source", lambda plain: KINDS[plain["kind"]].model_validate_json(json.dumps(plain)))
    to, name = version.recorded("publish", lambda publish: str(publish["to"])), version.recorded("dataset", str)
    named = to if is_url(to) else str(Path(to, name))
    return place_beside(version.dataset.resolve(), kind.place, named=named)


def read_recipe(source: str | Path | Recipe) -> Recipe:
    """The recipe in a YAML file. Raises RecipeError with every wrong key, its value and what is allowed."""
    if isinstance(source, Recipe):
        return source
    path = Path(source)
    plain = read_yaml(path)
    if not isinstance(plain, dict):
        raise RecipeError(str(path), (f"found {type(plain).__name__}, expected keys: {_names(Recipe)}",))
    return parse_recipe(plain, where=str(path), base=path.parent)


def parse_recipe(plain: dict[str, Any], *, where: str = "recipe", base: Path = Path()) -> Recipe:
    """The recipe that plain values describe; `where` names it in errors, `base` is what paths are relative to."""
    problems = [_unknown(str(key), "", Recipe) for key in plain if key not in _keys(Recipe)]
    parts: dict[str, Any] = {}
    for name, info in Recipe.model_fields.items():
        if name == "base":
            continue
        if name in plain:
            problems += _read_part(name, plain[name], info, parts)
        elif info.is_required():
            problems.append(f"{name}: missing, expected {_wanted(info.annotation)}")
    parts = _as_the_source_has(parts)
    problems += _between_parts(parts, base)
    if problems:
        raise RecipeError(where, tuple(problems))
    return Recipe(**parts, base=base)


def _read_part(name: str, value: Any, info: FieldInfo, parts: dict[str, Any]) -> list[str]:
    """What is wrong with one part; where it can be read at all, it is put among the parts."""
    if wrong := unfit(value, name):
        return wrong
    annotated: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    if name == "source":
        if (kind := kind_of(value)) is None:
            return [f"source.kind: found {value['kind']!r}, expected one of {', '.join(KINDS)}"]
        annotated, value = kind, ({"kind": "folder"} | value if isinstance(value, dict) else value)
    try:
        parts[name] = TypeAdapter(annotated).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return [_told(detail, name, annotated) for detail in error.errors()]
    if not hasattr(parts[name], "contradictions"):
        return []
    return [f"{name}.{key}: {text}".replace(".:", ":") for key, text in parts[name].contradictions()]


def _as_the_source_has(parts: dict[str, Any]) -> dict[str, Any]:
    """The parts, with labels and splits from a source that has its own where the recipe does not say otherwise."""
    if "source" not in parts or not parts["source"].own_labels:
        return parts
    own = {"labels": LabelRecipe(), "splits": SplitRecipe()} | parts
    if "from_" not in own["labels"].model_fields_set:
        own["labels"] = own["labels"].model_copy(update={"from_": "source"})
    if not own["splits"].model_fields_set:
        own["splits"] = own["splits"].model_copy(update={"from_": "source"})
    return own


def _between_parts(parts: dict[str, Any], base: Path) -> list[str]:
    """What is wrong between parts, and paths that are not there."""
    labels, splits = parts.get("labels", LabelRecipe()), parts.get("splits", SplitRecipe())
    try:
        problems = place_problems(parts, base)
    except (OSError, RuntimeError) as error:  # pathlib calls a loop of links a RuntimeError before Python 3.13
        problems = [f"a path of source, labels or publish cannot be looked at: {error}"]
    if splits.from_ == "file" and labels.from_ != "file":
        theirs = {"folder": "folders", "source": "the source"}[labels.from_]
        problems.append(
            f"splits.from: found file, but labels come from {theirs}: set labels: {{from: file, file: ...}}"
        )
    if labels.from_ == "source" and labels.depth != 1:
        problems.append(f"labels.depth: found {labels.depth}, but the source has no folders: leave it out")
    if "source" in parts:
        without = "source" if not parts["source"].own_labels else "folder"
        problems += [
            f"{name}.from: found {without}, which a source of kind {parts['source'].kind} does not have: leave it out"
            for name, part in (("labels", labels), ("splits", splits))
            if part.from_ == without and name in parts
        ]
    return problems


_EXPECTED = {
    "string_pattern_mismatch": "letters, digits, '.', '_' or '-', the first a letter, digit or '_'",
    "string_too_long": "at most 100 letters",
    "string_type": "text: put it in quotes",
    "int_type": "a whole number without quotes",
}


def _told(detail: Any, part: str, annotation: Any) -> str:
    """One of pydantic's findings as `key: found ..., expected ...`."""
    inner = [str(step) for step in detail["loc"]]
    key = ".".join([part, *inner])
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return _unknown(inner[-1], key.removesuffix(inner[-1]), reduce(_type_of, inner[:-1], annotation))
    if detail["type"] in ("missing", "missing_argument"):
        return f"{key}: missing"
    if detail["type"] in ("model_type", "dataclass_type"):
        return f"{key}: found {detail['input']!r}, expected {_wanted(reduce(_type_of, inner, annotation))}"
    expected = _EXPECTED.get(detail["type"]) or detail["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{key}: found {detail['input']!r}, expected {expected}"


def _unknown(key: str, prefix: str, owner: Any) -> str:
    allowed = _keys(owner)
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{prefix}{printable(key)}: unknown key, {hint}expected one of {', '.join(allowed)}"


def _keys(owner: Any) -> list[str]:
    if is_dataclass(owner):
        return [field.name for field in fields(owner)]
    return [info.alias or name for name, info in owner.model_fields.items() if not info.exclude]


def _type_of(owner: Any, key: str) -> Any:
    """The type of one key of a part."""
    return get_type_hints(owner)[key]


def _names(owner: Any) -> str:
    return ", ".join(_keys(owner))


def _wanted(annotation: Any) -> str:
    if annotation is str:
        return "a name"
    return "keys kind, path" if get_args(annotation) else "keys " + _names(annotation)

"""A published version, as readers see it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import polars.selectors as cs
import yaml
from pydantic import TypeAdapter

from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.mirror import NUMBER, fetch_shard, mirror_of, open_remote, stored_shards
from nhwc.pipelines.remote import Found, Remote, is_url, url_problem
from nhwc.pipelines.store import Shard, open_shard
from nhwc.validators.argument import wrong_place
from nhwc.validators.contract import TensorContract
from nhwc.validators.errors import DataError, MachineError, RecipeError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Part = TypeVar("Part")

FORMAT = 1
"""The layout of a version on disk; written into its contract.yaml."""

_IMAGE = TypeAdapter(ImageRecipe)

_LATEST = re.compile(rf"({NUMBER.pattern})(?:\n([0-9a-f]{{64}})\n|\n?)")


def numbers_in(dataset: Path) -> list[str]:
    """The numbers of the versions in a dataset's folder, the oldest first."""
    return sorted_numbers(path.name for path in dataset.iterdir() if path.is_dir())


def sorted_numbers(names: Iterable[str]) -> list[str]:
    """Those of the names that are numbers of versions, the oldest first."""
    return sorted(filter(NUMBER.fullmatch, names), key=lambda name: tuple(map(int, name.split("."))))


@dataclass(frozen=True, kw_only=True)
class Latest:
    """What `latest` says, of which no single bit can change unseen.

    Args:
        number: of the latest version.
        checksums: the SHA-256 of that version's `checksums`; None where the file has one line, as one written by hand.
    """

    number: str
    checksums: str | None = None

    @classmethod
    def read(cls, dataset: Path) -> Latest:
        """What the file in a dataset's folder says. Raises OSError, and ValueError where it is no such file."""
        text = (dataset / "latest").read_bytes().decode("ascii")
        if not (said := _LATEST.fullmatch(text)):
            raise ValueError(repr(text[:200]))
        return cls(number=said[1], checksums=said[2])

    def __str__(self) -> str:
        return f"{self.number}\n{self.checksums}\n" if self.checksums else f"{self.number}\n"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One published version of a dataset. It never changes, so everything read from it is kept.

    Args:
        dataset: the dataset's folder, where `shards/` and `latest` lie.
        number: major.minor.patch.
        remote: where it is published, if that is a store; `dataset` is then its mirror, into which shards are brought
            when they are first needed.
    """

    dataset: Path
    number: str
    remote: Remote | None = None

    @classmethod
    def open(cls, path: str | Path) -> Version:
        """The version at a path or URL: a dataset's folder (its latest) or the folder of one version.

        Raises RecipeError where nothing is published there, or where another layout was; at a URL DataError where its
        own files are damaged, and MachineError where the network fails.
        """
        version = cls.at(path)
        version.check_layout()
        return version

    def check_layout(self) -> None:
        """Raises RecipeError where it lies there in another layout than this nhwc's."""
        if (found := self._contract_file["format"]) != FORMAT:
            problem = f"found layout {found}, expected {FORMAT}: read it with the nhwc that wrote it"
            raise RecipeError(str(self.folder), (problem,))

    @classmethod
    def at(cls, path: str | Path) -> Version:
        """The same, without a look into its files. Raises RecipeError where nothing is published there."""
        if wrong := wrong_place(path):
            raise RecipeError("dataset", (wrong,))
        if is_url(path):
            return cls._at_url(str(path))
        path = Path(path)
        try:
            whole = path.resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: before Python 3.13
            raise RecipeError(str(path), ("found a link that leads back to itself, expected a dataset",)) from error
        if NUMBER.fullmatch(whole.name) and (whole.parent / "latest").is_file():
            version = cls(dataset=whole.parent, number=whole.name)
        elif (path / "latest").is_file():
            version = cls(dataset=path, number=_latest_number(path))
        else:
            there = [f"{path}/{number}" for number in numbers_in(path)] if path.is_dir() else []
            found = "a folder that is no dataset" if path.is_dir() else "no such folder"
            problem = f"found {found}, expected a published dataset: make one with `nhwc ingest RECIPE`"
            if there:
                problem = f"found no `latest`, but {', '.join(there)}: `nhwc ingest` mends it, or name one of these"
            raise RecipeError(str(path), (problem,))
        if not version.folder.is_dir():
            others = ", ".join(numbers_in(version.dataset))
            raise RecipeError(str(path), (f"found no version {version.number!r}, expected one of {others}",))
        return version

    @classmethod
    def _at_url(cls, url: str) -> Version:
        if problem := url_problem(url):
            raise RecipeError("dataset" if "@" in url else url, (problem,))  # no password is repeated
        remote, number = open_remote(url)
        return cls(dataset=mirror_of(remote.url), number=number, remote=remote)

    @property
    def name(self) -> str:
        """What its dataset is called: the folder, or where it is published."""
        return str(self.dataset if self.remote is None else self.remote)

    @property
    def folder(self) -> Path:
        """Where the version's own files lie."""
        return self.dataset / self.number

    @property
    def major_minor_patch(self) -> tuple[int, int, int]:
        """The number's three parts."""
        major, minor, patch = self.number.split(".")
        return int(major), int(minor), int(patch)

    def shard_path(self, name: str) -> Path:
        """Where the shard of that name lies; of a version on a store, where it will once it was needed."""
        return self.dataset / "shards" / f"{name}.arrow"

    def bring_shard(self, name: str) -> Path:
        """The same, brought there if it is on a store.

        Raises FileNotFoundError, DataError or MachineError where that fails.
        """
        return self.shard_path(name) if self.remote is None else fetch_shard(self.remote, self.number, name)

    def has_shard(self, name: str) -> bool:
        """Whether the shard of that name is there, brought here or not. Raises MachineError where the network fails."""
        return self.shard_path(name).is_file() or f"{name}.arrow" in self.on_store

    def publishes_shard(self, name: str) -> bool:
        """Whether the shard of that name is where readers find it: on the store, if that is where it is published.

        Raises MachineError where the network fails.
        """
        return self.shard_path(name).is_file() if self.remote is None else f"{name}.arrow" in self.on_store

    @cached_property
    def on_store(self) -> Mapping[str, Found]:
        """What the store had of its dataset's shards when this was first asked for, by `<name>.arrow`."""
        return {} if self.remote is None else stored_shards(self.remote)

    @cached_property
    def manifest(self) -> pl.DataFrame:
        """A row a discovered entry, sorted by path; columns as in `nhwc.validators.manifest`."""
        return self._read("manifest.parquet", pl.read_parquet)

    @cached_property
    def facts(self) -> pl.DataFrame:
        """The manifest without perceptual_hash: a third of a kilobyte a row that only a search for copies needs."""
        if "manifest" in vars(self):
            return self.manifest.drop("perceptual_hash", strict=False)
        return self._read("manifest.parquet", lambda path: _scanned(path, cs.exclude("perceptual_hash")))

    def columns(self, *names: str) -> pl.DataFrame:
        """These columns of the manifest, of those that it has: no other is read."""
        return self._read("manifest.parquet", lambda path: _scanned(path, cs.by_name(*names, require_all=False)))

    def kept_columns(self, *names: str) -> pl.DataFrame:
        """These columns of the samples that were kept, and no other row or column of the manifest is read."""
        kept = pl.col("status") == "kept"
        return self._read("manifest.parquet", lambda path: pl.scan_parquet(path).filter(kept).select(names).collect())

    @cached_property
    def kept(self) -> pl.DataFrame:
        """The rows of `facts` of the samples that were kept."""
        return self.facts.filter(pl.col("status") == "kept")

    @property
    def contract(self) -> TensorContract:
        """What every stored image is: axes rows, cols, channels, fully determined."""
        return TensorContract.from_dict(self._contract_file["image"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; a label's id is its place here."""
        return tuple(self._contract_file["classes"])

    @property
    def fingerprint(self) -> str:
        """The image recipe's fingerprint that its shards were made with."""
        return str(self._contract_file["fingerprint"])

    @cached_property
    def content(self) -> str:
        """64 hex digits of what it holds, whatever it was made from: equal where kept pixels, labels and splits are.

        SHA-256 of the lines `pixel_hash label split`, sorted. Names and ids of samples are not in it.
        """
        said = self.kept.select(pl.concat_str("pixel_hash", "label", "split", separator=" ", ignore_nulls=True).sort())
        return hashlib.sha256("\n".join(said.to_series()).encode()).hexdigest()

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Counts, findings about classes, and per-channel mean and standard deviation."""
        plain: dict[str, Any] = self._read("statistics.json", lambda path: json.loads(_text(path)))
        return plain

    @property
    def findings(self) -> tuple[Violation, ...]:
        """What ingest found of the classes, the frozen contract and the user's own rules."""
        return tuple(
            Violation(**finding | {"code": Code(finding["code"])})  # type: ignore[call-arg]  # by value
            for finding in self.statistics["findings"]
        )

    @cached_property
    def recipe_text(self) -> str:
        """The recipe that it was made with, as YAML."""
        return self._read("recipe.yaml", _text)

    def recorded(self, key: str, understood: Callable[[Any], Part]) -> Part:
        """What the recipe that it was made with says under a key of its own, as far as it is understood."""
        return self._read("recipe.yaml", lambda path: understood(yaml.safe_load(_text(path))[key]))

    @property
    def recipe_keys(self) -> dict[str, Any]:
        """The whole of that recipe as plain values."""
        return self._read("recipe.yaml", lambda path: dict(yaml.safe_load(_text(path))))

    @cached_property
    def image_recipe(self) -> ImageRecipe:
        """What was asked of every image, as the version recorded it."""
        return self.recorded("image", _IMAGE.validate_python)

    def open_shard(self, name: str) -> Shard:
        """The shard of that name. Raises OSError or pyarrow.ArrowInvalid where it is missing or no shard."""
        return open_shard(self.bring_shard(name), self.decoding)

    @property
    def decoding(self) -> ImageRecipe | None:
        """By what its shards are decoded, where they hold files; None where they hold pixels."""
        return self.image_recipe if self._contract_file["storage"] == "encoded" else None

    @cached_property
    def contract_text(self) -> str:
        """`contract.yaml` as it stands."""
        return self._read("contract.yaml", _text)

    @cached_property
    def _contract_file(self) -> dict[str, Any]:
        plain: dict[str, Any] = self._read("contract.yaml", _contract)
        return plain

    def _read(self, name: str, read: Callable[[Path], Part]) -> Part:
        """One of the version's files.

        Raises DataError, the file named, where it is missing or damaged, MachineError where it cannot be read.
        """
        path = self.folder / name
        try:
            return read(path)
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, pl.exceptions.PolarsError) as error:
            MachineError.see(error, path)
            damage = Violation(
                code=Code.CHECKSUM,
                stage="load",
                aspect=str(path),
                expected="the file as it was published",
                found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'nothing'}",
                hint="ingest again, or restore it from a copy; `nhwc verify` tells what else is damaged",
            )
            raise DataError(Verdict(violations=(damage,))) from error


def _latest_number(dataset: Path) -> str:
    try:
        return Latest.read(dataset).number
    except ValueError as error:
        damage = Violation(
            code=Code.CHECKSUM,
            stage="load",
            aspect=str(dataset / "latest"),
            expected="a version's number and the SHA-256 of its checksums",
            found=str(error),
            hint="`nhwc ingest` mends it, or name the folder of one version",
        )
        raise DataError(Verdict(violations=(damage,))) from None


def _scanned(path: Path, columns: pl.Expr) -> pl.DataFrame:
    return pl.scan_parquet(path).select(columns).collect()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _contract(path: Path) -> dict[str, Any]:
    """What contract.yaml says. Raises KeyError or TypeError where it lacks a part."""
    plain: dict[str, Any] = yaml.safe_load(_text(path))
    TensorContract.from_dict(plain["image"])
    kept = {name: plain[name] for name in ("format", "image", "classes", "fingerprint")}
    return kept | {"storage": plain.get("storage", "pixels")}

"""Export: a published version in the form that another reader wants, as whole and as checked as the version itself.

samples, each held against its hash -> parts, each finished or not there -> checksums -> one rename
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from nhwc.flows.export.folder import Folder
from nhwc.flows.export.form import Content, Form, Part
from nhwc.flows.export.npz import Npz
from nhwc.flows.export.parquet import Parquet
from nhwc.flows.export.place import is_whole, workplace
from nhwc.flows.export.samples import encoded_samples
from nhwc.flows.export.webdataset import WebDataset
from nhwc.flows.places import writes_into
from nhwc.flows.recipe import recorded_source
from nhwc.flows.steps import Progress, no_progress
from nhwc.flows.verify import verify
from nhwc.pipelines.checksums import CHECKSUMS, sha256_of
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.version import Version
from nhwc.validators.argument import PATH, wrong_place
from nhwc.validators.errors import MachineError, RecipeError
from nhwc.validators.splits import SPLITS

FORMS = ("tfds", "tfrecord", "webdataset", "parquet", "npz", "folder")

FILE_FORMATS = ("tfrecord", "array_record")
"""Of tfds. It reads the first `as_dataset` (tf.data, in a stream), the second `as_data_source` (any record)."""

PART_BYTES = 64 * 2**20
"""What the pixels of a part take: small enough to be in memory whole, large enough to be read at disk speed."""

PART_SAMPLES = 8192
"""At most so many samples a part."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of an export; as the arguments of `export`."""

    to: str
    out: Path | str
    file_format: str | None = None

    def problems(self) -> list[str]:
        """One line for each wrong argument."""
        problems = []
        if self.to not in FORMS:
            problems.append(f"to: found {self.to!r}, expected one of {', '.join(FORMS)}")
        if wrong := wrong_place(self.out, expected=PATH):
            problems.append(f"out: {wrong}")
        elif is_url(self.out):
            problems.append(f"out: found {self.out}, expected a folder on this machine: export there, then copy it")
        elif self.folder.name in ("", ".."):
            problems.append(f"out: found {str(self.out)!r}, expected a folder that is not there yet")
        if self.file_format not in (None, *FILE_FORMATS):
            problems.append(f"file_format: found {self.file_format!r}, expected one of {', '.join(FILE_FORMATS)}")
        elif self.file_format is not None and self.to != "tfds":
            problems.append(f"file_format: found {self.file_format!r} beside {self.to}, expected it of tfds only")
        return problems

    @property
    def folder(self) -> Path:
        """Where it goes."""
        return Path(self.out)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An export that is there, whole.

    Args:
        version: what was exported.
        out: where it is.
        form: which of FORMS it has.
        is_new: False where it was there already, whole.
        splits: how many samples each split has.
        bytes: what all files take.
        reading: two lines of Python that read its first split back.
    """

    version: Version
    out: Path
    form: str
    is_new: bool
    splits: dict[str, int]
    bytes: int
    reading: str


def export(dataset: str | Path, *, to: str, out: str | Path, file_format: str | None = None) -> Exported:
    """Write a published version for another reader: its pixels, labels, class names and splits, without loss.

    Args:
        dataset: the folder or URL (s3://...) of a dataset (its latest version), or of one version.
        to: tfds, tfrecord, webdataset, parquet, npz or folder: see `docs/exports.md`.
        out: a folder that is not there yet, in neither the dataset nor its source; it appears when it is whole. Where
            an export was killed, the next one to the same folder goes on with what is finished. Where the same version
            was exported so already, nothing is done.
        file_format: of tfds: `tfrecord` (where None is given), which TFDS reads `as_dataset`, or `array_record`, which
            it reads `as_data_source`.

    The samples of each split come in the order of `nhwc.load` without shuffle. In the folder are `checksums`, as
    `sha256sum -c` reads it, and `export.json`, which says what was exported. The same version makes the same bytes.

    Raises RecipeError for wrong arguments, all at once, where no version is there, where `out` holds something else, or
    where the form cannot hold the class names; DataError where the version is damaged (nothing is at `out` then), and
    MachineError where disk or network fails.
    """
    return run_export(dataset, Asked(to=to, out=out, file_format=file_format))


def run_export(dataset: str | Path, asked: Asked, *, progress: Progress = no_progress) -> Exported:
    """The same, telling of its progress."""
    version: Version | None = None
    problems = asked.problems()
    try:
        version = Version.open(dataset)
    except RecipeError as error:
        problems = [*error.lines, *problems]
    if version is not None and wrong_place(asked.out) is None:
        problems += _out_of_place(version, asked)
    if version is None or problems:
        raise RecipeError("nhwc.export", tuple(problems))
    # a damaged manifest would give wrong labels; the pixels are looked at one by one later
    verify(f"{version.remote}/{version.number}" if version.remote else version.folder, sample=1).require()
    form = form_of(asked, _content(version))
    if problems := form.problems():
        raise RecipeError(f"nhwc.export to {asked.to}", tuple(problems))
    try:
        return _exported(version, form, asked, progress)
    except OSError as error:
        raise MachineError.of(error, asked.out) from error


def _out_of_place(version: Version, asked: Asked) -> list[str]:
    """That an export would lie in the dataset, or among the images that it is made of."""
    if asked.folder.resolve().is_relative_to(version.dataset.resolve()):
        return [f"out: found {asked.out}, which lies in the dataset: name a place outside of it"]
    source, out = recorded_source(version), asked.folder.absolute()
    if source is None or not writes_into(source, to=out.parent, dataset=out.name):
        return []
    found = f"out: found {asked.out}, but it and the dataset's source {source} lie in one another"
    return [f"{found}: nothing is ever written into the source"]


def _content(version: Version) -> Content:
    counts = dict(version.kept["split"].value_counts().iter_rows())
    return Content(
        dataset=(str(version.remote) if version.remote else str(version.dataset.resolve())).rstrip("/").split("/")[-1],
        number=version.number,
        contract=version.contract,
        classes=version.classes,
        splits={name: counts[name] for name in SPLITS if name in counts},
    )


def form_of(asked: Asked, content: Content) -> Form:
    """The form that is asked for. Raises RecipeError where there is none."""
    match asked.to:
        case "tfds":
            from nhwc.flows.export.tfds import Tfds  # noqa: PLC0415  with TensorFlow, which most others do without

            return Tfds(content, asked.file_format or FILE_FORMATS[0])
        case "tfrecord":
            from nhwc.flows.export.tfrecord import TFRecord  # noqa: PLC0415  with TensorFlow

            return TFRecord(content)
        case "webdataset":
            return WebDataset(content)
        case "parquet":
            return Parquet(content)
        case "npz":
            return Npz(content)
        case "folder":
            return Folder(content)
        case _:
            raise RecipeError("nhwc.export", tuple(asked.problems()))


def _parts(content: Content) -> list[Part]:
    """Each split cut into parts of one size, but for its last."""
    size = max(1, min(PART_SAMPLES, PART_BYTES // content.contract.item_bytes))
    return [
        Part(split=split, number=number, count=-(-samples // size), first=first, size=min(size, samples - first))
        for split, samples in content.splits.items()
        for number, first in enumerate(range(0, samples, size))
    ]


def _told(version: Version, form: Form) -> dict[str, Any]:
    """`export.json`."""
    content = form.content
    return {
        "form": form.name,
        "dataset": content.dataset,
        "version": content.number,
        "checksums": sha256_of(version.folder / CHECKSUMS),
        "image": content.contract.to_dict(),
        "classes": list(content.classes),
        "splits": dict(content.splits),
        "nhwc": version_of("nhwc"),
        "libraries": {name: version_of(name) for name in form.libraries},
    }


def _exported(version: Version, form: Form, asked: Asked, progress: Progress) -> Exported:
    out, told = asked.folder, _told(version, form)
    is_new = not is_whole(out, told)
    if is_new:
        _make(version, form, out, told, progress)
    imports, code = form.reading(out)
    return Exported(
        version=version,
        out=out,
        form=asked.to,
        is_new=is_new,
        splits=dict(form.content.splits),
        bytes=sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        reading=f"{imports}\n{form.content.first_split} = {code}",
    )


def _make(version: Version, form: Form, out: Path, told: dict[str, Any], progress: Progress) -> None:
    parts, total = _parts(form.content), sum(form.content.splits.values())
    with workplace(out, told) as place:
        finished = {part: sums for part in parts if (sums := place.finished(part)) is not None}
        place.sweep({name for sums in finished.values() for name in sums})
        for part in parts:
            if part not in finished:
                paths = form.write(part, encoded_samples(version, part, form.encoded), place.tree)
                finished[part] = place.finish(part, paths)
            progress("images", part.size, total)
        sums = {name: sha256 for part in parts for name, sha256 in finished[part].items()}
        form.finish(parts, place.tree, sums)
        place.publish(sums)

"""What lies at a path: a file, a folder or a published version. Headers only, no pixel is decoded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import BinaryIO

from nhwc.flows.printable import printable
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.mirror import NUMBER, latest_number
from nhwc.pipelines.probe import HeaderFacts, probe, sniff
from nhwc.pipelines.remote import Remote, is_url, url_problem
from nhwc.pipelines.sources.folder import HEAD_BYTES
from nhwc.pipelines.sources.protocol import Discovery, Entry, Source
from nhwc.pipelines.sources.remote_folder import source_at
from nhwc.pipelines.version import Version
from nhwc.validators.errors import MachineError, RecipeError, SampleRefused

MOST_BYTES = ImageRecipe(rows=1, cols=1).max_bytes


def inspect(place: str | Path) -> tuple[str, bool]:
    """What there is to say of one path or URL, and whether it is sound.

    Raises RecipeError where there is nothing, DataError where a source is damaged as a whole, MachineError where a
    store cannot be reached.
    """
    if is_url(place):
        return _at_url(str(place))
    path = Path(place)
    if (path / "latest").is_file() or (path / "manifest.parquet").is_file():
        return _version(Version.open(path)), True
    if path.is_dir():
        return _source(path) or _folder(path), True
    if not path.is_file():
        found = "something that is no file" if path.exists() else "nothing there"
        raise RecipeError(str(path), (f"found {found}, expected a file, a folder or a published dataset",))
    with path.open("rb") as file:
        is_image = sniff(file.read(HEAD_BYTES)) is not None
        file.seek(0)
        if is_image or (said := _source(path)) is None:
            return _file(file, str(path))
    return said, True


def _source(path: Path) -> str | None:
    """A file, or a folder of files, that has many images each; None where it is none, or a folder of images."""
    from nhwc.flows.source_kind import kind_at, source_kind  # noqa: PLC0415  what reads them, no image needs

    if (kind := kind_at(path)) in (None, "folder"):
        return None
    source = source_kind(path).source(Path(), ImageRecipe(rows=1, cols=1))
    discovery = source.discover()
    return _described(f"{printable(str(path))}: kind {kind}", *probe_source(source, discovery))


def _at_url(url: str) -> tuple[str, bool]:
    if problem := url_problem(url):
        raise RecipeError(url, (problem,))
    remote = Remote.at(url)
    above, _, name = remote.url.rpartition("/")
    try:
        if NUMBER.fullmatch(name) or latest_number(remote) is not None:
            return _version(Version.open(url)), True
        if remote.files():
            return _folder(url), True
        with source_at(above, most_bytes=MOST_BYTES).open(Entry(name=name)) as file:
            return _file(file, url)
    except FileNotFoundError as error:
        found = f"found nothing at {error.filename} ({error.strerror})"
        raise RecipeError(url, (f"{found}, expected an image, a folder or a published dataset",)) from error
    except OSError as error:
        raise MachineError.of(error) from error


def _file(file: BinaryIO, name: str) -> tuple[str, bool]:
    try:
        return f"{printable(name)}: {described(read_header(file))}", True
    except SampleRefused as refusal:
        return f"{printable(name)}: {refusal.violation}", False


def read_header(file: BinaryIO) -> HeaderFacts:
    """The facts of an image file's header. Raises SampleRefused where it is no image that can be read, OSError too.

    Of a file that does not begin like an image only the beginning is read, of any other so much as an ingest would.
    """
    head = file.read(HEAD_BYTES)
    return probe(head if sniff(head) is None else head + file.read(MOST_BYTES))


def described(facts: HeaderFacts) -> str:
    """One image's header in words: rank, rows, cols, channels, dtype, format."""
    dtype = "uint16" if facts.bit_depth == 16 else "uint8"
    text = (
        f"rank 3, rows={facts.rows}, cols={facts.cols}, channels={facts.channels}, {dtype}, {facts.format} {facts.mode}"
    )
    if facts.orientation != 1:
        text += f", EXIF orientation {facts.orientation}" + (" (rows and cols swap)" if facts.orientation > 4 else "")
    return text + (f", {facts.frames} frames" if facts.frames > 1 else "")


def probe_folder(place: str | Path) -> tuple[list[HeaderFacts], Counter[str]]:
    """The header of every image in a folder, and how many entries have each code that keeps them out."""
    source = source_at(place, most_bytes=MOST_BYTES)
    return probe_source(source, source.discover())


def probe_source(source: Source, discovery: Discovery) -> tuple[list[HeaderFacts], Counter[str]]:
    """The header of every image that was discovered, and how many entries have each code that keeps them out."""
    facts: list[HeaderFacts] = []
    codes: Counter[str] = Counter()
    for entry in discovery.entries:
        if entry.violation is not None:
            codes[str(entry.violation.code)] += 1
            continue
        try:
            with source.open(entry) as file:
                facts.append(read_header(file))
        except SampleRefused as refusal:
            codes[str(refusal.violation.code)] += 1
        except OSError:
            codes["unreadable_file"] += 1
    return facts, codes


def _folder(place: str | Path) -> str:
    return _described(printable(str(place)), *probe_folder(place))


def _described(name: str, facts: list[HeaderFacts], codes: Counter[str]) -> str:
    lines = [f"{name}: {len(facts):,} images, {codes.total():,} other entries"]
    kinds = Counter(f"{one.format} {one.mode}, channels={one.channels}, {one.bit_depth} bits" for one in facts)
    lines += [f"  {count:>7,}  {kind}" for kind, count in kinds.most_common()]
    lines += [f"  {count:>7,}  {code}" for code, count in codes.most_common()]
    if facts:
        rows, cols = [one.rows for one in facts], [one.cols for one in facts]
        sizes = len(set(zip(rows, cols, strict=True)))
        lines.append(f"  rows {min(rows)} to {max(rows)}, cols {min(cols)} to {max(cols)}, {sizes} sizes")
    return "\n".join(lines)


def _version(version: Version) -> str:
    counts = version.statistics["counts"]
    lines = [
        f"{printable(version.name)} {version.number}: {version.contract}",
        f"  {counts['discovered']:,} discovered = "
        + ", ".join(f"{counts.get(name, 0):,} {name}" for name in ("kept", "quarantined", "skipped")),
        f"  {len(version.classes)} classes: " + printable(", ".join(version.classes)),
    ]
    lines.insert(1, f"  content {version.content[:16]}")
    for split, labels in version.statistics["splits"].items():
        lines.append(f"  {split}: {sum(labels.values()):,} samples")
    return "\n".join(lines)

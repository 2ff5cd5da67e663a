"""What lies at a path: a file, a folder or a published version. Headers only, no pixel is decoded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from nhwc.flows.printable import printable
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.probe import HeaderFacts, probe, sniff
from nhwc.pipelines.sources.folder import HEAD_BYTES, Folder
from nhwc.pipelines.version import Version
from nhwc.validators.errors import RecipeError, SampleRefused

MOST_BYTES = ImageRecipe(rows=1, cols=1).max_bytes


def inspect(path: Path) -> tuple[str, bool]:
    """What there is to say of one path, and whether it is sound. Raises RecipeError where there is nothing."""
    if (path / "latest").is_file() or (path / "manifest.parquet").is_file():
        return _version(Version.open(path)), True
    if path.is_dir():
        return _folder(path), True
    if not path.is_file():
        found = "something that is no file" if path.exists() else "nothing there"
        raise RecipeError(str(path), (f"found {found}, expected a file, a folder or a published dataset",))
    try:
        return f"{printable(str(path))}: {described(read_header(path))}", True
    except SampleRefused as refusal:
        return f"{printable(str(path))}: {refusal.violation}", False


def read_header(path: Path) -> HeaderFacts:
    """The facts of an image file's header. Raises SampleRefused where it is no image that can be read, OSError too.

    Of a file that does not begin like an image only the beginning is read, of any other so much as an ingest would.
    """
    with path.open("rb") as file:
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


def probe_folder(path: Path) -> tuple[list[HeaderFacts], Counter[str]]:
    """The header of every image in a folder, and how many entries have each code that keeps them out."""
    source = Folder(root=path)
    facts: list[HeaderFacts] = []
    codes: Counter[str] = Counter()
    for entry in source.discover().entries:
        if entry.violation is not None:
            codes[str(entry.violation.code)] += 1
            continue
        try:
            facts.append(read_header(source.location(entry)))
        except SampleRefused as refusal:
            codes[str(refusal.violation.code)] += 1
        except OSError:
            codes["unreadable_file"] += 1
    return facts, codes


def _folder(path: Path) -> str:
    facts, codes = probe_folder(path)
    lines = [f"{printable(str(path))}: {len(facts):,} images, {codes.total():,} other entries"]
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
        f"{printable(str(version.dataset))} {version.number}: {version.contract}",
        f"  {counts['discovered']:,} discovered = "
        + ", ".join(f"{counts.get(name, 0):,} {name}" for name in ("kept", "quarantined", "skipped")),
        f"  {len(version.classes)} classes: " + printable(", ".join(version.classes)),
    ]
    for split, labels in version.statistics["splits"].items():
        lines.append(f"  {split}: {sum(labels.values()):,} samples")
    return "\n".join(lines)

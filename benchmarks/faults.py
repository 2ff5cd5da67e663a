"""Which faults an ingest and its gate find, fault by fault, and how often they cry wolf.

    NHWC_CORPUS=... python benchmarks/faults.py                  messy_a, a set injected by seed 7, false alarms
    NHWC_CORPUS=... python benchmarks/faults.py --inject 12      the same with other faults injected

A fault is found when the manifest or the gate names it by a fitting code, and the file fared as was expected of it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import polars as pl
from inject import MOST_PIXELS, Injected, inject

from nhwc.flows.gate import gate
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import parse_recipe
from nhwc.validators.violation import Violation

_FAULTS_OF_FILES = (
    ("empty_file", "empty_file"),
    ("truncated undecodable damaged_header", "truncated truncated_at_the_end truncated_png truncated_webp"),
    ("truncated undecodable damaged_header", "cut_in_header png_bit_flips"),
    ("half_blank line_ends truncated undecodable damaged_header", "damaged_but_decodable damaged_but_decodable_maybe"),
    ("half_blank line_ends truncated undecodable damaged_header", "zero_tail gray_fill lf_to_crlf"),
    ("half_blank line_ends truncated undecodable damaged_header", "bit_flips overwritten"),
    ("not_an_image", "not_an_image html_page lfs_pointer random_bytes all_zeros decoded_as_text png_lf_to_crlf"),
    ("wrong_extension", "wrong_extension tiff_as_jpg png_as_jpg webp_as_jpg gif_as_jpg bmp_as_png jpg_as_png"),
    ("too_many_pixels", "bomb_header"),
    ("too_many_scans", "many_scans"),
    ("unsupported_format", "unread_format"),
    ("blank", "blank"),
    ("dark", "dark"),
    ("light", "light"),
    ("blurry", "blurred"),
    ("low_information", "low_information"),
    ("low_bit_depth", "low_bit_depth"),
    ("gray", "grayscale gray_as_colour"),
    ("palette", "palette"),
    ("cmyk", "cmyk"),
    ("alpha", "alpha_channel"),
    ("sixteen_bit", "sixteen_bit"),
    ("animated", "animated"),
    ("exif_orientation", "exif_orientation"),
    ("tiny", "tiny"),
    ("odd_aspect", "extreme_aspect"),
    ("odd_size", "odd_size"),
    ("oversize", "oversize"),
    ("same_bytes", "exact_duplicate"),
    ("same_bytes same_pixels near_duplicate", "near_duplicate encoded_again saved_as_png mirrored resized cropped"),
    ("same_bytes same_pixels near_duplicate", "brighter"),
    ("duplicate_two_labels", "duplicate_conflicting_label"),
    ("duplicate_across_splits", "duplicate_across_splits"),
    ("no_class", "no_class"),
    ("nested", "nested"),
    ("no_split", "no_split"),
    ("name_not_utf8", "name_not_utf8"),
    ("hidden", "hidden_file"),
    ("litter hidden other_file", "litter"),
    ("link", "link"),
    ("link_outside", "link_outside"),
    ("link_broken", "link_broken link_loop"),
    ("special_file", "fifo"),
)
_FAULTS_OF_CLASSES = (
    ("unlearnt_class", "class_only_in_test"),
    ("unmeasured_class", "class_only_in_train"),
    ("small_class", "class_with_one_image"),
    ("case_twins", "class_name_case_twin"),
    ("empty_class", "empty_class"),
)
"""Codes, any of which names these faults."""


def _fitting(named: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    return {fault: frozenset(codes.split()) for codes, faults in named for fault in faults.split()}


FITTING, FITTING_OF_CLASS = _fitting(_FAULTS_OF_FILES), _fitting(_FAULTS_OF_CLASSES)
"""The codes that name each fault; those of a class stand beside the class' name."""

OVER_HALF = frozenset({"damaged_but_decodable", "damaged_but_decodable_maybe", "zero_tail", "gray_fill", "lf_to_crlf"})
"""What decoders take without a word: over half of it found is good."""

ROT = frozenset({"bit_flips", "overwritten"})
"""JPEG holds no checksum: what of this is found is shown, and nothing is promised."""

MOST_REFUSED, MOST_WARNED = 2, 6
"""Of about 200 sound rows: so many may be refused, and warned of."""

MOST_ALARMED = 0.02
"""The share of photographs under which a rule's false alarms must stay."""

STATUSES = {"accept": {"kept"}, "report": {"kept", "quarantined"}, "reject": {"quarantined"}, "ignore": {"skipped"}}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an ingest and its gate said of a set.

    Args:
        statuses: kept, quarantined or skipped, by path.
        named: every code of the manifest and the gate, by path.
        refused, warned: the gate's alone, by path.
        of_set: what concerns no single file.
        passed: whether the gate let the set pass.
    """

    statuses: Mapping[str, str]
    named: Mapping[str, set[str]]
    refused: Mapping[str, set[str]]
    warned: Mapping[str, set[str]]
    of_set: Sequence[Violation]
    passed: bool


def look(source: Path, *, splits: str = "folder", max_pixels: int = 100_000_000) -> Found:
    """Ingest a folder with the default rules, into a place that is removed, whatever its budget; then the gate."""
    with tempfile.TemporaryDirectory() as into:
        plain = {
            "dataset": "faults",
            "source": {"path": str(source.resolve())},
            "image": {"rows": 224, "cols": 224, "max_pixels": max_pixels},
            "splits": {"from": splits},
            "checks": {"bad_fraction": 1, "bad_fraction_per_class": 1},
            "publish": {"to": into},
        }
        ingested = run_ingest(parse_recipe(plain))
        assert ingested.version is not None, ingested.verdict
        verdict = gate(ingested.version.folder)
    paths = dict(ingested.manifest.select("sample_id", "path").iter_rows())
    refused, warned = (_by_path(found, paths) for found in (verdict.violations, verdict.warnings))
    named = {
        path: {code, *(notes or ()), *refused[path], *warned[path]} - {None}
        for path, code, notes in ingested.manifest.select("path", "code", "notes").iter_rows()
    }
    return Found(
        statuses=dict(ingested.manifest.select("path", "status").iter_rows()),
        named=named,
        refused=refused,
        warned=warned,
        of_set=[one for one in (*verdict.violations, *verdict.warnings) if one.sample_id is None],
        passed=verdict.passed,
    )


def _by_path(found: Iterable[Violation], paths: Mapping[str, str]) -> defaultdict[str, set[str]]:
    codes = defaultdict(set)
    for one in found:
        if one.sample_id is not None:
            codes[paths[one.sample_id]].add(str(one.code))
    return codes


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table: what was found of one fault.

    Args:
        rows, found: how many there are, and how many were found.
        codes: how often each code was said of them.
        missed: the paths of the others.
    """

    fault: str
    expect: str
    rows: int
    found: int
    codes: Mapping[str, int]
    missed: Sequence[str]

    @property
    def verdict(self) -> str:
        """`ok` where all are found, or over half where that is what can be had; `-` where nothing is promised."""
        if self.fault in ROT:
            return "-"
        enough = 2 * self.found > self.rows if self.fault in OVER_HALF else self.found == self.rows
        return "ok" if enough else "MISSED"

    def __str__(self) -> str:
        said = ", ".join(f"{code} {count}" for code, count in sorted(self.codes.items()))
        return f"{self.fault:28} {self.expect:7} {self.rows:4} {self.found:5}  {self.verdict:6}  {said}"


HEAD = f"{'fault':28} {'expect':7} rows found  verdict codes"


def table(truth: Iterable[Injected], found: Found) -> list[Line]:
    """The lines of every fault; rows without a fault are `alarms`' matter."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in truth:
        if one.fault != "none":
            groups[one.fault, one.expect].append(one.path)
    return [_line(fault, expect, paths, found) for (fault, expect), paths in groups.items()]


def _line(fault: str, expect: str, paths: Sequence[str], found: Found) -> Line:
    fitting = FITTING.get(fault) or FITTING_OF_CLASS[fault]
    said = {path: _of_class(path, found) if fault in FITTING_OF_CLASS else found.named[path] for path in paths}
    fared = [path for path in paths if fault in FITTING_OF_CLASS or found.statuses[path] in STATUSES[expect]]
    hit = {path for path in fared if said[path] & fitting}
    return Line(
        fault=fault,
        expect=expect,
        rows=len(paths),
        found=len(hit),
        codes=Counter(code for codes in said.values() for code in codes),
        missed=[path for path in paths if path not in hit],
    )


def _of_class(path: str, found: Found) -> set[str]:
    """The codes of what was said of the set with the name of the path's class in it."""
    label = path.split("/")[1]
    return {str(one.code) for one in found.of_set if label in f"{one.aspect} {one.found}".replace(",", "").split()}


def alarms(truth: Iterable[Injected], found: Found) -> tuple[list[str], list[str]]:
    """Paths without a fault that a rule refuses, and that one warns of; originals of exact copies are not among them,
    since a copy is a finding against both."""
    sound = [one.path for one in truth if one.fault == "none" and not one.copied]
    return [path for path in sound if found.refused[path]], [path for path in sound if found.warned[path]]


def messy_truth(corpus: Path) -> list[Injected]:
    """What was put into messy_a; `copied` are the originals of its exact copies."""
    truth = pl.read_csv(corpus / "datasets" / "messy_a" / "truth.csv", infer_schema=False)
    return [
        Injected(path=path, fault=fault, expect=expect, copied=bool(same))
        for path, fault, expect, same in truth.select("path", "fault", "expect", "same_bytes_group").iter_rows()
    ]


def photographs(corpus: Path) -> list[Path]:
    """The natural photographs of the corpus."""
    sets = (corpus / "datasets" / name for name in ("clothing", "flowers"))
    return sorted(path for folder in sets for path in folder.rglob("*.jpg"))


@contextmanager
def both(corpus: Path) -> Iterator[Path]:
    """A folder of all natural photographs, by class, whatever split a file lies in; it is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        for file in photographs(corpus):
            place = Path(folder) / file.parent.name / file.name
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, place)
        yield Path(folder)


def false_alarms(source: Path, *, splits: str) -> tuple[bool, dict[str, float]]:
    """Of natural photographs, all sound: whether the gate passes, and the share of images that each rule flags."""
    found = look(source, splits=splits)
    kept = [path for path, status in found.statuses.items() if status == "kept"]
    counts = Counter(code for path in kept for code in found.named[path])
    return found.passed, {code: count / len(kept) for code, count in counts.items()}


def injected(corpus: Path, seed: int, *, each: int = 5, sound: int = 200) -> tuple[list[Injected], Found]:
    """A set that has every fault injected by this seed, and what was found of it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        root.mkdir()
        truth = inject(photographs(corpus), root, seed=seed, each=each, sound=sound)
        return truth, look(root, max_pixels=MOST_PIXELS)


def shown(truth: Sequence[Injected], found: Found) -> str:
    """The table, what was missed, and the alarms on what is sound."""
    lines = table(truth, found)
    missed = [f"missed: {line.fault}: {', '.join(line.missed)}" for line in lines if line.missed]
    sound = [one for one in truth if one.fault == "none"]
    copied = sum(one.copied for one in sound)
    refused, warned = alarms(truth, found)
    with_originals = alarms([replace(one, copied=False) for one in sound], found)
    said = {path: sorted(found.named[path]) for path in {*refused, *warned}}
    return "\n".join(
        [
            HEAD,
            *map(str, lines),
            *missed,
            f"without a fault: {len(sound)} rows, {copied} of them originals of copies; of the others "
            f"{len(refused)} refused, {len(warned)} warned of: {said}",
            f"the originals counted too: {len(with_originals[0])} refused, {len(with_originals[1])} warned of",
        ]
    )


def main() -> int:
    """Print both tables and the false alarms; 1 where a fault is missed or a rule cries wolf."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=os.environ.get("NHWC_CORPUS"))
    parser.add_argument("--inject", type=int, default=7, metavar="SEED")
    parser.add_argument("--each", type=int, default=5, help="files of each fault")
    asked = parser.parse_args()
    if asked.corpus is None:
        parser.error("give --corpus, or set NHWC_CORPUS to the folder of real datasets")
    holds = True
    messy = (messy_truth(asked.corpus), look(asked.corpus / "datasets" / "messy_a" / "data"))
    anew = injected(asked.corpus, asked.inject, each=asked.each)
    for name, (truth, found) in {"messy_a": messy, f"injected by seed {asked.inject}": anew}.items():
        print(f"{name}\n{shown(truth, found)}\n", flush=True)
        refused, warned = alarms(truth, found)
        missed = any(line.verdict == "MISSED" for line in table(truth, found))
        holds = holds and not missed and len(refused) <= MOST_REFUSED and len(warned) <= MOST_WARNED
    print("false alarms on photographs, by rule")
    with both(asked.corpus) as together:
        for name, source, splits in (
            ("clothing", asked.corpus / "datasets" / "clothing", "folder"),
            ("flowers", asked.corpus / "datasets" / "flowers", "hash"),
            ("both", together, "hash"),
        ):
            passed, shares = false_alarms(source, splits=splits)
            said = ", ".join(f"{code} {share:.2%}" for code, share in sorted(shares.items())) or "none"
            print(f"{name:9} gate {'passed' if passed else 'REFUSED'}; {said}")
            holds = holds and passed and all(share < MOST_ALARMED for share in shares.values())
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

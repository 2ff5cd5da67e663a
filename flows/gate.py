"""The gate: may a training start on this data? It reads manifest and figures, and no pixel unless asked to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import polars as pl
import yaml

from nhwc.flows.printable import printable
from nhwc.flows.recipe import CheckRecipe, recorded_checks
from nhwc.flows.verify import verify as verify_version
from nhwc.pipelines.version import Version
from nhwc.validators.budget import check_budget
from nhwc.validators.contract import TensorContract
from nhwc.validators.duplicates import duplicate_findings
from nhwc.validators.errors import RecipeError
from nhwc.validators.manifest import check_manifest
from nhwc.validators.quality_rules import judge_quality, unmeasured
from nhwc.validators.rules import judge
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What the gate looks at beside the version itself.

    Args:
        baseline: a version to compare with: classes, shares, sizes, brightness, channels, formats.
        contract: a `contract.yaml` that the images and classes must keep.
        model: a Keras model, or its .keras or .h5 file, that the batches must fit.
        scale, dtype, channels_first: how `nhwc.load` will be called for that model.
        verify: hold every file and every stored image against its published hash too.
    """

    baseline: str | Path | None = None
    contract: str | Path | None = None
    model: keras.Model | str | Path | None = None
    scale: str = "none"
    dtype: str | None = None
    channels_first: bool = False
    verify: bool = False


def gate(dataset: str | Path, **options: Any) -> Verdict:
    """A verdict on a published version: `verdict.passed`, `.violations`, `.warnings`; `verdict.require()` raises.

    Args:
        dataset: a dataset's folder (its latest version) or the folder of one version.
        options: see GateOptions.

    What each finding weighs stands in the recipe's `checks.rules`, or in `nhwc.validators.rules`.

    Raises RecipeError for wrong arguments, and DataError where the version's own files are damaged.
    """
    chosen, version = GateOptions(**options), Version.open(dataset)
    checks = recorded_checks(version.recipe_text)
    drift = _drift(version, chosen.baseline)
    kept = version.kept
    findings = [
        *check_manifest(version.manifest).violations,
        *_over_budget(version, checks),
        *_of_classes(version),
        *_rows(judge_quality(kept, checks.thresholds, **_target(version)), stage="quality"),
        *_rows(duplicate_findings(kept), stage="duplicates"),
        *_against_contract(version, chosen.contract),
        *drift.violations,
        *_of_model(version, chosen),
        *(verify_version(dataset).violations if chosen.verify else ()),
    ]
    figures = {"kept": kept.height, "unmeasured": unmeasured(kept), **drift.figures}
    return judge(findings, checks.rules, figures)


def _target(version: Version) -> dict[str, int]:
    return dict(zip(("rows", "cols", "channels"), version.contract.sizes, strict=True))


def _over_budget(version: Version, checks: CheckRecipe) -> tuple[Violation, ...]:
    shares = {"bad_fraction": checks.bad_fraction, "bad_fraction_per_class": checks.bad_fraction_per_class}
    return check_budget(version.manifest, **shares).violations


def _of_classes(version: Version) -> Iterator[Violation]:
    """What ingest found of the classes as a whole."""
    for finding in version.statistics["findings"]:
        yield Violation(**finding | {"code": Code(finding["code"])})  # type: ignore[call-arg]  # by value


def _rows(found: pl.DataFrame, *, stage: str) -> Iterator[Violation]:
    """Rows of findings as violations."""
    for row in found.select("code", "sample_id", "aspect", "expected", "found").iter_rows(named=True):
        yield Violation(**row | {"code": Code(row["code"]), "stage": stage})  # type: ignore[call-arg]  # by value


def _drift(version: Version, baseline: str | Path | None) -> Verdict:
    if baseline is None:
        return Verdict()
    from nhwc.validators.drift import check_drift  # noqa: PLC0415  only who compares pays

    before = Version.open(baseline)
    drift = check_drift(before.manifest, version.manifest).verdict
    exactly = tuple(_classes_apart(before, version))  # where drift says only what chance does not explain
    others = tuple(one for one in drift.violations if one.code not in (Code.LOST_CLASS, Code.NEW_CLASS))
    return Verdict(violations=(*exactly, *others), figures=drift.figures)


def _classes_apart(before: Version, version: Version) -> Iterator[Violation]:
    """Classes with samples in the one and none in the other."""
    old, new = set(before.kept["label"]), set(version.kept["label"])
    for code, names, expected, found in (
        (Code.LOST_CLASS, old - new, "a sample of it, as in the baseline", "none"),
        (Code.NEW_CLASS, new - old, "none of it, as in the baseline", "samples"),
    ):
        for name in sorted(names):
            yield Violation(
                code=code, stage="drift", aspect="label", expected=expected, found=f"{found} of class {name}"
            )


def _against_contract(version: Version, file: str | Path | None) -> Iterator[Violation]:
    """Where images or classes are not what a contract.yaml says."""
    if file is None:
        return
    try:
        plain = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        image, classes = TensorContract.from_dict(plain["image"]), tuple(plain["classes"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise RecipeError("contract", (f"found {file}, which is no contract.yaml of a version: {error}",)) from error
    for aspect, code, expected, found in (
        ("image", Code.CONTRACT_CHANGED, str(image), str(version.contract)),
        ("classes", Code.CONTRACT_CHANGED, ", ".join(classes), ", ".join(version.classes)),
    ):
        if expected != found:
            yield Violation(code=code, stage="contract", aspect=aspect, expected=expected, found=found)


def _of_model(version: Version, options: GateOptions) -> tuple[Violation, ...]:
    if options.model is None:
        return ()
    from nhwc.pipelines.load import batch_contract_of  # noqa: PLC0415  TensorFlow, which only a model needs
    from nhwc.validators.model import check_model  # noqa: PLC0415

    batch = batch_contract_of(version, scale=options.scale, dtype=options.dtype, channels_first=options.channels_first)
    return check_model(options.model, batch=batch, classes=version.classes)


def verdict_text(verdict: Verdict, dataset: Path) -> str:
    """Every finding with the file's name, those that refuse first; the verdict last, where a terminal shows it."""
    paths = dict(Version.open(dataset).manifest.select("sample_id", "path").iter_rows())
    lines = [
        f"{'refused' if level == 'refuse' else 'warning'}: {paths.get(one.sample_id, 'dataset')}: {one}"
        for level, one in _weighed(verdict)
    ]
    state = "passed" if verdict.passed else "refused"
    counts = f"{len(verdict.violations)} findings refuse, {len(verdict.warnings)} warn"
    lines.append(f"{dataset}: {state}; {counts}; {verdict.figures['kept']:,.0f} samples")
    return "\n".join(map(printable, lines))


def as_json(verdict: Verdict) -> str:
    """One object: passed, violations (each with its level), figures."""
    violations = [asdict(one) | {"level": level} for level, one in _weighed(verdict)]
    plain = {"passed": verdict.passed, "violations": violations, "figures": dict(verdict.figures)}
    return json.dumps(plain, indent=2, ensure_ascii=False)


def as_junit(verdict: Verdict, name: str) -> str:
    """JUnit's XML: a test case a code, failed where it refuses, with every finding's text."""
    groups: dict[tuple[str, str], list[Violation]] = {}
    for level, one in _weighed(verdict):
        groups.setdefault((level, str(one.code)), []).append(one)
    failures = sum(level == "refuse" for level, _ in groups)
    suite = ElementTree.Element("testsuite", name=name, tests=str(max(len(groups), 1)), failures=str(failures))
    for (level, code), found in groups.items():
        case = ElementTree.SubElement(suite, "testcase", classname="nhwc.gate", name=code)
        tag = "failure" if level == "refuse" else "system-out"
        attributes = {"message": f"{len(found)} {code}"} if level == "refuse" else {}
        ElementTree.SubElement(case, tag, attributes).text = _printable_lines(found)
    if not groups:
        ElementTree.SubElement(suite, "testcase", classname="nhwc.gate", name="passed")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _printable_lines(found: Iterable[Violation]) -> str:
    return "\n".join("".join(char if char.isprintable() else "?" for char in str(one)) for one in found)


def _weighed(verdict: Verdict) -> Iterator[tuple[str, Violation]]:
    yield from (("refuse", one) for one in verdict.violations)
    yield from (("warn", one) for one in verdict.warnings)

"""The gate: may a training start on this data? It reads manifest and figures, and no pixel unless asked to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from nhwc.flows.frozen_contract import contract_findings, read_contract
from nhwc.flows.own_rules import read_own_rules
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.subject import Subject, dataset_subject, draft_subject, version_subject
from nhwc.flows.verify import verify as verify_version
from nhwc.pipelines.version import Version
from nhwc.validators.argument import PATH, named, shown, wrong_flag, wrong_number, wrong_place
from nhwc.validators.balance import judge_balance
from nhwc.validators.contract import TensorContract
from nhwc.validators.duplicates import duplicate_findings
from nhwc.validators.errors import RecipeError
from nhwc.validators.manifest import check_manifest
from nhwc.validators.own_rules import judge_own_rules
from nhwc.validators.quality_rules import judge_quality, unmeasured
from nhwc.validators.rules import judge
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    Gated: TypeAlias = str | Path | Recipe | tf.data.Dataset


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What the gate looks at beside the data itself.

    Args:
        baseline: a version to compare with: classes, shares, sizes, brightness, channels, formats.
        contract: a `contract.yaml` that the images and classes must keep.
        rules: a Python file of the user's own pandera rules.
        model: a Keras model, or its .keras or .h5 file, that the batches must fit.
        scale, dtype, channels_first: how `nhwc.load` will be called for that model.
        verify: hold every file and every stored image of a version against its published hash too.
        classes: of a tf.data.Dataset: class names in the order of their ids.
        samples: of a tf.data.Dataset: look at so many at most.
    """

    baseline: str | Path | None = None
    contract: str | Path | None = None
    rules: str | Path | None = None
    model: keras.Model | str | Path | None = None
    scale: str = "none"
    dtype: str | None = None
    channels_first: bool = False
    verify: bool = False
    classes: Sequence[str] = ()
    samples: int | None = None

    def problems(self) -> list[str]:
        """A line for each that is of no type that it may have. What else is wrong is told where it is used."""
        return named(
            baseline=wrong_place(self.baseline, optional=True),
            contract=wrong_place(self.contract, expected=PATH, optional=True),
            rules=wrong_place(self.rules, expected=PATH, optional=True),
            channels_first=wrong_flag(self.channels_first),
            verify=wrong_flag(self.verify),
            classes=_wrong_classes(self.classes),
            samples=wrong_number(self.samples, least=1, optional=True),
        )

    def as_arguments(self, data: str) -> list[str]:
        """The arguments of `nhwc gate` that ask for the same, where the model is a file."""
        said = [data]
        for name in ("baseline", "contract", "rules", "model"):
            if isinstance(value := getattr(self, name), str | Path):
                said += [f"--{name}", str(value)]
        if self.scale != "none":
            said += ["--scale", self.scale]
        return [*said, "--verify"] if self.verify else said


def gate(data: Gated, **options: Any) -> Verdict:
    """A verdict: `verdict.passed`, `.violations`, `.warnings`; `verdict.require()` raises.

    Args:
        data: a published dataset's folder (its latest version) or the folder of one version; a recipe or its file,
            whose source is ingested up to publishing, so that an ingest that follows decodes nothing again; or a
            tf.data.Dataset of images, or of tuples (images, labels[, ids]), batched or not, which is read once.
        options: see GateOptions.

    What each finding weighs stands in the recipe's `checks.rules`, or in `nhwc.validators.rules`.

    Raises RecipeError for wrong arguments, and DataError where the version's own files are damaged.
    """
    chosen = called_with(data, options)
    return judge_subject(open_subject(data, chosen), chosen)


def called_with(data: object, options: Mapping[str, Any]) -> GateOptions:
    """The options of a call of the gate. Raises RecipeError for all that is of a wrong type, or unknown, at once."""
    problems = [*named(data=_wrong_data(data)), *wrong_options(options)]
    if problems:
        raise RecipeError("nhwc.gate", tuple(problems))
    return GateOptions(**options)


def wrong_options(options: Mapping[str, Any]) -> list[str]:
    """A line for each option, by its name, that is unknown or of a wrong type."""
    known = [field.name for field in fields(GateOptions)]
    unknown = [name for name in options if name not in known]
    right = {name: value for name, value in options.items() if name in known}
    lines = [f"{name}: unknown option, expected some of {', '.join(known)}" for name in unknown]
    return [*lines, *GateOptions(**right).problems()]


def _wrong_data(data: object) -> str | None:
    if hasattr(data, "element_spec") or isinstance(data, Recipe):
        return None
    return wrong_place(data, expected="the path or URL of a dataset, a recipe or its path, or a tf.data.Dataset")


def _wrong_classes(classes: object) -> str | None:
    several = isinstance(classes, Collection) and not isinstance(classes, str | bytes)
    if several and all(isinstance(one, str) for one in classes):  # type: ignore[attr-defined]
        return None
    return f"found {shown(classes)}, expected class names in the order of their ids"


def open_subject(data: Gated, options: GateOptions) -> Subject:
    """What is to be judged. Raises RecipeError where it is nothing that can be, or an option does not go with it."""
    if hasattr(data, "element_spec"):
        _refuse(options, "a tf.data.Dataset", verify=False, scale="none", dtype=None, channels_first=False)
        return dataset_subject(data, classes=options.classes, samples=options.samples)
    _refuse(options, "a version or a recipe", classes=(), samples=None)
    _of_model_alone(options)
    if isinstance(data, Recipe) or Path(data).is_file():
        from nhwc.flows.ingest import draft_of  # noqa: PLC0415  TensorFlow, which no version needs

        _of_draft(options)
        recipe = read_recipe(data)
        return draft_subject(draft_of(recipe), name=recipe.dataset if isinstance(data, Recipe) else str(data))
    return version_subject(Version.open(data), name=str(data))


def draft_options(options: Mapping[str, Any]) -> GateOptions:
    """The gate that an ingest's draft has to pass before it is published.

    Raises RecipeError where an option is unknown or of a wrong type, or does not go with what is not published yet.
    """
    if problems := wrong_options(options):
        raise RecipeError("nhwc.gate", tuple(problems))
    chosen = GateOptions(**options)
    _refuse(chosen, "a recipe", classes=(), samples=None)
    _of_model_alone(chosen)
    _of_draft(chosen)
    return chosen


def _of_model_alone(options: GateOptions) -> None:
    if options.model is None:
        _refuse(options, "no model", scale="none", dtype=None, channels_first=False)


def _of_draft(options: GateOptions) -> None:
    _refuse(options, "a recipe, of which nothing is published", verify=False)


def _refuse(options: GateOptions, kind: str, **allowed: object) -> None:
    """Raises RecipeError where an option has another value: it would silently do nothing."""
    problems = [
        f"{name}: found {getattr(options, name)!r}, which does not go with {kind}: leave it out"
        for name, value in allowed.items()
        if getattr(options, name) != value
    ]
    if problems:
        raise RecipeError("gate", tuple(problems))


def judge_subject(subject: Subject, options: GateOptions) -> Verdict:
    """All findings, weighed. Raises RecipeError for a contract, model, rules or baseline that is none.

    A manifest that breaks its own rules is all that is said then: nothing read from it can be trusted.
    """
    verdict = _judged(subject, options)
    return replace(verdict, paths=subject.paths(verdict.violations))


def _judged(subject: Subject, options: GateOptions) -> Verdict:
    manifest, checks = subject.manifest, subject.checks
    kept = manifest.lazy().filter(pl.col("status") == "kept")  # lazy: only the columns that a check looks at
    figures = {"kept": int((manifest["status"] == "kept").sum())}
    if broken := _broken_manifest(subject):
        return judge(broken, checks.rules, figures)
    rows, cols, channels = (size or 1 for size in subject.contract.shape)  # what is open asks for nothing
    budget, drift = checks.budget(manifest), _drift(subject, options.baseline)
    findings = [
        *budget.violations,
        *budget.warnings,
        *subject.findings,
        *judge_balance(manifest, subject.classes, checks.balance),
        *_rows(judge_quality(kept, checks.thresholds, rows=rows, cols=cols, channels=channels), stage="quality"),
        *_rows(duplicate_findings(manifest), stage="duplicates"),
        *_against_contract(subject, options.contract),
        *_by_own_rules(subject, options.rules),
        *drift.violations,
        *_of_model(subject, options),
        *(verify_version(subject.place or subject.name).violations if options.verify else ()),
    ]
    return judge(findings, checks.rules, {**figures, "unmeasured": unmeasured(kept), **drift.figures})


def _broken_manifest(subject: Subject) -> tuple[Violation, ...]:
    """Rules that every manifest keeps; what was measured of a tf.data.Dataset is none."""
    return () if subject.checked or subject.compared is not None else check_manifest(subject.manifest).violations


_FINDING = ("code", "sample_id", "aspect", "expected", "found")
_CODES = {code.value: code for code in Code}


def _rows(found: pl.DataFrame, *, stage: str) -> Iterator[Violation]:
    """Rows of findings as violations."""
    for code, sample_id, aspect, expected, seen in found.select(*_FINDING).iter_rows():
        yield Violation(
            code=_CODES[code], stage=stage, aspect=aspect, sample_id=sample_id, expected=expected, found=seen
        )


def _drift(subject: Subject, baseline: str | Path | None) -> Verdict:
    if baseline is None:
        return Verdict()
    from nhwc.validators.drift import COMPARED_COLUMNS, check_drift  # noqa: PLC0415  only who compares pays

    columns = COMPARED_COLUMNS if subject.compared is None else subject.compared
    before, now = Version.open(baseline).columns(*columns), subject.manifest.select(columns)
    drift = check_drift(before, now).verdict
    exactly = tuple(_classes_apart(before, now))  # where drift says only what chance does not explain
    others = tuple(one for one in drift.violations if one.code not in (Code.LOST_CLASS, Code.NEW_CLASS))
    return Verdict(violations=(*exactly, *others), figures=drift.figures)


def _classes_apart(before: pl.DataFrame, now: pl.DataFrame) -> Iterator[Violation]:
    """Classes with samples in the one and none in the other."""
    kept = pl.col("status") == "kept"
    labels = [side.lazy().filter(kept).select(pl.col("label").unique()).collect()["label"] for side in (before, now)]
    old, new = map(set, labels)
    for code, names, expected, found in (
        (Code.LOST_CLASS, old - new, "a sample of it, as in the baseline", "none"),
        (Code.NEW_CLASS, new - old, "none of it, as in the baseline", "samples"),
    ):
        for name in sorted(names):
            yield Violation(
                code=code, stage="drift", aspect="label", expected=expected, found=f"{found} of class {name}"
            )


def _against_contract(subject: Subject, file: str | Path | None) -> tuple[Violation, ...]:
    if file is None:
        return ()
    return contract_findings(read_contract(Path(file)), image=subject.contract, classes=subject.classes)


def _by_own_rules(subject: Subject, file: str | Path | None) -> tuple[Violation, ...]:
    return () if file is None else judge_own_rules(subject.kept, read_own_rules(Path(file)))


def _of_model(subject: Subject, options: GateOptions) -> tuple[Violation, ...]:
    if options.model is None:
        return ()
    from nhwc.pipelines.plan import batch_contract_of  # noqa: PLC0415  only a model needs it
    from nhwc.validators.model import check_model  # noqa: PLC0415

    how: Mapping[str, Any] = {
        "scale": options.scale, "dtype": options.dtype, "channels_first": options.channels_first
    }  # fmt: skip
    if subject.compared is not None:  # a tf.data.Dataset, which is loaded as it is
        batch: TensorContract = subject.contract.batched(None)
    else:
        batch = batch_contract_of(subject.contract, subject.channels, **how)
    return check_model(options.model, batch=batch, classes=subject.classes, labels=subject.labels)

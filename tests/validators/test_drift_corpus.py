"""Drift between real datasets: photographs of two sources, and copies changed on purpose. Needs NHWC_CORPUS."""

import random
from pathlib import Path

import polars as pl
import pytest
from PIL import Image, ImageEnhance

import nhwc
from nhwc.flows.recipe import parse_recipe
from nhwc.validators.drift import check_drift
from nhwc.validators.violation import Code

RESAMPLES = {0.01: 1399, 0.1: 139}
"""The fewest that 14 rules need to reach a rate of false alarms."""


def manifest_of(source: Path, into: Path) -> pl.DataFrame:
    """The manifest of an ingest at a small size."""
    recipe = {
        "dataset": source.name,
        "source": {"path": str(source)},
        "image": {"rows": 32, "cols": 32, "channels": 3},
        "splits": {"from": "folder"} if (source / "train").is_dir() else {},
        "checks": {"bad_fraction": 1, "bad_fraction_per_class": 1},
        "publish": {"to": str(into / "published")},
    }
    return nhwc.ingest(parse_recipe(recipe, base=into), direct=True).kept


def changed(source: Path, into: Path, change) -> Path:
    """A copy of every eighth photograph, as its split and class folder, with the change made to its pixels."""
    for path in sorted(source.rglob("*.jpg"))[::8]:
        copy = into / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            change(image).save(copy, quality=92)
    return into


@pytest.fixture(scope="module")
def clothing(corpus, tmp_path_factory):
    """953 photographs of clothing."""
    return manifest_of(corpus / "datasets/clothing", tmp_path_factory.mktemp("clothing"))


@pytest.fixture(scope="module")
def flowers(corpus, tmp_path_factory):
    """200 photographs of flowers."""
    return manifest_of(corpus / "datasets/flowers", tmp_path_factory.mktemp("flowers"))


def halves(manifest, seed, fraction=0.5):
    """Two sets without a sample in common."""
    shuffled = manifest.sample(fraction=1, shuffle=True, seed=seed)
    cut = round(manifest.height * fraction)
    return shuffled.head(cut), shuffled.tail(manifest.height - cut)


def alarms_among(trials, pair, rate):
    """How many of so many pairs alarm; `pair` makes one from a seed."""
    return sum(
        not check_drift(*pair(seed), seed=seed, false_alarm_rate=rate, resamples=RESAMPLES[rate]).verdict.passed
        for seed in range(trials)
    )


@pytest.mark.parametrize(
    ("dataset", "fraction", "trials", "rate", "most"),
    [("flowers", 0.5, 200, 0.01, 6), ("clothing", 0.5, 40, 0.1, 9), ("clothing", 0.9, 40, 0.1, 9)],
)
def test_same_source_resamples_alarm_at_most_at_the_stated_rate(dataset, fraction, trials, rate, most, request):
    """Of 200 random divisions of one dataset no more alarm than 1 % allows, and so for others and 10 %.

    The most are the 99 % quantile of the binomial distribution.
    """
    manifest = request.getfixturevalue(dataset)
    alarms = alarms_among(trials, lambda seed: halves(manifest, seed, fraction), rate)
    print(f"{dataset} {fraction}: {alarms} of {trials} alarmed at {rate}")  # noqa: T201
    assert alarms <= most


def test_draws_of_the_baseline_itself_alarm_no_more(clothing):
    """A current version drawn from the baseline's own rows, with replacement, is one of the same source too."""
    draws = [clothing.sample(300, with_replacement=True, seed=seed) for seed in range(40)]
    assert alarms_among(40, lambda seed: (clothing, draws[seed]), 0.1) <= 9


@pytest.mark.parametrize("samples", [60, 200])
def test_another_camera_is_found_every_time(clothing, flowers, samples):
    """Flowers against clothing: in each of 5 draws sizes, pixels and classes are all told apart."""
    for seed in range(5):
        found = check_drift(clothing, flowers.sample(samples, seed=seed), seed=seed, resamples=1399)
        codes = {violation.code for violation in found.violations}
        assert {Code.SIZE_DRIFT, Code.PIXEL_DRIFT, Code.CLASS_DRIFT, Code.NEW_CLASS} <= codes


@pytest.mark.parametrize("label", ["t-shirt", "pants", "hat", "skirt"])
def test_a_dropped_class_is_found_every_time(clothing, label):
    """In each of 5 random divisions, a class that one half lacks is named."""
    for seed in range(5):
        baseline, current = halves(clothing, seed)
        found = check_drift(baseline, current.filter(pl.col("label") != label), seed=seed, resamples=1399)
        (lost,) = (violation for violation in found.violations if violation.code is Code.LOST_CLASS)
        assert f"{label} (" in lost.expected


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda image: ImageEnhance.Brightness(image).enhance(1.2), Code.PIXEL_DRIFT),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.8), Code.PIXEL_DRIFT),
        (lambda image: image.resize((image.width // 2, image.height // 2)), Code.SIZE_DRIFT),
        (lambda image: ImageEnhance.Contrast(image).enhance(0.7), Code.PIXEL_DRIFT),
    ],
    ids=["brighter", "darker", "halved", "flatter"],
)
def test_changed_copies_are_found_every_time(clothing, corpus, tmp_path, change, code):
    """An eighth of the photographs, changed and ingested anew, against the others unchanged: each of 5 draws."""
    copies = manifest_of(changed(corpus / "datasets/clothing", tmp_path / "copies", change), tmp_path)
    others = clothing.filter(~pl.col("path").is_in(copies["path"].implode()))
    for seed in range(5):
        draw = random.Random(seed).randrange(80, copies.height)
        found = check_drift(others, copies.sample(draw, seed=seed), seed=seed, resamples=1399)
        assert code in {violation.code for violation in found.violations}
        assert Code.CLASS_DRIFT not in {violation.code for violation in found.violations}


def test_unchanged_copies_do_not_alarm(clothing, corpus, tmp_path):
    """Saved again as JPEG and nothing else: against the other photographs, no rule alarms."""
    copies = manifest_of(changed(corpus / "datasets/clothing", tmp_path / "copies", lambda image: image), tmp_path)
    others = clothing.filter(~pl.col("path").is_in(copies["path"].implode()))
    found = check_drift(others, copies)
    assert () == found.violations

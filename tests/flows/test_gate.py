"""The gate: what speaks against a version, by sample, with its weight, for people and for machines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import keras
import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from PIL import Image

import nhwc
from nhwc.flows.gate import GateOptions, judge_subject, open_subject
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe, parse_recipe
from nhwc.flows.verdict_text import as_json, as_junit, as_text

Make = Callable[..., Recipe]
ALLOWED = {"bad_fraction": 1, "bad_fraction_per_class": 1}


@pytest.fixture
def landscapes(tmp_path: Path) -> Path:
    """Twenty pictures with structure at all scales, no two alike."""
    for number in range(20):
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
            (160, 120), Image.Resampling.BICUBIC
        )
        fine = rng.normal(0, 12, (120, 160, 3))
        pixels = np.clip(np.asarray(coarse) + fine, 0, 255).astype(np.uint8)
        path = tmp_path / "photos" / ("sea" if number % 2 else "hill") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


@pytest.fixture
def recipe(recipe_for: Make) -> Callable[..., Recipe]:
    """A recipe for the landscapes."""
    return lambda **parts: recipe_for(**{"image": {"rows": 32, "cols": 32}} | parts)


def test_sound_data_passes(landscapes: Path, recipe: Make) -> None:
    """Nothing refuses, nothing warns, and require() gives the verdict back."""
    version = nhwc.ingest(recipe(splits={"train": 0.5, "test": 0.5}), direct=True)
    verdict = nhwc.gate(version.dataset)
    assert ((), ()) == (verdict.violations, verdict.warnings)
    assert verdict is verdict.require()
    assert {"kept": 20, "unmeasured": 0} == dict(verdict.figures)


def test_each_fault_is_named_with_its_sample(landscapes: Path, recipe: Make) -> None:
    """A blank picture, and one under two labels, refuse; a copy warns."""
    Image.new("RGB", (160, 120), (90, 90, 90)).save(landscapes / "sea" / "blank.png")
    whole = Image.open(landscapes / "sea" / "01.png")
    whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((200, 150)).save(
        landscapes / "hill" / "mirrored.jpg", quality=80
    )
    (landscapes / "hill" / "copy.png").write_bytes((landscapes / "hill" / "00.png").read_bytes())
    version = nhwc.ingest(recipe(), direct=True)
    verdict = nhwc.gate(version.dataset)
    paths = dict(version.manifest.select("sample_id", "path").iter_rows())
    found = {(str(one.code), paths[one.sample_id]) for one in verdict.violations}
    expected = {("blank", "sea/blank.png")}
    assert expected | {("duplicate_two_labels", name) for name in ("sea/01.png", "hill/mirrored.jpg")} == found
    warned = {(str(one.code), paths[one.sample_id]) for one in verdict.warnings}
    assert {("same_bytes", "hill/00.png"), ("same_bytes", "hill/copy.png")} <= warned
    with pytest.raises(nhwc.DataError, match=r"duplicates sample [0-9a-f]{16}: duplicate_two_labels"):
        verdict.require()
    assert "refused: sea/blank.png: quality sample" in as_text(verdict, open_subject(version.dataset, GateOptions()))


def test_the_recipe_says_what_weighs(landscapes: Path, recipe: Make) -> None:
    """refuse, warn or off, by code."""
    (landscapes / "hill" / "copy.png").write_bytes((landscapes / "hill" / "00.png").read_bytes())
    strict = nhwc.ingest(recipe(checks={"rules": {"same_bytes": "refuse"}}), direct=True)
    assert {"same_bytes": 2} == nhwc.gate(strict.dataset).by_code()
    lax = nhwc.ingest(recipe(checks={"rules": {"same_bytes": "off"}}), direct=True)
    assert (True, ()) == (nhwc.gate(lax.dataset).passed, nhwc.gate(lax.dataset).warnings)


def test_the_recipe_sets_thresholds(landscapes: Path, recipe: Make) -> None:
    """Of any figure; a wrong name is told with those that there are."""
    version = nhwc.ingest(recipe(checks={"thresholds": {"dark": 1.0}}), direct=True)
    assert {"dark"} == {str(one.code) for one in nhwc.gate(version.dataset).warnings}
    with pytest.raises(nhwc.RecipeError, match=r"checks\.thresholds\.drak: unknown key, did you mean dark\?"):
        recipe(checks={"thresholds": {"drak": 1.0}})
    with pytest.raises(nhwc.RecipeError, match=r"checks\.rules\.same_byte"):
        recipe(checks={"rules": {"same_byte": "off"}})


def test_copies_never_straddle_splits_made_by_nhwc(landscapes: Path, recipe: Make) -> None:
    """A picture and its mirrored, resized, saved-again copies fall in one split, and none moves when copies come."""
    splits = {"train": 0.5, "test": 0.5}
    before = nhwc.ingest(recipe(splits=splits), direct=True).kept
    for path in sorted(landscapes.rglob("*.png")):
        image = Image.open(path)
        image.resize((120, 90)).save(path.with_name(f"{path.stem}-small.jpg"), quality=85)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path.with_name(f"{path.stem}-mirrored.png"))
    version = nhwc.ingest(recipe(splits=splits), direct=True)
    assert 20 == version.kept["cluster"].n_unique()
    assert version.kept.group_by("cluster").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 20
    after = dict(version.kept.select("path", "split").iter_rows())
    assert {path: after[path] for path in before["path"]} == dict(before.select("path", "split").iter_rows())


def test_a_lost_class_and_a_brightness_shift_are_drift(landscapes: Path, recipe: Make) -> None:
    """Against a baseline, and not against itself."""
    version = nhwc.ingest(recipe(), direct=True)
    assert nhwc.gate(version.dataset, baseline=version.folder).passed
    for path in (landscapes / "sea").iterdir():
        path.unlink()
    for path in (landscapes / "hill").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) * 0.4).astype(np.uint8)).save(path)
    darker = nhwc.ingest(recipe(dataset="darker"), direct=True)
    verdict = nhwc.gate(darker.dataset, baseline=version.folder)
    codes = {str(one.code) for one in (*verdict.violations, *verdict.warnings)}
    assert {"lost_class", "pixel_drift"} <= codes
    assert ["none of class sea"] == [one.found for one in verdict.violations if one.code == "lost_class"]


def test_a_contract_file_must_be_kept(landscapes: Path, recipe: Make, tmp_path: Path) -> None:
    """Its image and its classes."""
    version = nhwc.ingest(recipe(), direct=True)
    frozen = tmp_path / "contract.yaml"
    frozen.write_text((version.folder / "contract.yaml").read_text())
    assert nhwc.gate(version.dataset, contract=frozen).passed
    other = nhwc.ingest(recipe(dataset="other", image={"rows": 16, "cols": 32}), direct=True)
    verdict = nhwc.gate(other.dataset, contract=frozen)
    assert [("contract_changed", "image")] == [(one.code, one.aspect) for one in verdict.violations]
    frozen.write_text("no contract")
    with pytest.raises(nhwc.RecipeError, match=r"found .*contract\.yaml, which is no contract \(TypeError"):
        nhwc.gate(version.dataset, contract=frozen)


@pytest.mark.parametrize(
    ("scale", "layers", "codes"),
    [
        ("unit", [keras.layers.Conv2D(4, 3)], set()),
        ("none", [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3)], set()),
        ("unit", [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3)], {"model_range"}),
    ],
)
def test_a_model_must_fit_the_batches(
    landscapes: Path, recipe: Make, scale: str, layers: list[Any], codes: set[str]
) -> None:
    """As they will be loaded: scaled twice is refused."""
    version = nhwc.ingest(recipe(), direct=True)
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((32, 32, 3)), *layers, *head])
    model.compile("adam", "sparse_categorical_crossentropy")
    assert codes == set(nhwc.gate(version.dataset, model=model, scale=scale).by_code())


def test_json_and_junit_say_the_same(landscapes: Path, recipe: Make) -> None:
    """Machines read passed, every violation with its level and its file, and figures."""
    Image.new("RGB", (160, 120)).save(landscapes / "sea" / "blank.png")
    subject = open_subject(nhwc.ingest(recipe(), direct=True).dataset, GateOptions())
    verdict = judge_subject(subject, GateOptions())
    plain = json.loads(as_json(verdict, subject))
    assert (False, 21) == (plain["passed"], plain["figures"]["kept"])
    fields = {"code", "stage", "aspect", "sample_id", "expected", "found", "hint", "level", "path"}
    assert {"blank"} == {one["code"] for one in plain["violations"] if one["level"] == "refuse"}
    assert all(fields == set(one) for one in plain["violations"])
    assert {"sea/blank.png"} == {one["path"] for one in plain["violations"] if one["level"] == "refuse"}
    suite = ElementTree.fromstring(as_junit(verdict, subject))
    refused = [case for case in suite if case.find("failure") is not None]
    assert ["blank"] == [case.get("name") for case in refused]
    assert (refused[0].findtext("failure") or "").startswith("sea/blank.png: ")


def test_what_is_raised_names_the_file(landscapes: Path, recipe: Make) -> None:
    """In a training script as on the command line."""
    Image.new("RGB", (160, 120)).save(landscapes / "sea" / "blank.png")
    verdict = nhwc.gate(nhwc.ingest(recipe(), direct=True).dataset)
    with pytest.raises(nhwc.DataError, match=r"^sea/blank\.png: quality sample [0-9a-f]{16}: blank: "):
        verdict.require()


def test_a_recipes_source_is_judged_without_publishing(landscapes: Path, recipe: Make, tmp_path: Path) -> None:
    """The same verdict as of the version; nothing is published, and the ingest that follows decodes nothing again."""
    Image.new("RGB", (160, 120)).save(landscapes / "sea" / "blank.png")
    asked = recipe()
    verdict = nhwc.gate(asked)
    assert {"blank": 1} == verdict.by_code()
    assert not (asked.dataset_path / "latest").exists()
    ingested = run_ingest(asked)
    assert (0, "published") == (ingested.made, ingested.outcome)
    assert verdict == nhwc.gate(asked.dataset_path)


def test_a_recipe_file_is_a_recipe(landscapes: Path, recipe: Make, tmp_path: Path) -> None:
    """By its path, as on the command line."""
    file = tmp_path / "pets.yaml"
    file.write_text(recipe().to_yaml())
    assert nhwc.gate(file).passed
    with pytest.raises(nhwc.RecipeError, match="verify: found True, which does not go with a recipe"):
        nhwc.gate(file, verify=True)


def test_a_dataset_is_judged(landscapes: Path, recipe: Make) -> None:
    """A tf.data.Dataset, by the same rules, against a version as its baseline and with a model."""
    version = nhwc.ingest(recipe(), direct=True)
    batches = nhwc.load(version.dataset, batch_size=7, with_ids=True)
    assert nhwc.gate(batches, classes=version.classes, baseline=version.dataset).passed
    dark = batches.map(lambda images, labels, ids: (images // 4, labels, ids))
    found = {str(one.code) for one in nhwc.gate(dark, classes=version.classes, baseline=version.dataset).warnings}
    assert {"dark", "pixel_drift"} <= found
    model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    assert "wrong_channels" in nhwc.gate(batches, classes=version.classes, model=model).by_code()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": True}, "verify: found True, which does not go with a tf.data.Dataset: leave it out"),
        ({"scale": "unit"}, "scale: found 'unit', which does not go with a tf.data.Dataset"),
    ],
)
def test_options_that_do_not_go_with_a_dataset_are_told(options: dict[str, Any], message: str) -> None:
    """None silently does nothing."""
    dataset = tf.data.Dataset.from_tensor_slices(np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(nhwc.RecipeError, match=message):
        nhwc.gate(dataset, **options)


@pytest.mark.parametrize("option", [{"scale": "unit"}, {"dtype": "float16"}, {"channels_first": True}])
def test_how_images_are_loaded_does_not_go_without_a_model(
    landscapes: Path, recipe: Make, option: dict[str, Any]
) -> None:
    """Nothing else would look at it."""
    (name,) = option
    with pytest.raises(nhwc.RecipeError, match=rf"{name}: found .*, which does not go with no model: leave it out"):
        nhwc.gate(run_ingest(recipe()).place, **option)


def one_hot(ids: np.ndarray) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[ids]


def names(ids: np.ndarray) -> np.ndarray:
    return np.array(["cat", "dog"])[ids]


@pytest.mark.parametrize(
    ("labels", "loss", "found"),
    [
        (np.asarray, "sparse_categorical_crossentropy", None),
        (np.asarray, "categorical_crossentropy", "loss found categorical_crossentropy, which takes one-hot"),
        (one_hot, "categorical_crossentropy", None),
        (one_hot, "sparse_categorical_crossentropy", "loss found sparse_categorical_crossentropy, which takes ids"),
        (names, "sparse_categorical_crossentropy", "labels found text, expected numbers, which a loss can take"),
        (names, "categorical_crossentropy", "labels found text, expected numbers, which a loss can take"),
    ],
)
def test_a_model_is_held_against_the_labels_of_a_dataset(
    labels: Callable[[np.ndarray], np.ndarray], loss: str, found: str | None
) -> None:
    """As Keras would find out: what passes here fits, and nothing else does."""
    rng = np.random.default_rng(0)
    images, ids = rng.random((36, 20, 20, 3), dtype=np.float32), np.arange(36) % 2
    dataset = tf.data.Dataset.from_tensor_slices((images, labels(ids))).batch(8)
    layers = [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((20, 20, 3)), keras.layers.Conv2D(4, 3), *layers])
    model.compile("sgd", loss)
    verdict = nhwc.gate(dataset, classes=["cat", "dog"], model=model)
    said = [str(one) for one in verdict.violations if one.code == "model_labels"]
    if found is None:
        assert [] == said
        model.fit(dataset, shuffle=False, verbose=0)
    else:
        assert found in said[0]
        with pytest.raises(Exception):  # noqa: B017, PT011  each backend has its own
            model.fit(dataset, shuffle=False, verbose=0)


def test_a_version_without_a_shard_is_refused(landscapes: Path, recipe: Make) -> None:
    """Before a training finds out; `verify` says what is in the others."""
    version = run_ingest(recipe()).version
    assert nhwc.gate(version.dataset).passed
    name = version.kept["shard"][0]
    version.shard_path(name).unlink()
    (lost,) = nhwc.gate(version.dataset).violations
    assert ("missing_part", "load", "no such file") == (lost.code, lost.stage, lost.found)
    assert str(version.shard_path(name)) in lost.expected


def test_what_is_verified_is_what_is_judged(landscapes: Path, recipe: Make) -> None:
    """Whatever is published meanwhile."""
    options = GateOptions(verify=True)
    subject = open_subject(run_ingest(recipe()).version.dataset, options)
    other = run_ingest(recipe(image={"rows": 20, "cols": 20})).version
    (other.folder / "report.html").write_text("")
    assert "2.0.0" == other.number
    assert judge_subject(subject, options).passed
    assert not judge_subject(open_subject(other.dataset, options), options).passed


def test_options_of_a_dataset_do_not_go_with_a_version(landscapes: Path, recipe: Make) -> None:
    """The other way round."""
    version = nhwc.ingest(recipe(), direct=True)
    with pytest.raises(nhwc.RecipeError, match=r"samples: found 3, which does not go with a version or a recipe"):
        nhwc.gate(version.dataset, samples=3)


def test_a_users_own_rules_run_beside_ours(landscapes: Path, recipe: Make, tmp_path: Path) -> None:
    """Named in the recipe they are looked at while ingesting, and the version says what they found; or at the gate."""
    file = tmp_path / "own.py"
    file.write_text(
        "import pandera.polars as pa\n"
        "class Photos(pa.DataFrameModel):\n"
        "    rows: int = pa.Field(ge=121)\n"
        "    label: str = pa.Field(isin=['sea', 'hill'])\n"
    )
    plain = nhwc.ingest(recipe(), direct=True)
    assert nhwc.gate(plain.dataset).passed
    assert {"own_rule": 20} == nhwc.gate(plain.dataset, rules=file).by_code()
    named = nhwc.ingest(recipe(checks={"file": "own.py"}), direct=True)
    file.unlink()
    assert {"own_rule": 20} == nhwc.gate(named.dataset).by_code()


def test_changed_rules_make_a_new_version(landscapes: Path, recipe: Make, tmp_path: Path) -> None:
    """Only what is said about the samples changed: a patch."""
    file = tmp_path / "own.py"
    rule = "import pandera.polars as pa\nRULE = pa.DataFrameSchema({'rows': pa.Column(int, pa.Check.ge(%d))})\n"
    numbers = []
    for least in (1, 1, 121):
        file.write_text(rule % least)
        numbers.append(nhwc.ingest(recipe(checks={"file": "own.py"}), direct=True).number)
    assert ["1.0.0", "1.0.0", "1.0.1"] == numbers


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [("contract", "", "expected"), ("contract", "image: 7\n", "expected"), ("file", "def (", "rules.py")],
)
def test_what_a_recipe_promises_is_looked_at_before_anything_is_decoded(
    landscapes: Path, recipe: Make, tmp_path: Path, nhwc_command: Any, key: str, content: str, message: str
) -> None:
    """A wrong contract or rules file is told at once, the contract by `nhwc explain` too, which runs no rules."""
    file = tmp_path / ("kept.yaml" if key == "contract" else "rules.py")
    file.write_text(content)
    asked = recipe(checks={key: file.name})
    told: list[str] = []
    with pytest.raises(nhwc.RecipeError, match=message):
        run_ingest(asked, progress=lambda name, *_: told.append(name))
    assert "decode" not in told
    if key == "contract":
        (tmp_path / "explained.yaml").write_text(asked.to_yaml())
        status, _, err = nhwc_command("explain", "explained.yaml")
        assert (2, True) == (status, message in err)


def test_a_frozen_contract_is_kept_by_later_versions(landscapes: Path, recipe: Make, tmp_path: Path) -> None:
    """The recipe names it; what breaks it is in the version."""
    first = nhwc.ingest(recipe(), direct=True)
    (tmp_path / "frozen.yaml").write_text((first.folder / "contract.yaml").read_text())
    asked = recipe(checks={"contract": "frozen.yaml"})
    assert nhwc.gate(nhwc.ingest(asked, direct=True).dataset).passed
    (landscapes / "lake").mkdir()
    for number in range(2):
        (landscapes / "sea" / f"0{2 * number + 1}.png").rename(landscapes / "lake" / f"{number}.png")
    verdict = nhwc.gate(nhwc.ingest(asked, direct=True).dataset)
    assert [("contract_changed", "class lake")] == [(one.code, one.found) for one in verdict.violations]
    with pytest.raises(nhwc.RecipeError, match=r"checks\.contract: found 'gone\.yaml', which is no file"):
        recipe(checks={"contract": "gone.yaml"})


FITTING = {
    "exact_duplicate": {"same_bytes"},
    "duplicate_conflicting_label": {"duplicate_two_labels"},
    "duplicate_across_splits": {"duplicate_across_splits"},
    "near_duplicate": {"near_duplicate", "same_pixels"},
    "tiny": {"tiny"},
    "extreme_aspect": {"odd_aspect"},
    "blank": {"blank"},
    "grayscale": {"gray"},
    "sixteen_bit": {"low_bit_depth", "gray"},
}


def test_the_messy_folder_is_refused_for_its_faults(corpus: Path, tmp_path: Path) -> None:
    """Each fault by a fitting code; of the sound rows that truth does not pair with a copy, next to none."""
    source = corpus / "datasets" / "messy_a"
    plain = {
        "dataset": "messy",
        "source": {"path": str(source / "data")},
        "image": {"rows": 64, "cols": 64},
        "splits": {"from": "folder"},
        "checks": ALLOWED,
        "publish": {"to": str(tmp_path)},
    }
    version = run_ingest(parse_recipe(plain)).version
    assert version is not None
    verdict = nhwc.gate(version.dataset)
    paths = dict(version.manifest.select("sample_id", "path").iter_rows())
    codes: dict[str, set[str]] = {}
    refused: set[str] = set()
    for one in (*verdict.violations, *verdict.warnings):
        if one.sample_id:
            codes.setdefault(paths[one.sample_id], set()).add(str(one.code))
    for one in verdict.violations:
        if one.sample_id:
            refused.add(paths[one.sample_id])
    truth = pl.read_csv(source / "truth.csv", infer_schema=False)
    for path, fault in truth.select("path", "fault").iter_rows():
        assert fault not in FITTING or FITTING[fault] & codes.get(path, set()), (path, fault, codes.get(path))
    paired = set(truth.filter(pl.col("same_bytes_group").is_not_null() | pl.col("group").is_not_null())["path"])
    sound = set(truth.filter(pl.col("fault") == "none")["path"]) - paired
    assert len(sound & refused) <= 2
    assert len(sound & codes.keys()) <= 8
    dataset_codes = {str(one.code) for one in verdict.warnings if one.sample_id is None}
    assert {"empty_class", "case_twins"} <= dataset_codes


def test_natural_photographs_pass(corpus: Path, tmp_path: Path) -> None:
    """The default rules have next to no false alarms on ordinary photographs."""
    plain = {
        "dataset": "flowers",
        "source": {"path": str(corpus / "datasets" / "flowers")},
        "image": {"rows": 64, "cols": 64},
        "publish": {"to": str(tmp_path)},
    }
    verdict = nhwc.gate(nhwc.ingest(parse_recipe(plain), direct=True).dataset)
    assert verdict.passed
    assert len(verdict.warnings) <= 4

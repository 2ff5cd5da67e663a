"""Real sets give no false alarm by the default thresholds, and the faults of messy_a are found. Needs NHWC_CORPUS."""

import gzip

import numpy as np
import polars as pl
import pytest

from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import parse_recipe
from nhwc.validators.balance import BalanceThresholds, class_table, judge_balance
from nhwc.validators.splits import assign_splits

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def ingested(source, into, **parts):
    """What an ingest of a folder to 8 x 8 came to."""
    plain = {
        "dataset": "corpus",
        "source": {"path": str(source)},
        "image": {"rows": 8, "cols": 8},
        "checks": {"bad_fraction": 1, "bad_fraction_per_class": 1},
        "publish": {"to": str(into)},
    }
    return run_ingest(parse_recipe(plain | parts))


def judged(run):
    """(code, aspect, found) of every finding by the default thresholds."""
    found = judge_balance(run.manifest, run.version.classes, BalanceThresholds())
    return [(str(one.code), one.aspect, one.found) for one in found]


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("clothing/train", 1.0),
        ("clothing/validation", 6.5),
        ("clothing/test", 5.9),
        ("flowers", 1.0),
        ("sign_digits", 1.0),
        ("clipart", 1.08),
        ("cells_tiff", 4.0),
    ],
)
def test_real_sets_give_no_finding(corpus, tmp_path, name, most):
    """Divided by shares, under a hundred seeds: every class is learnt and measured as well as its number allows, and
    the largest has at most so many times the images in train of the smallest."""
    run = ingested(corpus / "datasets" / name, tmp_path, splits=SHARES)
    assert [] == judged(run)
    kept = run.manifest.filter(pl.col("status") == "kept").select("status", "label", "cluster")
    for seed in range(100):
        splits = assign_splits(kept.select("label", group="cluster"), SHARES, seed=seed)
        manifest = kept.join(splits, left_on="cluster", right_on="group", how="left")
        assert () == judge_balance(manifest, run.version.classes, BalanceThresholds())
        train = class_table(manifest, run.version.classes)["train"]
        assert train.max() <= most * train.min()


def test_given_splits_of_clothing_give_no_finding(corpus, tmp_path):
    """24 of each class in train, 48 to 157 in all."""
    assert [] == judged(ingested(corpus / "datasets" / "clothing", tmp_path, splits={"from": "folder"}))


def test_fashion_mnist_gives_no_finding(corpus):
    """Ten classes of 1,000, divided by shares."""
    file = corpus / "datasets" / "fashion_mnist_idx" / "t10k-labels-idx1-ubyte.gz"
    labels = np.frombuffer(gzip.decompress(file.read_bytes())[8:], np.uint8)
    samples = [(str(number), str(label)) for number, label in enumerate(labels)]
    frame = pl.DataFrame(samples, schema=["group", "label"], orient="row")
    splits = dict(assign_splits(frame, SHARES, seed=7).rows())
    manifest = pl.DataFrame(
        {
            "status": "kept",
            "label": [label for _, label in samples],
            "split": [splits[sample] for sample, _ in samples],
        }
    )
    classes = [str(number) for number in range(10)]
    assert [1000] * 10 == class_table(manifest, classes)["kept"].to_list()
    assert () == judge_balance(manifest, classes, BalanceThresholds())


def test_the_faults_of_the_messy_folder_are_found(corpus, tmp_path):
    """class_only_in_test refuses, class_with_one_image is named, and the case twin of hat, which has one image too."""
    run = ingested(corpus / "datasets" / "messy_a" / "data", tmp_path, splits={"from": "folder"})
    expected = [
        ("small_class", "class Hat", "1"),
        ("small_class", "class gloves", "1"),
        ("small_class", "class scarf", "1"),
        ("unlearnt_class", "class scarf", "none in train, 0 in validation, 1 in test"),
    ]
    assert expected == judged(run)

"""Classes as a whole: counted as by hand, and each finding names its class, what was found and what was expected."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandera.config import config_context
from pydantic import TypeAdapter, ValidationError

from nhwc.validators.balance import BalanceThresholds, class_table, judge_balance
from nhwc.validators.manifest import COLUMNS
from nhwc.validators.rules import judge
from nhwc.validators.violation import Code, Violation

DEFAULTS = BalanceThresholds()
CLASSES = ("cat", "dog", "owl")


def manifest_of(*entries):
    """A manifest's columns that matter, of (label, split, how many) or (label, split, how many, status)."""
    rows = [
        {"label": label, "split": split, "status": status[0] if status else "kept"}
        for label, split, count, *status in entries
        for _ in range(count)
    ]
    return pl.DataFrame(rows, schema={name: COLUMNS[name] for name in ("label", "split", "status")}, orient="row")


def split_80_10_10(label, count):
    """Entries of a class divided by 0.8, 0.1, 0.1."""
    tenth = count // 10
    return [(label, "train", count - 2 * tenth), (label, "validation", tenth), (label, "test", tenth)]


def said(manifest, classes=CLASSES, thresholds=DEFAULTS):
    """Code, aspect, expected and found of each finding: what a case states."""
    found = judge_balance(manifest, classes, thresholds)
    assert {"balance"} >= {one.stage for one in found}
    return [(str(one.code), one.aspect, one.expected, one.found) for one in found]


def test_the_class_table_counts_each_class():
    """A row a class in the order of the ids; skipped rows and strange labels do not count."""
    manifest = manifest_of(
        ("dog", "train", 3),
        ("dog", "test", 2),
        ("dog", None, 4, "quarantined"),
        ("dog", None, 9, "skipped"),
        ("cat", "validation", 1),
        ("eel", "train", 5),
        (None, None, 6, "quarantined"),
    )
    table = class_table(manifest, ("dog", "cat", "owl"))
    counts = dict.fromkeys(("kept", "quarantined", "train", "validation", "test"), pl.Int64)
    assert {"label": pl.String, "label_id": pl.Int32, **counts} == dict(table.schema)
    assert [("dog", 0, 5, 4, 3, 0, 2), ("cat", 1, 1, 0, 0, 1, 0), ("owl", 2, 0, 0, 0, 0, 0)] == table.rows()


@pytest.mark.parametrize(
    "manifest",
    [
        manifest_of(),
        manifest_of(("cat", "train", 2), ("dog", "train", 40), ("owl", "train", 30)),  # no other split
        manifest_of(("cat", None, 2), ("dog", None, 40), ("owl", None, 30)),  # no split at all
        manifest_of(*split_80_10_10("cat", 40), *split_80_10_10("dog", 800), *split_80_10_10("owl", 90)),
        manifest_of(("cat", "train", 4), *split_80_10_10("dog", 80), *split_80_10_10("owl", 70)),  # too few to divide
        manifest_of(*split_80_10_10("dog", 80), *split_80_10_10("owl", 70)),  # EMPTY_CLASS says it
        manifest_of(("cat", "train", 0), ("cat", None, 5, "quarantined"), *split_80_10_10("dog", 80)),
    ],
)
def test_what_is_in_order_gives_no_finding(manifest):
    """Nor does a class without any image, which ingest tells, or one too small for every split."""
    assert [] == said(manifest)


TWO = "2 or more images of it"


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (
            manifest_of(("cat", "train", 1), ("dog", "train", 30), ("owl", "train", 30)),
            [("small_class", "class cat", TWO, "1")],
        ),
        (
            manifest_of(("cat", "train", 10), ("dog", "train", 500), ("owl", "train", 25)),
            [
                (
                    "imbalance",
                    "class cat",
                    "at least 1 image in train for 20 of the largest class, dog",
                    "10 for 500, which is 1 for 50.0",
                )
            ],
        ),
        (
            manifest_of(("cat", None, 10), ("dog", None, 500)),
            [
                (
                    "imbalance",
                    "class cat",
                    "at least 1 image in train for 20 of the largest class, dog",
                    "10 for 500, which is 1 for 50.0",
                )
            ],
        ),
        (
            manifest_of(("cat", "validation", 3), ("cat", "test", 4), *split_80_10_10("dog", 50)),
            [("unlearnt_class", "class cat", "images of it in train", "none in train, 3 in validation, 4 in test")],
        ),
        (
            manifest_of(("cat", "test", 1), *split_80_10_10("dog", 50)),
            [
                ("small_class", "class cat", TWO, "1"),
                ("unlearnt_class", "class cat", "images of it in train", "none in train, 0 in validation, 1 in test"),
            ],
        ),
        (
            manifest_of(("cat", "train", 20), *split_80_10_10("dog", 50)),
            [("unmeasured_class", "class cat", "images of it in validation or test", "all 20 in train")],
        ),
        (
            manifest_of(("cat", "train", 20), ("dog", "train", 40), ("dog", "validation", 10)),
            [("unmeasured_class", "class cat", "images of it in validation or test", "all 20 in train")],
        ),
        (
            manifest_of(("cat", "test", 5), ("dog", "validation", 5), ("owl", "test", 1)),
            [
                ("no_train", "train", "images in train", "none, and 11 in validation and test"),
                ("small_class", "class owl", TWO, "1"),
            ],
        ),
    ],
)
def test_each_finding_names_its_class(manifest, expected):
    """Which rule, which class, what it has and what it needs; every finding at once."""
    assert expected == said(manifest)


@pytest.mark.parametrize(
    ("thresholds", "codes"),
    [
        ({}, []),
        ({"fewest": 41}, ["small_class"]),
        ({"imbalance": 1.9}, ["imbalance"]),
        ({"imbalance": 2}, []),
        ({"held_out": 0.1}, []),
        ({"fewest": 41, "imbalance": 1.9}, ["small_class"]),  # one finding a class about its number
    ],
)
def test_a_threshold_is_what_the_recipe_says(thresholds, codes):
    """40 and 80 images: at the threshold nothing is found, beyond it it is."""
    manifest = manifest_of(*split_80_10_10("cat", 40), *split_80_10_10("dog", 80))
    assert codes == [code for code, *_ in said(manifest, ("cat", "dog"), BalanceThresholds(**thresholds))]


def test_a_class_in_train_alone_is_found_where_it_could_have_been_divided():
    """3 of 23 images are held out: of a class of 7 that would be 0.91, of one of 8 it is 1.04."""
    for count, codes in ((7, []), (8, ["unmeasured_class"])):
        other = manifest_of(("dog", "train", 20 - count), ("dog", "test", 3))
        manifest = pl.concat([other, manifest_of(("cat", "train", count))])
        assert codes == [code for code, *_ in said(manifest, thresholds=BalanceThresholds(held_out=1))]


def test_many_classes_are_told_in_number():
    """Twenty are named; a long tail does not flood the verdict."""
    classes = [f"c{number}" for number in range(25)]
    found = said(manifest_of(*((name, "train", 1) for name in classes)), classes)
    assert [f"class {name}" for name in classes[:20]] == [aspect for _, aspect, _, _ in found[:20]]
    assert [("small_class", "classes", TWO, "5 more")] == found[20:]


def test_a_violation_reads_as_any_other():
    """Stage balance, no single sample, the code's own mend."""
    expected = Violation(
        code=Code.SMALL_CLASS, stage="balance", aspect="class cat", expected="2 or more images of it", found="1"
    )
    assert (expected,) == judge_balance(manifest_of(("cat", "train", 1)), ("cat",), DEFAULTS)


def test_what_cannot_be_learnt_refuses_and_all_else_warns():
    """No image to learn from makes a training wrong; few of them make it worse."""
    codes = (Code.SMALL_CLASS, Code.IMBALANCE, Code.UNLEARNT_CLASS, Code.UNMEASURED_CLASS, Code.NO_TRAIN)
    violations = [Violation(code=code, stage="balance", aspect="a", expected="b", found="c") for code in codes]
    verdict = judge(violations, {}, {})
    assert [Code.UNLEARNT_CLASS, Code.NO_TRAIN] == [one.code for one in verdict.violations]
    assert [Code.SMALL_CLASS, Code.IMBALANCE, Code.UNMEASURED_CLASS] == [one.code for one in verdict.warnings]


def test_it_is_checked_where_pandera_is_switched_off():
    """PANDERA_VALIDATION_ENABLED=False, set for another program, would let any frame pass."""
    with config_context(validation_enabled=False):
        assert [("small_class", "class cat", TWO, "1")] == said(manifest_of(("cat", "train", 1)))


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ('{"fewst": 3}', "fewst\n  Unexpected keyword argument"),
        ('{"fewest": 0}', "fewest\n  Input should be greater than or equal to 1"),
        ('{"fewest": 2.5}', "fewest\n  Input should be a valid integer"),
        ('{"imbalance": 0.9}', "imbalance\n  Input should be greater than or equal to 1"),
        ('{"imbalance": NaN}', "imbalance\n  Input should be"),
        ('{"held_out": 0}', "held_out\n  Input should be greater than 0"),
    ],
)
def test_a_recipes_wrong_threshold_is_refused(plain, message):
    """Unknown keys and numbers that make no sense are errors of the recipe."""
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(BalanceThresholds).validate_json(plain, strict=True)


ROWS = st.lists(
    st.tuples(
        st.sampled_from([*CLASSES, "eel", None]),
        st.sampled_from(["train", "validation", "test", None]),
        st.integers(0, 12),
        st.sampled_from(["kept", "kept", "quarantined", "skipped"]),
    ),
    max_size=20,
)


@given(rows=ROWS, fewest=st.integers(1, 20), imbalance=st.integers(1, 20))
def test_the_findings_agree_with_a_count_by_hand(rows, fewest, imbalance):
    """Each class against each rule, counted one image after another."""
    held = Counter()
    for label, split, count, status in rows:
        if status == "kept" and label in CLASSES:
            held[label, split] += count
    names = ("train", "validation", "test")
    table = {label: {split: held[label, split] for split in (*names, None)} for label in CLASSES}
    train = sum(row["train"] for row in table.values())
    others = sum(row["validation"] + row["test"] for row in table.values())
    learnt = {label: row["train"] if train or others else row[None] for label, row in table.items()}
    expected = {("no_train", "train")} if others and not train else set()
    for label, row in table.items():
        kept, elsewhere = sum(row.values()), row["validation"] + row["test"]
        if 0 < kept < fewest:
            expected.add(("small_class", f"class {label}"))
        elif learnt[label] and learnt[label] * imbalance < max(learnt.values()) and (train or not others):
            expected.add(("imbalance", f"class {label}"))
        if train and elsewhere and not row["train"]:
            expected.add(("unlearnt_class", f"class {label}"))
        if others and row["train"] and not elsewhere and row["train"] * (others / (train + others)) >= 2:
            expected.add(("unmeasured_class", f"class {label}"))
    manifest, thresholds = manifest_of(*rows), BalanceThresholds(fewest=fewest, imbalance=imbalance)
    found = [(code, aspect) for code, aspect, _, _ in said(manifest, thresholds=thresholds)]
    assert sorted(expected) == sorted(found)
    columns = ("kept", "quarantined", *names)
    assert [sum(row.values()) for row in table.values()] == class_table(manifest, CLASSES)["kept"].to_list()
    assert [[row[split] for row in table.values()] for split in names] == [
        class_table(manifest, CLASSES)[split].to_list() for split in columns[2:]
    ]

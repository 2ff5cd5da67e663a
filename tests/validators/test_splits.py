"""Splits are exact by class, and no order, group or later image can move a sample."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nhwc.validators.splits import SPLIT_NAMES, assign_splits

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}

groups = st.text("abcdefgh0123456789", min_size=1, max_size=6)
labels = st.sampled_from(["cat", "dog", "hat"])
samples = st.lists(st.tuples(groups, labels), max_size=60)
single_samples = st.lists(st.tuples(groups, labels), max_size=120, unique_by=lambda sample: sample[0])
seeds = st.integers(0, 2**32)


def assign(
    samples: list[tuple[str, str]], fractions: dict[str, float], *, seed: int, settled: dict[str, str] | None = None
) -> dict[str, str]:
    """The split of each group, by group."""
    frame = pl.DataFrame(samples, schema={"group": pl.String, "label": pl.String}, orient="row")
    splits = {"group": pl.String, "split": pl.String}
    before = None if settled is None else pl.DataFrame(list(settled.items()), schema=splits, orient="row")
    return dict(assign_splits(frame, fractions, seed=seed, settled=before).rows())


@st.composite
def fractions(draw):
    """Shares of two to four splits, some zero, adding up to 1 as closely as floats do."""
    parts = draw(st.lists(st.integers(0, 20), min_size=2, max_size=4).filter(any))
    return {
        name: part / sum(parts) for name, part in zip(("train", "validation", "test", "spare"), parts, strict=False)
    }


@given(st.data(), samples, fractions(), seeds)
def test_the_listing_order_does_not_matter(data, samples, fractions, seed):
    """The same samples in any order get the same splits."""
    shuffled = data.draw(st.permutations(samples))
    assert assign(samples, fractions, seed=seed) == assign(shuffled, fractions, seed=seed)


@given(samples, fractions(), seeds)
def test_every_group_gets_one_known_split(samples, fractions, seed):
    """A group is assigned once, whatever the number and classes of its samples: it never parts."""
    assigned = assign(samples, fractions, seed=seed)
    assert {group for group, _ in samples} == assigned.keys()
    assert set(assigned.values()) <= fractions.keys()


@given(samples, samples, fractions(), seeds, seeds)
def test_later_samples_move_none(before, later, fractions, seed, other_seed):
    """With the earlier assignment settled, added samples leave it as it is, even under another seed."""
    settled = assign(before, fractions, seed=seed)
    after = assign(before + later, fractions, seed=other_seed, settled=settled)
    assert settled == {group: after[group] for group in settled}
    assert {group for group, _ in before + later} == after.keys()


@given(single_samples, fractions(), seeds)
def test_each_class_is_within_one_sample_of_its_share(samples, fractions, seed):
    """Where each group is one sample, every split of every class is its exact share, rounded up or down."""
    assigned = assign(samples, fractions, seed=seed)
    totals = Counter(label for _, label in samples)
    held = Counter((label, assigned[group]) for group, label in samples)
    for label, total in totals.items():
        for split, share in fractions.items():
            assert abs(held[label, split] - share * total) < 1 + 1e-9


@given(samples, samples, fractions(), seeds)
def test_a_split_without_a_share_gets_nothing(before, later, fractions, seed):
    """Zero means none, for groups of any size and after a settled version too."""
    settled = assign(before, fractions, seed=seed)
    after = assign(before + later, fractions, seed=seed, settled=settled)
    assert all(fractions[split] > 0 for split in after.values())


@pytest.mark.parametrize("fractions", [{"none": 0.0, "train": 1.0}, {"none": 0.0, "train": 0.5}])
def test_a_split_without_a_share_gets_nothing_though_it_stands_first(fractions):
    """Neither a tie nor fractions that fall short of 1 fill it."""
    assigned = assign([(str(n), "cat") for n in range(9)], fractions, seed=0)
    assert {"train"} == set(assigned.values())


def test_another_seed_is_another_assignment():
    """Ten seeds give ten assignments of the same thousand samples."""
    thousand = [(f"{n:04}", "cat") for n in range(1000)]
    assignments = [assign(thousand, FRACTIONS, seed=seed) for seed in range(10)]
    assert 10 == len({tuple(sorted(assignment.items())) for assignment in assignments})
    assert all({"train": 800, "validation": 100, "test": 100} == Counter(each.values()) for each in assignments)


def test_the_assignment_is_the_same_on_every_machine_and_day():
    """The order is that of SHA-256, which this golden assignment pins: published splits must not move."""
    ten = [(f"{n:02}", "cat") for n in range(10)]
    assigned = assign(ten, FRACTIONS, seed=7)
    assert {"05": "validation", "02": "test"} == {group: split for group, split in assigned.items() if split != "train"}


def test_new_samples_fill_what_is_short():
    """After ten samples that all went to train, the next ones go where shares are missing."""
    settled = {f"{n:02}": "train" for n in range(10)}
    twenty = [(f"{n:02}", "cat") for n in range(20)]
    after = assign(twenty, {"train": 0.5, "test": 0.5}, seed=0, settled=settled)
    assert {"train": 10, "test": 10} == Counter(after.values())


def test_a_settled_split_that_is_no_longer_asked_for_is_assigned_anew():
    """A recipe that drops a split frees its samples."""
    after = assign([("a", "cat")], {"train": 1.0}, seed=0, settled={"a": "test"})
    assert {"a": "train"} == after


def test_a_group_counts_for_its_first_class():
    """A group with two labels fills the share of the one that sorts first, in any listing order."""
    others = [(f"{n}", "cat") for n in range(8)] + [(f"d{n}", "dog") for n in range(10)]
    mixed, plain = [("twin", "dog"), ("twin", "cat")], [("twin", "cat"), ("twin", "cat")]
    expected = assign(plain + others, FRACTIONS, seed=3)
    assert expected == assign(mixed + others, FRACTIONS, seed=3)
    assert expected == assign(others + mixed[::-1], FRACTIONS, seed=3)


def test_spellings_lead_to_three_splits():
    """Every spelling is lower case and leads to one of the names that are published."""
    assert {"train", "validation", "test"} == set(SPLIT_NAMES.values())
    assert all(spelling == spelling.lower() for spelling in SPLIT_NAMES)
    assert all(name == SPLIT_NAMES[name] for name in SPLIT_NAMES.values())

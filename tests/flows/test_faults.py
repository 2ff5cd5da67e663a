"""Every fault is found and named, fault by fault, and sound photographs pass. Needs NHWC_CORPUS."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SEED = 41


@pytest.fixture(scope="module")
def faults() -> Iterator[ModuleType]:
    """The script that prints the tables: what it prints is what is held to here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield importlib.import_module("faults")


def assert_found(faults, truth, found):
    """Every fault as it should be, and hardly an alarm on what is sound; else the whole table is shown."""
    shown = faults.shown(truth, found)
    refused, warned = faults.alarms(truth, found)
    assert set() == {line.fault for line in faults.table(truth, found) if line.verdict == "MISSED"}, shown
    assert len(refused) <= faults.MOST_REFUSED, shown
    assert len(warned) <= faults.MOST_WARNED, shown


def test_every_fault_of_the_messy_set_is_found_and_named(faults, corpus):
    """Each row of truth.csv fares as it says, by a fitting code."""
    truth = faults.messy_truth(corpus)
    assert 208 == sum(one.fault == "none" for one in truth)
    assert_found(faults, truth, faults.look(corpus / "datasets" / "messy_a" / "data"))


def test_every_fault_that_is_injected_is_found_and_named(faults, corpus):
    """Of faults that a seed puts into sound photographs all are found, at least five files of each that one can have;
    in the table is every entry of the set, and nothing else."""
    truth, found = faults.injected(corpus, SEED, sound=120)
    assert {one.path for one in truth} == {*found.statuses} | {"train/empty_class"}
    assert_found(faults, truth, found)


def test_photographs_pass_the_gate(faults, corpus):
    """With the default rules nothing refuses clothing and flowers, and no rule flags two images in a hundred."""
    with faults.both(corpus) as photographs:
        passed, shares = faults.false_alarms(photographs, splits="hash")
    assert passed
    assert {} == {code: share for code, share in shares.items() if share >= faults.MOST_ALARMED}

"""On real photographs the default thresholds find what cleanvision 0.3.7 finds, and every fault. Needs NHWC_CORPUS."""

from collections import Counter, defaultdict
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from nhwc.pipelines.decode import Encoded, decode
from nhwc.pipelines.probe import probe
from nhwc.validators.errors import SampleRefused
from nhwc.validators.measure import measure
from nhwc.validators.quality import FIGURE_COLUMNS
from nhwc.validators.quality_rules import QualityThresholds, judge_quality

REFUSING = {"blank", "half_blank", "tiny"}
"""What a gate should refuse by default; all else warns."""

CLEANVISION = {
    ("clothing", "blurry"): {
        "test/pants/05814dc4-0520-47e6-91e0-402a971ba40a.jpg",
        "train/hat/324b3d8f-3a20-4668-b58b-b4083ed1039a.jpg",
        "validation/hat/014b2a1b-c5a0-469b-b115-bc02b2001db5.jpg",
        "validation/t-shirt/76f8420a-bcea-4bb8-a049-befa05315470.jpg",
        "validation/t-shirt/fb5dd646-6a9e-4666-ab78-74b463431f54.jpg",
    },
    ("messy_a/data", "dark"): {"train/pants/pants_0053.jpg"},
    ("messy_a/data", "light"): {
        "train/t-shirt/t-shirt_0029.jpg",
        "test/shoes/shoes_0048.png",
        "train/pants/pants_0050.png",
    },
    ("messy_a/data", "blurry"): {
        "train/pants/pants_0052.png",
        "train/shoes/shoes_0011.jpg",
        "train/dress/dress_0045.jpg",
    },
    ("messy_a/data", "low_information"): {
        "train/pants/pants_0052.png",
        "train/pants/pants_0053.jpg",
        "train/shoes/shoes_0050.jpg",
        "train/t-shirt/t-shirt_0029.jpg",
    },
    ("messy_a/data", "odd_aspect"): {"train/dress/dress_0045.jpg"},
    ("messy_a/data", "gray"): {
        "train/hat/hat_0041.jpg",
        "train/shirt/shirt_0045.jpg",
        "train/shirt/shirt_0046.jpg",
        "train/shoes/shoes_0045.jpg",
    },
}
"""What cleanvision 0.3.7 finds with its defaults, in a run of its own, by set and issue; nothing for the others."""

DIFFERENCES = {
    ("messy_a/data", "light"): {"test/shoes/shoes_0048.png", "train/pants/pants_0050.png"},  # it reads 16 bits as 8
    ("messy_a/data", "gray"): {"test/shoes/shoes_0048.png", "train/pants/pants_0050.png"},  # nor does it see their mode
    ("messy_a/data", "blurry"): {"train/dress/dress_0045.jpg"},  # 24 x 2600, which it shrinks to one row
}
"""Where we differ, and why."""

ISSUES = ("dark", "light", "blurry", "low_information", "odd_aspect", "gray")

SCHEMA = {"sample_id": pl.String, "rows": pl.Int64, "cols": pl.Int64, "orientation": pl.Int32, **FIGURE_COLUMNS}


def measured(folder):
    """The rows of a folder's readable images; sample_id is the path inside it."""
    rows = []
    for path in sorted(folder.rglob("*.*")):
        content = path.read_bytes()
        try:
            facts = probe(content)
            pixels = decode(Encoded(content, facts))
        except SampleRefused:
            continue
        header = {"rows": facts.rows, "cols": facts.cols, "orientation": facts.orientation}
        rows.append({"sample_id": path.relative_to(folder).as_posix()} | header | asdict(measure(pixels)))
    return pl.DataFrame(rows, schema=SCHEMA)


@pytest.fixture(scope="module")
def kept(corpus):
    """The figures of each set."""
    return {name: measured(corpus / "datasets" / name) for name in ("messy_a/data", "clothing", "flowers")}


def findings(kept, *, rows=224, cols=224):
    """The sample_ids of each code."""
    found = judge_quality(kept, QualityThresholds(), rows=rows, cols=cols, channels=3)
    by_code = defaultdict(set)
    for sample_id, code in found.select("sample_id", "code").iter_rows():
        by_code[code].add(sample_id)
    return by_code


@pytest.mark.parametrize("issue", ISSUES)
@pytest.mark.parametrize("name", ["messy_a/data", "clothing", "flowers"])
def test_findings_are_cleanvisions(kept, name, issue):
    """Image by image the same, but for the differences that are named with their reason."""
    theirs = CLEANVISION.get((name, issue), set())
    assert theirs ^ DIFFERENCES.get((name, issue), set()) == findings(kept[name])[issue]


@pytest.mark.parametrize("target", [(224, 224), (64, 48)])
def test_false_alarms_on_photographs_are_under_two_percent(kept, target):
    """Of each rule, on each set of natural photographs and on both as one; and none that a gate would refuse."""
    for photographs in (kept["clothing"], kept["flowers"], pl.concat([kept["clothing"], kept["flowers"]])):
        found = findings(photographs, rows=target[0], cols=target[1])
        assert {} == {code: ids for code, ids in found.items() if len(ids) >= 0.02 * photographs.height}
        assert set() == found.keys() & REFUSING


def test_faults_of_the_messy_set_are_found(kept, corpus):
    """All of the faults that pixels show, by a fitting code; of those without a fault, one is blurry."""
    truth = pl.read_csv(corpus / "datasets" / "messy_a" / "truth.csv", infer_schema_length=None)
    fault_of = dict(truth.select("path", "fault").iter_rows())
    found = findings(kept["messy_a/data"], rows=64, cols=48)
    seen = {(fault_of[sample], code) for code, ids in found.items() for sample in ids}
    counts = Counter((fault_of[sample], code) for code, ids in found.items() for sample in ids)
    assert {("none", "blurry")} == {pair for pair in seen if pair[0] == "none"}
    expected = {
        ("blank", "blank"): 2,
        ("tiny", "tiny"): 3,
        ("extreme_aspect", "odd_aspect"): 1,
        ("oversize", "odd_size"): 1,
        ("damaged_but_decodable", "half_blank"): 2,
        ("grayscale", "gray"): 4,
        ("sixteen_bit", "low_bit_depth"): 2,
        ("none", "blurry"): 1,
    }
    assert expected == {pair: counts[pair] for pair in expected}


@pytest.fixture(scope="module")
def photographs(corpus):
    """Thirty decoded photographs that a seed chose."""
    files = sorted((corpus / "datasets" / "clothing" / "validation").rglob("*.jpg"))
    chosen = np.random.default_rng(41).choice(len(files), 30, replace=False)
    contents = [files[index].read_bytes() for index in chosen]
    return [(content, decode(Encoded(content, probe(content)))) for content in contents]


def cut(content, share):
    """A JPEG whose data ends early, with an end marker, so that decoders take it."""
    return content[: int(len(content) * share)] + b"\xff\xd9"


def zeroed(content, share):
    """A JPEG whose data are zeros from there on."""
    kept_bytes = int(len(content) * share)
    return content[:kept_bytes] + bytes(len(content) - kept_bytes - 2) + b"\xff\xd9"


@pytest.mark.parametrize(
    ("damage", "share", "least"), [(cut, 0.3, 1), (cut, 0.6, 1), (zeroed, 0.3, 0.9), (zeroed, 0.6, 0.9)]
)
def test_damage_that_decoders_accept_is_found(photographs, damage, share, least):
    """A cut JPEG leaves gray, zeros leave one block for ever and then gray: over half must be found."""
    shares = []
    for content, _ in photographs:
        damaged = damage(content, share)
        pixels = decode(Encoded(damaged, probe(content)))
        shares.append(measure(pixels).fill_share >= QualityThresholds().half_blank)
    assert np.mean(shares) >= least

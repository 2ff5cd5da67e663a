"""The audit, quality and duplicates: how fast, and what it names, beside cleanvision.

python benchmarks/auditing.py "nhwc audit"|cleanvision FOLDER     what is named, by path, as JSON
"""

# ruff: noqa: PLC0415  each audit imports what it is, in its own process
from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
from again import run_json
from contenders import LIMIT, PASSES, interpreter, raced
from lines import Line, Say, rounds
from photographs import CORES, contents, write_copies

PLANTED = {
    "dark": ({"dark"}, {"dark"}),
    "light": ({"light"}, {"light"}),
    "blurred": ({"blurry"}, {"blurry"}),
    "low_information": ({"low_information"}, {"low_information"}),
    "gray_as_colour": ({"gray"}, {"grayscale"}),
    "extreme_aspect": ({"odd_aspect"}, {"odd_aspect_ratio"}),
    "odd_size": ({"odd_size", "tiny"}, {"odd_size"}),
    "exact_duplicate": ({"same_bytes"}, {"exact_duplicates"}),
    "encoded_again": ({"same_pixels", "near_duplicate"}, {"near_duplicates"}),
}
"""The faults that both audits look for, and what nhwc and cleanvision call them."""


def plant(folder: Path, count: int, each: int) -> dict[str, str]:
    """That many sound photographs, and of every fault some; the fault by path."""
    from inject import COPIES, PIXELS, Photograph

    write_copies(folder, count)
    rng = np.random.default_rng(7)
    planted = {}
    for kind, fault in enumerate(PLANTED):
        for number in range(each):
            content = contents()[kind * each + number]  # copies stand beside their originals
            suffix, change = (".jpg", COPIES[fault]) if fault in COPIES else PIXELS[fault][1:]
            path = folder / "class_0" / f"{fault}_{number}{suffix}"
            path.write_bytes(change(Photograph(content=content, rng=rng)))
            planted[f"class_0/{path.name}"] = fault
    return planted


def named_by_ours(folder: Path) -> dict[str, set[str]]:
    """What `nhwc audit` names, by path."""
    from nhwc.flows.audit import audited
    from nhwc.flows.gate import GateOptions, judge_subject

    subject = audited(folder)
    verdict = judge_subject(subject, GateOptions())
    found = (*verdict.violations, *verdict.warnings)
    paths = subject.paths(found)
    named: dict[str, set[str]] = defaultdict(set)
    for one in found:
        if one.sample_id is not None:
            named[paths[one.sample_id]].add(str(one.code))
    return named


def named_by_cleanvision(folder: Path) -> dict[str, set[str]]:
    """What cleanvision names, by path."""
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder), verbose=False)
    lab.find_issues(n_jobs=CORES, verbose=False)
    flags = [column for column in lab.issues.columns if column.startswith("is_")]
    return {
        str(Path(path).relative_to(folder)): {flag[3:-6] for flag in flags if row[flag]}
        for path, row in lab.issues.iterrows()
    }


NAMED = {"nhwc audit": named_by_ours, "cleanvision": named_by_cleanvision}


def audit(asked: argparse.Namespace, say: Say, home: Path, repeats: int) -> None:
    """I3."""
    folder = (home / "audited").resolve()
    planted = plant(folder, 120 if asked.quick else min(600, len(contents())), 3 if asked.quick else 8)
    rates = raced([*NAMED, LIMIT], folder, asked, antialias=True, repeats=min(3, repeats))
    if "cleanvision" in rates.left_out:
        print(f"I3 left out: {rates}", file=sys.stderr)
        return
    about = partial(Line, demand="I3", beside="cleanvision", **rates.beside("nhwc audit", "cleanvision"))
    say(about(name="audit: quality and duplicates", needed=10.0, said=str(rates)))
    found = {}
    for place, name in enumerate(NAMED):
        python = interpreter([sys.executable, *asked.peers], PASSES[name][0])
        by_path = run_json("auditing.py", name, str(folder), python=python)
        found[name] = {path for path, fault in planted.items() if PLANTED[fault][place] & set(by_path.get(path, ()))}
    ours, theirs = found.values()
    missed = ", ".join(sorted({planted[path] for path in theirs - ours}))
    said = f"of {len(planted)} planted faults nhwc names {len(ours)}, cleanvision {len(theirs)}"
    about = partial(Line, demand="I3", beside="cleanvision", unit="share", said=f"{said}; only it: {missed or 'none'}")
    name = "planted faults that cleanvision names, named by nhwc too"
    say(about(name=name, needed=1.0, **rounds([len(ours & theirs) / len(theirs)])))


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    print(json.dumps({path: sorted(names) for path, names in NAMED[name](Path(folder)).items()}))

"""Ingest what is hostile, and say what became of it: the breaking corpus, file-system cases, and mutated files.

    NHWC_CORPUS=... python benchmarks/hostile.py [--mutated 5000] [--seed 1]

Each set is one ingest in a process of its own, by all cores. Fails where anything is unhandled, a file is not accounted
for, or the process that ingests came to need more than 500 MB above its start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from mutating import corpus_files, mutated

MOST_MB = 500
CONTAINED = ("decoder_died", "too_slow", "out_of_memory")
FILES_A_FOLDER = 500


def resident_mb(name: str) -> float:
    """VmRSS, or VmHWM: the most of it since it was last forgotten."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(f"{name}:"))


def ingest(source: Path, into: Path) -> dict[str, object]:
    """One ingest in this process, and what there is to say of it."""
    from nhwc.flows import shards  # noqa: PLC0415  the start is what ingest imports, which is not TensorFlow
    from nhwc.flows.contained import contained_thumbnail  # noqa: PLC0415
    from nhwc.flows.ingest import run_ingest  # noqa: PLC0415
    from nhwc.flows.parallel import on_all_cores  # noqa: PLC0415
    from nhwc.flows.recipe import parse_recipe  # noqa: PLC0415

    times: dict[str, tuple[float, str]] = {}
    prepare = shards.prepare_contained

    def timed(content: bytes, **parts: object) -> object:
        begun = time.perf_counter()
        prepared = prepare(content, **parts)
        times[parts["sample_id"]] = time.perf_counter() - begun, prepared.decoder or "none"
        return prepared

    list(on_all_cores(contained_thumbnail, [b"no image"] * 8))  # children that are ready: their start is no file's time
    shards.prepare_contained = timed
    recipe = parse_recipe(
        {
            "dataset": "hostile",
            "source": {"path": str(source)},
            "image": {"rows": 64, "cols": 48, "extension": "any"},
            "publish": {"to": str(into)},
            "checks": {"bad_fraction": 1, "bad_fraction_per_class": 1},
        }
    )
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the most memory until now
    start, begun = resident_mb("VmRSS"), time.perf_counter()
    ingested = run_ingest(recipe)
    manifest, seconds = ingested.manifest, time.perf_counter() - begun
    slowest = max(times, key=lambda name: times[name])
    (path,) = manifest.filter(sample_id=slowest)["path"]
    return {
        "discovered": manifest.height,
        "status": dict(Counter(manifest["status"])),
        "codes": dict(Counter(manifest["code"].drop_nulls()).most_common()),
        "peak": resident_mb("VmHWM") - start,
        "seconds": seconds,
        "slowest": f"{times[slowest][0]:.2f} s, {path} ({times[slowest][1]})",
    }


def measure(name: str, source: Path) -> bool:
    """One set, in a process of its own; whether all held."""
    entries = sum(len(files) for _, _, files in os.walk(source))
    with tempfile.TemporaryDirectory() as into:
        command = [sys.executable, __file__, "--one", str(source), "--into", into]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: UNHANDLED, status {done.returncode}\n{done.stderr[-3000:]}")
        return False
    told = json.loads(done.stdout.splitlines()[-1])
    contained = {code: told["codes"].get(code, 0) for code in CONTAINED}
    print(f"{name}: {entries:,} files, {told['discovered']:,} entries accounted for, in {told['seconds']:.0f} s")
    print(f"  {', '.join(f'{count:,} {status}' for status, count in told['status'].items())}; unhandled 0")
    print(f"  contained: {', '.join(f'{code} {count}' for code, count in contained.items())}")
    print(f"  most memory of the ingesting process above its start: {told['peak']:.0f} MB (limit {MOST_MB})")
    print(f"  slowest file: {told['slowest']}")
    print("  by code: " + ", ".join(f"{code} {count}" for code, count in told["codes"].items()), flush=True)
    return told["peak"] <= MOST_MB and told["discovered"] >= entries


def write_mutated(corpus: Path, into: Path, *, number: int, seed: int) -> None:
    """So many mutated files, in folders; the same ones for the same seed."""
    paths, rng = corpus_files(corpus), np.random.default_rng(seed)
    originals = [path.read_bytes() for path in paths]
    for count in range(number):
        folder = into / f"class_{count // FILES_A_FOLDER}"
        folder.mkdir(exist_ok=True)
        content = mutated(originals, rng)
        suffix = "jpg" if content.startswith(b"\xff\xd8") else "png"
        (folder / f"{count:06}.{suffix}").write_bytes(content)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--mutated", type=int, default=5000)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--one", type=Path)
    asked.add_argument("--into", type=Path)
    options = asked.parse_args()
    if options.one:
        print(json.dumps(ingest(options.one, options.into)))
        return 0
    corpus = Path(os.environ["NHWC_CORPUS"])
    with tempfile.TemporaryDirectory() as scratch:
        cases, hurt = Path(scratch, "cases"), Path(scratch, "mutated")
        hurt.mkdir()
        with tarfile.open(corpus / "breaking" / "fs_cases.tar") as tar:
            tar.extractall(cases, filter="fully_trusted")  # links out of it are what it is for
        write_mutated(corpus, hurt, number=options.mutated, seed=options.seed)
        sets = {"breaking": corpus / "breaking", "fs_cases.tar": cases / "fs_a"}
        sets[f"{options.mutated:,} mutated files, seed {options.seed}"] = hurt
        held = [measure(name, source) for name, source in sets.items()]
        return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())

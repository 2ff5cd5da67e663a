"""Mutated corpus files through the whole preparation, for as long as is asked; what is unhandled is kept, by its seed.

    NHWC_CORPUS=... python benchmarks/fuzz.py --minutes 10 [--seed N] [--keep FOLDER]

Each file is decoded as an ingest decodes it, and its header read. Anything but an image or a refusal in nhwc's words
ends it with status 1; so does a child that died or was too slow, though the ingest itself would go on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from mutating import corpus_files, mutated

from nhwc.flows.contained import contained_thumbnail, prepare_contained
from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.pipelines.image import image_stages
from nhwc.pipelines.image_recipe import ImageRecipe

CONTAINED = ("decoder_died", "too_slow", "out_of_memory")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=1)
    asked.add_argument("--seed", type=int, default=int(time.time()))
    asked.add_argument("--keep", type=Path, default=Path("fuzz"))
    options = asked.parse_args()
    originals = [path.read_bytes() for path in corpus_files(Path(os.environ["NHWC_CORPUS"]))]
    recipe, rng = ImageRecipe(rows=64, cols=48, extension="any"), np.random.default_rng(options.seed)
    stages, codes, bad, slowest = image_stages(recipe), Counter[str](), 0, 0.0
    with silenced_native_stderr():
        import tensorflow  # noqa: F401, PLC0415  before the time is measured, as a child's start

        contained_thumbnail(b"no image")
        until = time.monotonic() + 60 * options.minutes
        while time.monotonic() < until:
            content, begun = mutated(originals, rng), time.perf_counter()
            try:
                prepared = prepare_contained(content, suffix="", recipe=recipe, stages=stages, sample_id="fuzz")
                code = str(prepared.violations[0].code) if prepared.violations else "kept"
                unhandled = (prepared.array is None) != bool(prepared.violations)
            except Exception as error:  # that is what it looks for
                code, unhandled = f"unhandled {type(error).__name__}: {error}", True
            codes[code] += 1
            slowest = max(slowest, time.perf_counter() - begun)
            if unhandled or code in CONTAINED:
                bad += 1
                options.keep.mkdir(exist_ok=True)
                (options.keep / f"{options.seed}_{codes.total()}").write_bytes(content)
    print(f"seed {options.seed}: {codes.total():,} files, {bad} to look at; slowest {slowest:.2f} s")
    print("  " + ", ".join(f"{code} {count}" for code, count in codes.most_common()))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

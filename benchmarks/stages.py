"""Where the time of one image goes in an ingest: the fastest of seven turns of each stage, in one thread.

NHWC_CORPUS=... python benchmarks/stages.py [--images 100]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from nhwc.pipelines.decode import Encoded
from nhwc.pipelines.image import image_stages
from nhwc.pipelines.image_recipe import ImageRecipe, ResizeRecipe
from nhwc.pipelines.probe import admit, probe
from nhwc.pipelines.stage import run_stages
from nhwc.validators.measure import measure
from nhwc.validators.moments import channel_moments
from nhwc.validators.perceptual import perceptual_hash

TURNS = 7


def main() -> None:
    """Print a row a stage, without antialiasing and with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    folder = Path(os.environ["NHWC_CORPUS"], "datasets", "clothing")
    files = sorted(folder.rglob("*.jpg"))[: parser.parse_args().images]
    for antialias in (False, True):
        took = timed(files, ImageRecipe(rows=224, cols=224, resize=ResizeRecipe(antialias=antialias)))
        print(f"{len(files)} photographs of about 500 x 400 to 224 x 224, antialias {antialias}: milliseconds each")
        for name, each in took.items():
            print(f"  {name:16} {each:6.3f} {each / sum(took.values()):6.0%}")


def timed(files: list[Path], recipe: ImageRecipe) -> dict[str, float]:
    """Milliseconds an image by the stage's name."""
    best: dict[str, dict[Path, float]] = defaultdict(dict)
    decode, *others = image_stages(recipe)
    for _ in range(TURNS):
        for file in files:

            def clock(name: str, work: Callable[..., Any], *given: Any, file: Path = file) -> Any:
                start = time.perf_counter()
                result = work(*given)
                best[name][file] = min(best[name].get(file, 9.0), time.perf_counter() - start)
                return result

            content = clock("read", file.read_bytes)
            clock("sha256", hashlib.sha256, content)
            facts = clock("probe", probe, content)
            clock(
                "admit", lambda facts, size: admit(facts, size=size, suffix=".jpg", recipe=recipe), facts, len(content)
            )
            encoded = Encoded(content, facts)
            pixels = clock("decode", lambda one: run_stages((decode,), one, sample_id="").array, encoded)
            clock("figures", measure, pixels)
            clock("perceptual hash", perceptual_hash, pixels)
            stored = clock("convert, resize", lambda one: run_stages(others, one, sample_id="").array, pixels)
            clock("pixel hash", hashlib.sha256, stored)
            clock("moments", channel_moments, stored)
    return {name: 1000 * sum(times.values()) / len(files) for name, times in best.items()}


if __name__ == "__main__":
    main()

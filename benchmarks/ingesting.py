"""How fast photographs are ingested, with every check on, beside loaders that only decode and resize.

    python benchmarks/ingesting.py --peers VENV/bin/python ... [--quick] [--repeats 5] [--only I1 I2 I3 I4]

Every contender is a process of its own that starts once, warms up, and is then asked for one pass at a time, by turns,
so that nothing else runs meanwhile and whatever the machine does besides falls on all of them alike. Starting up is not
counted. Each peer runs in the first interpreter that has it, as after `pip install -r benchmarks/requirements.txt`; one
that nobody has, or that fails, is left out and named. The physical limit is libjpeg-turbo's bare decoding on all cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from again import Source, again_lines
from auditing import audit
from contenders import COLS, HUFFMAN_LIMIT, LIMIT, LOADERS, ROWS, raced
from lines import Line, Say, asked_of, rounds, run
from photographs import contents, write_blends, write_copies, write_large

import nhwc
from nhwc.flows.recipe import parse_recipe

MEAN_LEVELS, MOST_LEVELS = 0.5, 8.0
"""What reduced-size decoding may change of such photographs, which are soft at the pixel (docs/why.md)."""


def ordinary(asked: argparse.Namespace, say: Say, home: Path, repeats: int) -> None:
    """I1."""
    photos = write_copies(home / "ordinary", 200 if asked.quick else len(contents()))
    for antialias in (False, True):
        names = ["nhwc", LIMIT, *(name for name in LOADERS if not (antialias and name == "Keras"))]  # Keras cannot
        rates = raced(names, photos, asked, antialias=antialias, repeats=repeats)
        fastest = max((name for name in LOADERS if name in rates.rounds), key=lambda name: median(rates.rounds[name]))
        about = partial(Line, demand="I1", name=f"500 x 400 to 224 x 224, {'' if antialias else 'not '}antialiased")
        peers = f"{fastest}, the fastest of {len(set(LOADERS) & set(rates.rounds))} peers"
        say(about(beside=peers, needed=1.0, said=str(rates), **rates.beside("nhwc", fastest)))
        say(about(beside=f"{LIMIT}, all cores", unit="share", **rates.beside("nhwc", LIMIT)))


def large(asked: argparse.Namespace, say: Say, home: Path, repeats: int) -> None:
    """I2."""
    photos = write_large(home / "large", 6 if asked.quick else 48)
    names = ["nhwc", "nhwc, reduce", LIMIT, HUFFMAN_LIMIT, "tf.data", "Grain + OpenCV"]
    rates = raced(names, photos, asked, repeats=repeats)
    about = partial(Line, demand="I2", name="12 megapixels to 224 x 224, decoded at reduced size")
    say(about(beside="tf.data", needed=3.0, said=str(rates), **rates.beside("nhwc, reduce", "tf.data")))
    say(about(beside=f"{LIMIT}, all cores, full size", unit="share", **rates.beside("nhwc, reduce", LIMIT)))
    say(about(beside=f"{HUFFMAN_LIMIT}, all cores", unit="share", **rates.beside("nhwc, reduce", HUFFMAN_LIMIT)))
    about = partial(Line, demand="I2", name=f"the limit: {HUFFMAN_LIMIT}, all cores")
    say(about(beside="tf.data", **rates.beside(HUFFMAN_LIMIT, "tf.data")))
    means, most = differences(photos, home)
    about = partial(Line, demand="I2", beside="a full decode", bound="at most", unit="levels")
    say(about(name="mean difference of a picture's pixels, of 255", needed=MEAN_LEVELS, **rounds(means)))
    say(about(name="largest difference of a pixel, of 255", needed=MOST_LEVELS, **rounds([most])))


def differences(photos: Path, home: Path) -> tuple[list[float], float]:
    """What reduced-size decoding changes: each picture's mean, and the most of any pixel, in levels."""

    def pixels(reduce: bool) -> Iterator[np.ndarray]:
        recipe = {
            "dataset": f"reduced_{reduce}",
            "source": {"path": str(photos)},
            "image": {"rows": ROWS, "cols": COLS, "resize": {"reduce": reduce}},
            "publish": {"to": str(home / "datasets")},
        }
        version = nhwc.ingest(parse_recipe(recipe), direct=True)
        return (np.asarray(images[0], np.int16) for images, _ in nhwc.load(version.dataset, batch_size=1))

    apart = [np.abs(one - other) for one, other in zip(pixels(False), pixels(True), strict=True)]
    return [float(one.mean()) for one in apart], float(max(one.max() for one in apart))


def again(asked: argparse.Namespace, say: Say, home: Path, repeats: int) -> None:
    """I4."""
    images = 300 if asked.quick else 4000
    source = Source(home / "many", write_blends, rows=ROWS, cols=COLS)
    source.write(images)
    runs = [source.three_runs(images) for _ in range(min(3, repeats))]
    for line in again_lines(f"{images:,} photographs of 500 x 400", runs):
        say(line)


GROUPS = {"I1": ordinary, "I2": large, "I3": audit, "I4": again}


def measure(asked: argparse.Namespace, say: Say) -> None:
    """All that is asked for, each group in a folder that is removed."""
    for group in asked.only:
        with tempfile.TemporaryDirectory() as place:
            GROUPS[group](asked, say, Path(place), 2 if asked.quick else asked.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--repeats", type=int, default=5)
    run(measure, asked_of(parser))


if __name__ == "__main__":
    main()

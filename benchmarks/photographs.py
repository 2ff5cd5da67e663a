"""The photographs that everything is measured on: of the corpus that NHWC_CORPUS names, or made by code."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

CORES = len(os.sched_getaffinity(0))
CLASSES = 8


@cache
def contents() -> tuple[bytes, ...]:
    """JPEG files of about 500 x 400: the corpus' `clothing`, else smooth random pictures with noise."""
    corpus = os.environ.get("NHWC_CORPUS")
    if corpus:
        return tuple(path.read_bytes() for path in sorted(Path(corpus, "datasets", "clothing").rglob("*.jpg")))
    pictures = _random_pictures(256, rows=500, cols=400)
    return tuple(_encoded(picture, quality=90) for picture in pictures)


def _random_pictures(count: int, *, rows: int, cols: int) -> np.ndarray:
    """uint8[pictures, rows, cols, channels=3]: large soft shapes, finer ones upon them, and noise."""
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 6, (2 * rows, 2 * cols, 1)).astype(np.float32)  # each cuts out its own
    pictures = np.empty((count, rows, cols, 3), np.uint8)
    for picture in pictures:
        parts = [Image.fromarray(rng.integers(0, 256, (5 * n, 4 * n, 3), dtype=np.uint8)) for n in (1, 5)]
        soft, fine = (np.asarray(part.resize((cols, rows), Image.Resampling.BICUBIC), np.float32) for part in parts)
        top, left = rng.integers(0, (rows, cols))
        mixed = 0.7 * soft + 0.3 * fine + noise[top:, left:][:rows, :cols]
        np.clip(mixed, 0, 255, out=picture, casting="unsafe")
    return pictures


def _encoded(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def listed(folder: Path) -> list[Path]:
    """Every photograph of a folder."""
    return sorted(folder.rglob("*.jpg"))


def write_copies(folder: Path, count: int) -> Path:
    """That many files, the same ones again where there are fewer; for what never compares them."""
    for number, content in enumerate(islice(cycle(contents()), count)):
        _write(folder, number, content)
    return folder


def write_blends(folder: Path, numbers: Iterable[int]) -> Path:
    """One photograph a number, of the same size and detail as real ones and no two alike: two of them, one mirrored or
    not upon the other. Near copies would be a set that nobody has, and its search for duplicates another."""

    def make(number: int) -> None:
        rng = np.random.default_rng(number)
        one, other = (
            Image.open(io.BytesIO(contents()[place])).convert("RGB") for place in rng.choice(len(contents()), 2, False)
        )
        if rng.random() < 0.5:
            other = other.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        blend = Image.blend(one, other.resize(one.size), float(rng.uniform(0.35, 0.65)))
        _write(folder, number, _encoded(np.asarray(blend), quality=90))

    return _in_threads(make, numbers, folder)


def write_small(folder: Path, numbers: Iterable[int]) -> Path:
    """One JPEG of 160 x 120 a number, no two alike: each the sum of one of 400 pictures and one of 400 others."""
    ones, others = np.split(_random_pictures(800, rows=120, cols=160) >> 1, 2)

    def make(number: int) -> None:
        one, other = divmod(number, len(others))
        _write(folder, number, _encoded(ones[one % len(ones)] + others[other], quality=85))

    return _in_threads(make, numbers, folder)


def write_large(folder: Path, count: int) -> Path:
    """Photographs of 12 megapixels: enlarged, with noise, so that there are high frequencies, at quality 90."""
    noise = np.random.default_rng(7).normal(0, 4, (3000, 4000, 3)).astype(np.float32)

    def make(number: int) -> None:
        image = Image.open(io.BytesIO(contents()[number])).convert("RGB")
        pixels = np.asarray(image.resize((4000, 3000), Image.Resampling.BICUBIC)) + noise
        _write(folder, number, _encoded(np.clip(pixels, 0, 255).astype(np.uint8), quality=90))

    return _in_threads(make, range(count), folder)


def path_of(folder: Path, number: int) -> Path:
    """Where the photograph of a number lies."""
    return folder / f"class_{number % CLASSES}" / f"{number:06d}.jpg"


def _write(folder: Path, number: int, content: bytes) -> None:
    path = path_of(folder, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _in_threads(make: Callable[[int], None], numbers: Iterable[int], folder: Path) -> Path:
    chosen: Sequence[int] = list(numbers)
    with ThreadPoolExecutor(CORES) as pool:  # Pillow and NumPy let the other thread work
        for _ in pool.map(make, chosen, chunksize=64):
            pass
    return folder

"""Put faults into a set of sound photographs, drawn by a seed, and say which file has which.

Damage is done to bytes and pixels as it happens in the field: cut transfers, wrong names, rot, copies, bad exposure.
How strong a fault of pixels is (a blur, a darkening) is chosen so that nobody would call it sound.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFilter

Array = np.ndarray[Any, Any]
Fate = Literal["accept", "report", "reject", "ignore"]

CLASSES = ("dress", "hat", "pants", "shirt", "shoes", "daisy", "roses")
SPLITS = ("train", "train", "train", "test")
"""Of four files, three are for training."""

MOST_PIXELS = 4_000_000
"""The pixel budget that the injected `oversize` and `bomb_header` are made for: more than half of it, and above it."""


@dataclass(frozen=True, kw_only=True)
class Injected:
    """One file, or one folder, of the injected set.

    Args:
        path: relative to the set's root, bytes that are not UTF-8 as \\xNN.
        fault: what was done to it; `none` where nothing was.
        expect: what should become of it.
        copied: whether a copy of it was put in: it is sound, and one of two.
    """

    path: str
    fault: str
    expect: Fate
    copied: bool = False


def _encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **({"quality": 92} if format == "JPEG" else {}) | options)
    return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A sound JPEG, and the seed's numbers for what is done to it."""

    content: bytes
    rng: np.random.Generator

    @property
    def image(self) -> Image.Image:
        """Its pixels, RGB."""
        return Image.open(io.BytesIO(self.content)).convert("RGB")

    @property
    def small(self) -> Image.Image:
        """The same with at most 320 rows and cols, so that lossless formats stay small."""
        image = self.image
        image.thumbnail((320, 320))
        return image

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return float(self.rng.uniform(low, high))

    def cut_point(self, low: float, high: float) -> int:
        """A place in the bytes, at so large a share of them."""
        return int(len(self.content) * self.between(low, high))


# bytes


def _zero_tail(photo: Photograph) -> bytes:
    cut = photo.cut_point(0.4, 0.6)
    return photo.content[:cut] + bytes(len(photo.content) - cut - 2) + b"\xff\xd9"


def _flipped(content: bytes, places: Array, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in places:
        changed[int(place)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _bit_flips(photo: Photograph) -> bytes:
    """One bit in each 2,000 bytes of the pixels."""
    start = photo.content.rindex(b"\xff\xda") + 14
    places = photo.rng.integers(start, len(photo.content) - 2, max(8, len(photo.content) // 2000))
    return _flipped(photo.content, places, photo.rng)


def _overwritten(photo: Photograph) -> bytes:
    """64 random bytes in the middle."""
    start = photo.cut_point(0.4, 0.6)
    return photo.content[:start] + photo.rng.bytes(64) + photo.content[start + 64 :]


def _png_flips(photo: Photograph) -> bytes:
    content = _encoded(photo.small, "PNG")
    return _flipped(content, photo.rng.integers(60, len(content) - 20, 8), photo.rng)


def _bomb(photo: Photograph) -> bytes:
    """A JPEG whose frame header claims 60,000 x 60,000 pixels."""
    content = bytearray(_encoded(photo.image))
    frame = content.index(b"\xff\xc0") + 5
    content[frame : frame + 4] = (60_000).to_bytes(2, "big") * 2
    return bytes(content)


def _many_scans(photo: Photograph) -> bytes:
    """A progressive JPEG whose last scan comes 200 times."""
    content = _encoded(photo.small, progressive=True)
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * 200 + b"\xff\xd9"


def _html(photo: Photograph) -> bytes:
    number = photo.rng.integers(1_000_000)
    return f"<!DOCTYPE html><html><body><h1>404</h1><p>No image {number}.</p></body></html>\n".encode()


def _pointer(photo: Photograph) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{photo.rng.bytes(32).hex()}\nsize 48123\n".encode()


BYTES: Mapping[str, tuple[Fate, str, Callable[[Photograph], bytes]]] = {
    "empty_file": ("reject", ".jpg", lambda photo: b""),
    "truncated": ("reject", ".jpg", lambda photo: photo.content[: photo.cut_point(0.1, 0.95)]),
    "truncated_at_the_end": ("reject", ".jpg", lambda photo: photo.content[: -int(photo.between(50, 400))]),
    "truncated_png": ("reject", ".png", lambda photo: _encoded(photo.small, "PNG")[: int(photo.between(2000, 20000))]),
    "truncated_webp": ("reject", ".webp", lambda photo: _encoded(photo.image, "WEBP")[: int(photo.between(500, 2000))]),
    "cut_in_header": ("reject", ".jpg", lambda photo: photo.content[: int(photo.between(20, 150))]),
    "html_page": ("reject", ".jpg", _html),
    "lfs_pointer": ("reject", ".jpg", _pointer),
    "random_bytes": ("reject", ".jpg", lambda photo: photo.rng.bytes(5000)),
    "all_zeros": ("reject", ".jpg", lambda photo: bytes(photo.cut_point(0.5, 1))),
    "decoded_as_text": ("reject", ".jpg", lambda photo: photo.content.decode("utf-8", "replace").encode()),
    "bomb_header": ("reject", ".jpg", _bomb),
    "many_scans": ("reject", ".jpg", _many_scans),
    "png_bit_flips": ("reject", ".png", _png_flips),
    "png_lf_to_crlf": ("reject", ".png", lambda photo: _encoded(photo.small, "PNG").replace(b"\n", b"\r\n")),
    "tiff_as_jpg": ("reject", ".jpg", lambda photo: _encoded(photo.small, "TIFF")),
    "unread_format": ("reject", ".ppm", lambda photo: _encoded(photo.small, "PPM")),
    "zero_tail": ("report", ".jpg", _zero_tail),
    "gray_fill": ("report", ".jpg", lambda photo: photo.content[: photo.cut_point(0.3, 0.7)] + b"\xff\xd9"),
    "lf_to_crlf": ("report", ".jpg", lambda photo: photo.content.replace(b"\n", b"\r\n")),
    "bit_flips": ("report", ".jpg", _bit_flips),
    "overwritten": ("report", ".jpg", _overwritten),
    "png_as_jpg": ("report", ".jpg", lambda photo: _encoded(photo.small, "PNG")),
    "webp_as_jpg": ("report", ".jpg", lambda photo: _encoded(photo.image, "WEBP")),
    "gif_as_jpg": ("report", ".jpg", lambda photo: _encoded(photo.small, "GIF")),
    "bmp_as_png": ("report", ".png", lambda photo: _encoded(photo.small, "BMP")),
    "jpg_as_png": ("report", ".png", lambda photo: photo.content),
}
"""What is wrong with bytes and names: the fate, the suffix, and how it is made of a photograph."""


# pixels


def _scaled(photo: Photograph, low: float, high: float) -> bytes:
    """With its values between two levels, as a wrong exposure leaves it."""
    pixels = np.asarray(photo.image, np.float32) / 255
    return _encoded(Image.fromarray(((low + (high - low) * pixels) * 255).astype(np.uint8)))


def _blank(photo: Photograph) -> bytes:
    colour = tuple(int(value) for value in photo.rng.integers(0, 256, 3))
    return _encoded(Image.new("RGB", photo.image.size, colour))


def _blurred(photo: Photograph) -> bytes:
    """By a Gaussian of a fortieth to a twentieth of its longer side: out of focus or moved."""
    image = photo.image
    return _encoded(image.filter(ImageFilter.GaussianBlur(max(image.size) * photo.between(1 / 40, 1 / 20))))


def _few_values(photo: Photograph) -> bytes:
    """Black and white, no shade between: as a scan of a page."""
    return _encoded(photo.small.convert("L").point(lambda value: 255 * (value > 100)), "PNG")


def _low_bit_depth(photo: Photograph) -> bytes:
    """Four of eight bits, saved without loss."""
    return _encoded(Image.fromarray(np.asarray(photo.small) & 0xF0), "PNG")


def _sixteen_bit(photo: Photograph) -> bytes:
    gray = np.asarray(photo.small.convert("L"), np.uint16) * 257
    return _encoded(Image.fromarray(gray), "PNG")


def _with_alpha(photo: Photograph) -> bytes:
    image = photo.small.convert("RGBA")
    image.putalpha(photo.small.convert("L"))
    return _encoded(image, "PNG")


def _animated(photo: Photograph) -> bytes:
    frames = [photo.small, photo.small.rotate(90, expand=False), photo.small.rotate(180)]
    return _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=80)


def _turned(photo: Photograph) -> bytes:
    exif = Image.Exif()
    exif[274] = int(photo.rng.integers(2, 9))
    return _encoded(photo.image, exif=exif)


def _resized(photo: Photograph, rows: int, cols: int) -> bytes:
    return _encoded(photo.image.resize((cols, rows)))


PIXELS: Mapping[str, tuple[Fate, str, Callable[[Photograph], bytes]]] = {
    "blank": ("report", ".jpg", _blank),
    "dark": ("report", ".jpg", lambda photo: _scaled(photo, 0, photo.between(0.1, 0.25))),
    "light": ("report", ".jpg", lambda photo: _scaled(photo, photo.between(0.965, 0.975), 1)),
    "blurred": ("report", ".jpg", _blurred),
    "low_information": ("report", ".png", _few_values),
    "low_bit_depth": ("report", ".png", _low_bit_depth),
    "grayscale": ("accept", ".jpg", lambda photo: _encoded(photo.image.convert("L"))),
    "gray_as_colour": ("report", ".jpg", lambda photo: _encoded(photo.image.convert("L").convert("RGB"))),
    "palette": ("accept", ".png", lambda photo: _encoded(photo.small.quantize(256), "PNG")),
    "cmyk": ("report", ".jpg", lambda photo: _encoded(photo.image.convert("CMYK"))),
    "alpha_channel": ("report", ".png", _with_alpha),
    "sixteen_bit": ("report", ".png", _sixteen_bit),
    "animated": ("report", ".gif", _animated),
    "exif_orientation": ("report", ".jpg", _turned),
    "tiny": ("report", ".jpg", lambda photo: _resized(photo, *photo.rng.integers(4, 40, 2).tolist())),
    "extreme_aspect": ("report", ".jpg", lambda photo: _resized(photo, int(photo.between(1800, 2600)), 100)),
    "odd_size": ("report", ".jpg", lambda photo: _resized(photo, 90, int(photo.between(90, 110)))),
    "oversize": ("report", ".jpg", lambda photo: _resized(photo, 1600, int(photo.between(1300, 1800)))),
}
"""What is wrong with, or remarkable about, pixels."""


def _moved_crop(photo: Photograph) -> bytes:
    """Without 2 to 4 % of its rows and cols, at any edges."""
    image = photo.image
    cols, rows = image.size
    left, top = int(cols * photo.between(0, 0.02)), int(rows * photo.between(0, 0.02))
    right, bottom = int(cols * photo.between(0.98, 1)), int(rows * photo.between(0.98, 1))
    return _encoded(image.crop((left, top, right, bottom)))


COPIES: Mapping[str, Callable[[Photograph], bytes]] = {
    "exact_duplicate": lambda photo: photo.content,
    "encoded_again": lambda photo: _encoded(photo.image, quality=int(photo.between(40, 80))),
    "saved_as_png": lambda photo: _encoded(photo.image, "PNG"),
    "mirrored": lambda photo: _encoded(photo.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "resized": lambda photo: _encoded(
        photo.image.resize(tuple(round(side * photo.between(0.5, 0.9)) for side in photo.image.size))
    ),
    "cropped": _moved_crop,
    "brighter": lambda photo: _encoded(photo.image.point(lambda value: min(255, round(value * 1.15)))),
}
"""How a copy of a photograph is made; it lies beside its original unless the fault is where it lies."""


# the set


def inject(photographs: Sequence[Path], root: Path, *, seed: int, each: int = 5, sound: int = 200) -> list[Injected]:
    """Write a set of sound and faulty files below `root`/train and `root`/test, class folders below them.

    Args:
        photographs: sound JPEG files, of which the seed chooses.
        root: a folder that is there and empty; beside it lies then what a link leads to.
        each: files of each fault that a file can have.
        sound: files without a fault.

    Returns what was written, sorted by path. Raises ValueError where there are too few photographs.
    """
    rng = np.random.default_rng(seed)
    faulty = {**BYTES, **PIXELS}
    needed = sound + each * len(faulty) + len(list(_misplaced(each)))
    if len(photographs) < needed:
        raise ValueError(f"inject needs {needed} photographs. Received: {len(photographs)}")
    order = iter(rng.permutation(len(photographs)))
    drawn = (Photograph(content=photographs[number].read_bytes(), rng=rng) for number in order)
    written: dict[str, Injected] = {}

    def write(path: str, content: bytes, fault: str, expect: Fate) -> None:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        written[path] = Injected(path=shown, fault=fault, expect=expect)

    for number in range(sound):
        write(f"{_folder(number)}/sound_{number:04}.jpg", next(drawn).content, "none", "accept")
    names = iter(f"{number:04}" for number in range(10_000))
    for fault, (expect, suffix, damage) in faulty.items():
        for number in range(each):
            write(f"{_folder(number)}/file_{next(names)}{suffix}", damage(next(drawn)), fault, expect)
    originals = [path for path in written if Path(path).name.startswith("sound")]
    chosen = iter(rng.permutation(len(originals)))
    for fault, place, copy in _copies(each):
        original = originals[next(chosen)]
        written[original] = Injected(path=original, fault="none", expect="accept", copied=True)
        photo = Photograph(content=(root / original).read_bytes(), rng=rng)
        content = copy(photo)
        suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
        write(f"{place(original)}/copy_{next(names)}{suffix}", content, fault, "report")
    for path, fault, expect in _misplaced(each):
        write(path, next(drawn).content, fault, expect)
    for path, content, fault in _left_behind(each):
        write(path, content, fault, "ignore")
    for special in _special(root, each):
        written[special.path] = special
    return [written[path] for path in sorted(written)]


def _folder(number: int) -> str:
    return f"{SPLITS[number % len(SPLITS)]}/{CLASSES[number % len(CLASSES)]}"


def _beside(original: str) -> str:
    return original.rpartition("/")[0]


def _other_class(original: str) -> str:
    split, label, _ = original.split("/")
    return f"{split}/{CLASSES[CLASSES.index(label) - 1]}"


def _other_split(original: str) -> str:
    split, label, _ = original.split("/")
    return f"{'test' if split == 'train' else 'train'}/{label}"


def _copies(each: int) -> Iterator[tuple[str, Callable[[str], str], Callable[[Photograph], bytes]]]:
    """Fault, where a copy of an original at a path lies, and how it is made."""
    for fault, copy in COPIES.items():
        yield from [(fault, _beside, copy)] * each
    for number in range(each):
        copy = list(COPIES.values())[number % len(COPIES)]
        yield "duplicate_conflicting_label", _other_class, copy
        yield "duplicate_across_splits", _other_split, copy


def _misplaced(each: int) -> Iterator[tuple[str, str, Fate]]:
    """Sound photographs where none should be, or whose class is what is wrong."""
    for number in range(each):
        yield f"train/stray_{number}.jpg", "no_class", "report"
        yield f"train/shirt/sub folder/deep_{number}.jpg", "nested", "report"
        yield f"elsewhere/hat/lost_{number}.jpg", "no_split", "report"
        yield f"train/hat/.hidden_{number}.jpg", "hidden_file", "ignore"
        yield f"test/only_in_test_{number % 2}/{number}.jpg", "class_only_in_test", "report"
        yield f"train/only_in_train/{number}.jpg", "class_only_in_train", "report"
        yield f"train/only_in_train/more_{number}.jpg", "class_only_in_train", "report"
    yield "train/single/one.jpg", "class_with_one_image", "report"
    yield "train/Hat/twin.jpg", "class_name_case_twin", "report"
    yield "train/hat/r\udce9al.jpg", "name_not_utf8", "report"


def _left_behind(each: int) -> Iterator[tuple[str, bytes, str]]:
    for number in range(each):
        label = CLASSES[number % len(CLASSES)]
        yield f"train/{label}/Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(800), "litter"
        yield f"train/{label}/.DS_Store", b"\0\0\0\1Bud1" + bytes(100), "litter"
        yield f"train/{label}/._sound_{number:04}.jpg", b"\0\5\x16\7\0\2\0\0" + bytes(80), "litter"
        yield f"test/{label}/notes_{number}.txt", b"taken in May\n", "litter"


def _special(root: Path, each: int) -> Iterator[Injected]:
    """Links and other entries that are no files, and folders without an image."""
    outside = root.parent / f"{root.name} outside.jpg"
    outside.write_bytes(b"\xff\xd8\xff")
    (root / "train" / "empty_class").mkdir()
    yield Injected(path="train/empty_class", fault="empty_class", expect="report")
    for number in range(each):
        folder = root / "train" / CLASSES[number % len(CLASSES)]
        inside = next(path for path in sorted(folder.iterdir()) if path.name.startswith("sound"))
        for name, target in (
            ("link", Path(inside.name)),
            ("link_outside", outside),
            ("link_broken", Path("nowhere.jpg")),
            ("link_loop", Path(f"link_loop_{number}.jpg")),
        ):
            path = folder / f"{name}_{number}.jpg"
            path.symlink_to(target)
            yield Injected(path=path.relative_to(root).as_posix(), fault=name, expect="ignore")
        path = folder / f"fifo_{number}.jpg"
        os.mkfifo(path)
        yield Injected(path=path.relative_to(root).as_posix(), fault="fifo", expect="ignore")

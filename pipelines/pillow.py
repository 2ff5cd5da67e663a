"""Pillow's readers, opened by the format that the content was found to have, silent and without global switches.

`Image.open` tries every plugin, judges size by a process-wide limit, and its plugins warn through Python's process-wide
filters, which no thread can set for itself. Here each format has the one class that reads it, and what would warn
(EXIF blocks that nobody asked for) is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO

from PIL import BmpImagePlugin, GifImagePlugin, ImageFile, TiffImagePlugin, WebPImagePlugin, _avif
from PIL.AvifImagePlugin import AvifImageFile


class TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF as stored: Pillow's own class turns it by its orientation, and reads every EXIF block when it loads."""

    def _open(self) -> None:
        super()._open()
        self._size = self._tile_size

    def load_prepare(self) -> None:
        """Make room for the pixels, without a judgement of the size: the pixel budget has judged it."""
        ImageFile.ImageFile.load_prepare(self)

    def load_end(self) -> None:
        """Leave the pixels as they are stored."""


class AvifFile(AvifImageFile):
    """An AVIF whose EXIF block is never parsed; `info["orientation"]` is what its rotation and mirror boxes say."""

    def _open(self) -> None:
        assert self.fp is not None
        self._decoder = _avif.AvifDecoder(self.fp.read(), "auto", 1)
        self._size, self.n_frames, self._mode, _, _, orientation, _ = self._decoder.get_info()
        self.is_animated = self.n_frames > 1
        self.info["orientation"] = orientation
        self.seek(0)


_CLASSES: Mapping[str, Callable[[BytesIO], ImageFile.ImageFile]] = {
    "gif": GifImagePlugin.GifImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "tiff": TiffFile,
    "avif": AvifFile,
}

PIXEL_LIMITS: Mapping[str, int] = {"gif": 89_478_485, "webp": 178_956_970}
"""Above these two plugins judge the size by Pillow's process-wide limit, by a warning or an error."""


def open_image(content: bytes, format: str) -> ImageFile.ImageFile:
    """The image, its header read and no pixel. Raises nearly anything where that is damaged: catch Exception."""
    return _CLASSES[format](BytesIO(content))

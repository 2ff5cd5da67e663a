"""Writes a folder of real images to try nhwc on: pieces of the two photographs that scikit-learn ships.

    python examples/photographs.py photos

photos/flower and photos/temple then hold twenty JPEG files of 160 x 200 pixels each. Needs `pip install 'nhwc[demo]'`.
"""

import argparse
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_images

ROWS, COLS, ACROSS, DOWN = 160, 200, 5, 4


def main() -> None:
    """Cut each photograph into pieces that overlap, but show different things."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for label, pixels in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / label).mkdir(parents=True, exist_ok=True)
        rows, cols, _ = pixels.shape
        for number in range(ACROSS * DOWN):
            top = (rows - ROWS) * (number // ACROSS) // (DOWN - 1)
            left = (cols - COLS) * (number % ACROSS) // (ACROSS - 1)
            piece = pixels[top : top + ROWS, left : left + COLS]
            Image.fromarray(piece).save(folder / label / f"{number:02}.jpg", quality=90)


if __name__ == "__main__":
    main()

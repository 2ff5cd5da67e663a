"""A dataset that TensorFlow Datasets prepared, checked, and given back to whoever reads TFDS.

python examples/tfds_in_tfds_out.py FOLDER ROWS COLS CHANNELS OUT

FOLDER is that of a prepared version, as tensorflow_datasets/mnist/3.0.1; nothing is downloaded. The checked version is
published to ./datasets/checked, and exported to OUT.
"""

import sys
from pathlib import Path

import tensorflow_datasets as tfds
import yaml

import nhwc

folder, rows, cols, channels, out = sys.argv[1:]
recipe = Path("checked.yaml")
recipe.write_text(
    yaml.safe_dump(
        {
            "dataset": "checked",
            "source": {"kind": "tfds", "path": str(Path(folder).resolve())},
            "image": {"rows": int(rows), "cols": int(cols), "channels": int(channels)},
            "publish": {"to": "datasets"},
        }
    )
)
version = nhwc.ingest(recipe, direct=True)  # splits and class names are the dataset's own
for row in version.manifest.filter(status="quarantined").iter_rows(named=True):
    print(f"left out: {row['path']}: {row['code']}: found {row['found']}")

nhwc.export(version.dataset, to="tfds", out=out)
builder = tfds.builder_from_directory(out)
for split, info in builder.info.splits.items():
    images = builder.as_dataset(split=split, as_supervised=True).batch(32)
    print(f"{split}: {info.num_examples} samples of {images.element_spec[0].shape[1:]}")
print(", ".join(builder.info.features["label"].names))

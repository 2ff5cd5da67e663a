"""MNIST's files to a trained Conv2D: a gray image of 28 x 28 is really (28, 28, 1), and nothing is reshaped here.

python examples/idx_to_conv2d.py FOLDER

FOLDER has train-images-idx3-ubyte and train-labels-idx1-ubyte, and t10k-... for the test, gzipped or not. The dataset
is published to ./datasets/digits.
"""

import sys
from pathlib import Path

import keras
import yaml

import nhwc

recipe = Path("digits.yaml")
recipe.write_text(
    yaml.safe_dump(
        {
            "dataset": "digits",
            "source": {"kind": "idx", "path": str(Path(sys.argv[1]).resolve())},
            "image": {"rows": 28, "cols": 28, "channels": 1},
            "publish": {"to": "datasets"},
        }
    )
)
version = nhwc.ingest(recipe, direct=True)  # labels and splits are the files' own

model = keras.Sequential(
    [
        keras.Input(version.contract.sizes),  # (rows, cols, channels)
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(len(version.classes), activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
nhwc.gate(version.dataset, model=model, scale="unit").require()

train = nhwc.load(version.dataset, split="train", batch_size=128, shuffle=True, seed=7, scale="unit")
test = nhwc.load(version.dataset, split="test", batch_size=128, scale="unit")
model.fit(train, epochs=3, shuffle=False, verbose=0)  # nhwc has shuffled
_, accuracy = model.evaluate(test, verbose=0)
print(f"{len(version.classes)} classes learnt from {len(train)} batches an epoch: {accuracy:.0%} of the test is right")

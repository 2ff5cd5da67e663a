"""From a folder of your own photographs, a folder a class, to a classifier that stands on a pretrained network.

python examples/own_photographs.py PHOTOS DATASETS [WEIGHTS]

WEIGHTS is a file of MobileNet's weights (alpha 0.25, without top), as keras.applications downloads it. Without one the
network keeps its random weights: all steps are the same, only that its features are poor. Nothing is downloaded.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import yaml

import nhwc

ROWS = COLS = 96


def recipe(photos: Path, datasets: Path) -> Path:
    """Written as a file beside what it makes: from now on `nhwc ingest` and `nhwc schedule` do the same."""
    datasets.mkdir(parents=True, exist_ok=True)
    written = datasets / "photographs.yaml"
    asked = {
        "dataset": "photographs",
        "source": {"kind": "folder", "path": str(photos.resolve())},
        "image": {"rows": ROWS, "cols": COLS, "channels": 3, "resize": {"fit": "crop", "antialias": True}},
        "splits": {"train": 0.8, "test": 0.2, "seed": 7},
        "publish": {"to": "."},
    }
    written.write_text(yaml.safe_dump(asked, sort_keys=False))
    return written


def classifier(classes: int, weights: str | None) -> keras.Model:
    """Scaling on the device, a network that stays as it is, and a head that is trained."""
    base = keras.applications.MobileNet(
        input_shape=(ROWS, COLS, 3), alpha=0.25, include_top=False, pooling="avg", weights=weights
    )
    base.trainable = False
    images = keras.Input((ROWS, COLS, 3), dtype="uint8")  # as stored: a quarter of what floats would move
    pixels = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)  # [-1, 1], in which MobileNet was trained
    scores = keras.layers.Dense(classes, activation="softmax")(base(pixels, training=False))
    model = keras.Model(images, scores)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(photos: Path, datasets: Path, weights: str | None = None) -> None:
    """Ingest, gate, train, and ask what a photograph shows."""
    version = nhwc.ingest(recipe(photos, datasets), direct=True)
    counts = dict(version.manifest["status"].value_counts().rows())
    print(f"published {version.folder}: {counts}; classes {', '.join(version.classes)}")
    for path, code in version.manifest.filter(status="quarantined").select("path", "code").rows():
        print(f"  left out: {path}: {code}")
    model = classifier(len(version.classes), weights)
    nhwc.gate(version.folder, model=model).require()  # ends here, with every reason, where data and model do not fit
    train = nhwc.load(version.folder, split="train", batch_size=32, shuffle=True, seed=7)
    test = nhwc.load(version.folder, split="test", batch_size=32)
    history = model.fit(train, validation_data=test, epochs=3, shuffle=False, verbose=0).history
    for epoch, right in enumerate(history["val_accuracy"]):
        print(f"epoch {epoch}: loss {history['loss'][epoch]:.3f}, {right:.1%} of the test split right")
    one = photos / version.kept["path"][0]
    image = nhwc.load_image(one, target_size=(ROWS, COLS), method="bilinear", dtype="uint8")
    scores = keras.ops.convert_to_numpy(model(image[None]))[0]
    print(f"{one.name} shows {version.classes[scores.argmax()]}, by {scores.max():.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])

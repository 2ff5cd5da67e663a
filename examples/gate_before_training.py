"""Train only on data that keeps its promise: the gate is one line.

python examples/gate_before_training.py DATASET
"""

import sys

import keras

import nhwc

dataset = sys.argv[1]
version = nhwc.Version.open(dataset)
model = keras.Sequential(
    [
        keras.Input(version.contract.sizes),  # (rows, cols, channels)
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.GlobalMaxPooling2D(),
        keras.layers.Dense(len(version.classes), activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

nhwc.gate(dataset, model=model, scale="unit").require()  # raises, with every reason, before a GPU is paid for

train = nhwc.load(dataset, split="train", batch_size=32, shuffle=True, seed=7, scale="unit")
history = model.fit(train, epochs=3, shuffle=False, verbose=0)  # nhwc has shuffled
print(f"trained on {train.cardinality()} batches an epoch; last loss {history.history['loss'][-1]:.3f}")

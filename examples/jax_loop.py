"""A training loop of JAX's own, whose batches come from nhwc.load without a copy on the host.

python examples/jax_loop.py DATASET
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow as tf

import nhwc

tf.config.set_visible_devices([], "GPU")  # TensorFlow only reads: the GPU is JAX's
Params = dict[str, jax.Array]


def initial(channels: int, classes: int) -> Params:
    """Weights of a convolution (rows, cols, channels, features) and of a dense layer."""
    key = jax.random.key(7)
    return {"conv": 0.1 * jax.random.normal(key, (3, 3, channels, 8)), "dense": jnp.zeros((8, classes))}


def loss_of(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean loss; images uint8 (samples, rows, cols, channels), which become [0, 1] on the device."""
    pixels = images.astype(jnp.float32) / 255
    layout = ("NHWC", "HWIO", "NHWC")
    features = jax.lax.conv_general_dilated(pixels, params["conv"], (1, 1), "VALID", dimension_numbers=layout)
    logits = jax.nn.relu(features).max((1, 2)) @ params["dense"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


@jax.jit
def step(params: Params, images: jax.Array, labels: jax.Array) -> tuple[Params, jax.Array]:
    """One step of gradient descent."""
    loss, gradients = jax.value_and_grad(loss_of)(params, images, labels)
    return jax.tree.map(lambda value, gradient: value - 0.1 * gradient, params, gradients), loss


def main(path: str) -> None:
    """Train three epochs."""
    version = nhwc.Version.open(path)
    params = initial(version.contract.sizes[2], len(version.classes))
    train = nhwc.load(path, batch_size=4, shuffle=True, seed=7, drop_remainder=True)  # one shape: compiled once
    device = jax.devices()[0]
    for epoch in range(3):
        losses, copied = [], 0
        for images, labels in train:
            batch = jax.dlpack.from_dlpack(images)  # the very memory, on the CPU
            copied += batch.unsafe_buffer_pointer() != np.asarray(images).ctypes.data
            batch, targets = jax.device_put((batch, labels.numpy()), device)
            params, loss = step(params, batch, targets)
            losses.append(loss)
        print(
            f"epoch {epoch}: {len(losses)} batches {batch.dtype}{batch.shape}, {copied} copied; loss {losses[-1]:.3f}"
        )


if __name__ == "__main__":
    main(sys.argv[1])

"""Train a small Conv2D under tf.distribute, each GPU on its own share of every step.

python examples/distributed.py DATASET            # MirroredStrategy: two logical CPU devices stand for two GPUs
python examples/distributed.py DATASET --hosts    # MultiWorkerMirroredStrategy: two processes stand for two hosts

On real hosts TF_CONFIG is set on each, and each runs: python examples/distributed.py train DATASET
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

import nhwc

EPOCHS = 2
LIMIT = 180
"""Seconds. A host that lost the other waits without an end."""


def batches(path: str, strategy: tf.distribute.Strategy, batch_size: int) -> tf.distribute.DistributedDataset:
    """For each GPU of the job a share of every step, the same number of steps for all."""
    count = strategy.num_replicas_in_sync

    def of_host(context: tf.distribute.InputContext) -> tf.data.Dataset:
        here = count // context.num_input_pipelines  # a host has one input pipeline, and its GPUs take turns
        first = context.input_pipeline_id * here
        shards = [
            nhwc.load(
                path, batch_size=batch_size, shuffle=True, seed=7, scale="unit", shard=(index, count), with_ids=True
            )
            for index in range(first, first + here)
        ]
        return tf.data.Dataset.choose_from_datasets(shards, tf.data.Dataset.range(here).repeat())

    return strategy.distribute_datasets_from_function(of_host)


def train(path: str, strategy: tf.distribute.Strategy) -> None:
    """Train, and print what each replica of this process saw."""
    version = nhwc.Version.open(path)
    channels = version.contract.sizes[2]
    first = tf.VariableAggregation.ONLY_FIRST_REPLICA  # all compute the same
    with strategy.scope():
        kernel = tf.Variable(tf.random.stateless_normal([3, 3, channels, 8], [1, 2], stddev=0.1), aggregation=first)
        dense = tf.Variable(tf.zeros([8, len(version.classes)]), aggregation=first)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """One step of a replica; gradients are those of all replicas' samples together."""
        replica = tf.distribute.get_replica_context()
        together = replica.all_reduce("sum", tf.cast(tf.size(labels), tf.float32))
        with tf.GradientTape() as tape:
            features = tf.reduce_max(tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "VALID")), [1, 2])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, features @ dense)
            loss = tf.reduce_sum(losses) / together
        gradients = replica.all_reduce("sum", tape.gradient(loss, [kernel, dense]))
        for variable, gradient in zip([kernel, dense], gradients, strict=True):
            variable.assign_sub(0.1 * gradient)
        return replica.all_reduce("sum", loss)

    dataset = batches(path, strategy, batch_size=4)
    for epoch in range(EPOCHS):
        seen: list[list[str]] = []
        for images, labels, ids in dataset:
            loss = strategy.run(step, args=(images, labels))
            seen.append([[one.decode() for one in part.numpy()] for part in strategy.experimental_local_results(ids)])
        last = float(strategy.experimental_local_results(loss)[0])
        for replica, parts in enumerate(zip(*seen, strict=True)):
            print(json.dumps({"epoch": epoch, "replica": replica, "ids": parts, "loss": last}), flush=True)


def strategy_here() -> tf.distribute.Strategy:
    """Two devices in one process, or one of the processes that TF_CONFIG names."""
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def end_with_parent() -> None:
    """Standard input closes when whoever started this process is gone, however that ended."""
    sys.stdin.read()
    os._exit(3)


def configs(hosts: int) -> list[dict[str, str]]:
    """TF_CONFIG of each process; of a single one none."""
    if hosts == 1:
        return [{}]
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(hosts)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(hosts)]
    return [{"TF_CONFIG": json.dumps(task)} for task in tasks]


def run(path: str, hosts: int) -> list[list[dict[str, Any]]]:
    """What the replicas of each process printed."""
    command = [sys.executable, __file__, "train", path]
    with ExitStack() as stack:
        printed, processes = [], []
        for env in configs(hosts):
            printed.append(stack.enter_context(tempfile.TemporaryFile("w+")))
            process = subprocess.Popen(command, env=os.environ | env, stdin=subprocess.PIPE, stdout=printed[-1])
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)  # of those that still run when another failed
        statuses = [process.wait(LIMIT) for process in processes]
        if any(statuses):
            raise SystemExit(f"a process ended with status {max(statuses)}")
        for file in printed:
            file.seek(0)
        return [[json.loads(line) for line in file] for file in printed]


def main(path: str, hosts: int) -> None:
    """Train, and hold what the replicas saw against the split."""
    kept = nhwc.Version.open(path).kept
    expected = sorted(kept.filter(kept["split"] == "train")["sample_id"])
    printed = run(path, hosts)
    for epoch in range(EPOCHS):
        replicas = [line for lines in printed for line in lines if line["epoch"] == epoch]
        seen = [one for replica in replicas for ids in replica["ids"] for one in ids]
        steps = [len(replica["ids"]) for replica in replicas]
        counts = [sum(map(len, replica["ids"])) for replica in replicas]
        exact = sorted(seen) == expected
        print(
            f"epoch {epoch}: {len(replicas)} replicas in {hosts} process(es); steps {steps}, samples {counts}; "
            f"union exact, no overlap: {exact}; loss {replicas[0]['loss']:.3f}"
        )
        if not exact or len(set(steps)) > 1:
            raise SystemExit(1)


if __name__ == "__main__":
    if sys.argv[1] == "train":
        threading.Thread(target=end_with_parent, daemon=True).start()
        train(sys.argv[2], strategy_here())
    else:
        main(sys.argv[1], hosts=2 if "--hosts" in sys.argv else 1)

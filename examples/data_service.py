"""One epoch of a published version through tf.data.service: a dispatcher and two workers, each a process of its own.

python examples/data_service.py DATASET [SPLIT]
"""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

import nhwc

WORKERS = 2
LIMIT = 180
"""Seconds. A client whose worker was killed waits without an end: TensorFlow has no limit of its own."""


def serve(role: str, address: str | None = None) -> None:
    """A dispatcher or a worker. It ends when standard input closes, and so with who started it, however that ends."""
    service = tf.data.experimental.service
    if address is None:
        server = service.DispatchServer()
        print(server.target.partition("://")[2], flush=True)
    else:
        server = service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
        print(f"{role} ready", flush=True)
    sys.stdin.read()
    os._exit(0)  # a server that is only dropped waits for its clients


def start(stack: ExitStack, *role: str) -> subprocess.Popen[str]:
    """Start one. The first line that it prints says that it serves."""
    process = subprocess.Popen(
        [sys.executable, __file__, *role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stack.callback(process.wait)
    stack.enter_context(process.stdout)
    stack.enter_context(process.stdin)  # closed first of the three, by which it ends
    return process


def give_up() -> None:
    """End at once, and with it whoever reads this process' pipes."""
    print(f"no end within {LIMIT} s: was a worker killed?", file=sys.stderr, flush=True)
    os._exit(3)


def read(name: str, dataset: tf.data.Dataset) -> list[bytes]:
    """One epoch's sample ids, and a line that says how it went."""
    start, seen, steps = time.perf_counter(), [], 0
    for _, _, ids in dataset:
        seen += ids.numpy().tolist()
        steps += 1
    seconds = time.perf_counter() - start
    print(
        f"{name}: {steps} batches, {len(seen)} samples, {len(set(seen))} different; {len(seen) / seconds:,.0f} images/s"
    )
    return seen


def main(path: str, split: str = "train") -> None:
    """Read an epoch here, then by the service; both have each sample once."""
    dataset = nhwc.load_records(path, split=split, batch_size=32, with_ids=True)
    here = read("this process", dataset)
    with ExitStack() as stack:
        dispatcher = start(stack, "dispatcher")
        address = dispatcher.stdout.readline().strip()
        workers = [start(stack, "worker", address) for _ in range(WORKERS)]
        for worker in workers:
            worker.stdout.readline()
        service = tf.data.experimental.service
        served = dataset.apply(service.distribute(service.ShardingPolicy.DYNAMIC, f"grpc://{address}"))
        there = read(f"{WORKERS} workers", served)
    statuses = " and ".join(str(worker.returncode) for worker in workers)
    print(f"ended: dispatcher {dispatcher.returncode}, workers {statuses}")
    if Counter(here) != Counter(there):
        raise SystemExit("the service gave other samples")
    print("union exact, no sample twice")


if __name__ == "__main__":
    if sys.argv[1] in ("dispatcher", "worker"):
        serve(*sys.argv[1:])
    else:
        limit = threading.Timer(LIMIT, give_up)
        limit.daemon = True
        limit.start()
        main(*sys.argv[1:])

"""The gate as a task of another Prefect flow: where it refuses, what follows does not run.

python examples/gate_in_a_flow.py DATASET
"""

import sys

from nhwc.flows.prefect_gate import gate_task  # before Prefect, so that Prefect starts quietly

# isort: split
from prefect import flow, task


@task
def train(dataset: str) -> None:
    """Whatever is paid for only once the data has passed."""
    print(f"training on {dataset}")


@flow
def nightly(dataset: str) -> None:
    """Gate, then train. Both the verdict and its table stand on the run's page."""
    gate_task(dataset)
    train(dataset)


if __name__ == "__main__":
    nightly(sys.argv[1])

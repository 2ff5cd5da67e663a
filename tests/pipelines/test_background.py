import subprocess
import sys
import threading
import time

from nhwc.pipelines.background import QUIET_SECONDS, Calls

ENDLESS = """
import sys
from nhwc.pipelines.load import load
iterator = iter(load(sys.argv[1], batch_size=4, shuffle=True).repeat())
for _ in range(10):
    next(iterator)
print("done")
"""


def test_a_process_ends_with_an_endless_iterator_alive(write_version):
    """The end of a training script never waits for batches that nobody takes."""
    folder = write_version(200, rows=64, cols=64, splits=("train",)).folder
    run = subprocess.run(
        [sys.executable, "-c", ENDLESS, str(folder)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (0, "done\n") == (run.returncode, run.stdout), run.stderr


def test_the_end_waits_for_what_runs():
    """Until the last call is over, and a little longer."""
    calls = Calls()

    def one_call() -> None:
        with calls:
            time.sleep(0.2)

    thread = threading.Thread(target=one_call)
    thread.start()
    time.sleep(0.05)
    before = time.monotonic()
    calls.wait_until_quiet()
    assert time.monotonic() - before > QUIET_SECONDS
    assert not thread.is_alive()


def test_where_nothing_was_called_the_end_does_not_wait():
    """Who never loads pays nothing."""
    before = time.monotonic()
    Calls().wait_until_quiet()
    assert time.monotonic() - before < QUIET_SECONDS

"""Fixtures that every room's tests share."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import settings

from nhwc.flows.cli import main
from nhwc.pipelines import remote

Run = Callable[..., tuple[int, str, str]]

settings.register_profile("untimed", deadline=None)  # how long an example takes says nothing of what must hold
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real datasets and breaking images that NHWC_CORPUS names; without it the test is skipped."""
    named = os.environ.get("NHWC_CORPUS")
    if not named:
        pytest.skip("NHWC_CORPUS is not set: it names the folder of real datasets that this test reads")
    return Path(named)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A bucket of a real S3 API on loopback, as s3://bucket; skipped where the extra s3 is not installed."""
    server_of = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            patched.setenv(name, value)
        fsspec.filesystem("s3", use_listings_cache=False).mkdir("bucket")
        yield "s3://bucket"
    server.stop()


class FaultyStore(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store in memory that fails when it is told to: `faulty://`."""

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    calls: ClassVar[list[tuple[str, str]]] = []
    faults: ClassVar[list[list[Any]]] = []

    @classmethod
    def fail(cls, method: str, part: str, fault: Exception | Callable[[], object], times: int = 1) -> None:
        """Let the next calls of a method on a path with that part raise this, or do this before they go on."""
        cls.faults.append([method, part, fault, times])

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("faulty://")))

    def _called(self, method: str, path: str) -> None:
        self.calls.append((method, path))
        for fault in self.faults:
            if fault[0] == method and fault[1] in path and fault[3]:
                fault[3] -= 1
                if isinstance(fault[2], Exception):
                    raise fault[2]
                fault[2]()


def _counted(method: str) -> Callable[..., Any]:
    def call(self: FaultyStore, path: str, *args: Any, **options: Any) -> Any:
        self._called(method, args[0] if method == "put_file" else path)
        return getattr(MemoryFileSystem, method)(self, path, *args, **options)

    return call


for _method in ("cat_file", "pipe_file", "put_file", "get_file", "find", "info", "rm_file"):
    setattr(FaultyStore, _method, _counted(_method))


@pytest.fixture
def faulty() -> Iterator[type[FaultyStore]]:
    """The store that fails when it is told to, empty."""
    fsspec.register_implementation("faulty", FaultyStore, clobber=True)
    for kept in (FaultyStore.store, FaultyStore.calls, FaultyStore.faults):
        kept.clear()
    yield FaultyStore
    FaultyStore.store.clear()


@pytest.fixture
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried without a wait to speak of."""
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.001)


@pytest.fixture
def nhwc_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `nhwc` with these arguments in the folder of the test: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["nhwc", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        out = capsys.readouterr()
        return status, out.out, out.err

    return run

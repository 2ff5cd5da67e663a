"""A dataset on a store: its mirror is brought up to date before a run, and what the run made is uploaded after it.

What the store has is the truth: a version that stands in the mirror alone was never published. Uploads end in this
order: shards, the version's files, its `checksums`, `latest`. Killed anywhere, the same run ends the same.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from nhwc.flows.durable import locked, write_durably
from nhwc.flows.remote_lock import LOCK, locked_remote, require_lock
from nhwc.pipelines.checksums import read_checksums
from nhwc.pipelines.mirror import NUMBER, first_line, latest_number, pull, stored_shards
from nhwc.pipelines.remote import Found, Remote
from nhwc.pipelines.version import Version
from nhwc.validators.errors import MachineError, RecipeError

UPLOADED = ".uploaded"
"""In a mirror: the shards that were uploaded from it, each with its SHA-256 and what the store said of it then."""


@contextmanager
def mirrored(remote: Remote, mirror: Path, *, publishing: bool) -> Iterator[None]:
    """Hold the mirror, and to publish the dataset too. The mirror's `latest` is the store's by then.

    Raises RecipeError where the place is not nhwc's to write in, MachineError where another run holds either.
    """
    with locked(mirror):
        _check_place(remote)
        with locked_remote(remote, mirror) if publishing else nullcontext():
            _catch_up(remote, mirror)
            yield


def _check_place(remote: Remote) -> None:
    """See that the place is there, and holds a dataset or nothing. Raises RecipeError."""
    if latest_number(remote) is not None:
        return
    try:
        others = sorted(name for name in remote.top() if name not in (LOCK, "shards") and not NUMBER.fullmatch(name))
    except FileNotFoundError as error:
        raise RecipeError("publish.to", (f"found {remote}, but {error.strerror}: make the bucket first",)) from error
    if others:
        found = f"found {remote}, which holds {', '.join(others[:5])}"
        if "latest" in others:
            found = f"found {remote}/latest, which names no version"
        raise RecipeError(
            "publish.to", (f"{found}, expected a published dataset or nothing: name another place, or mend `latest`",)
        )


def _catch_up(remote: Remote, mirror: Path) -> None:
    """Bring the latest version's own files into the mirror, and let its `latest` say what the store's does."""
    try:
        latest = remote.read("latest")
    except FileNotFoundError:
        (mirror / "latest").unlink(missing_ok=True)
        return
    pull(remote, str(first_line(latest)), latest=latest)
    write_durably(mirror / "latest", lambda unfinished: unfinished.write_bytes(latest))


def upload(version: Version, remote: Remote, before: Version | None) -> None:
    """All of a version but `latest`, as far as the store does not have it; what arrived is looked at.

    Raises OSError where something does not arrive.
    """
    sums = read_checksums(version.folder)
    vouched = {} if before is None else read_checksums(before.folder)
    stored, uploaded = stored_shards(remote), _uploaded(version.dataset)
    for name, sha256 in sums.items():
        shard = name.rpartition("/")[2]
        if not name.startswith("../") or (shard in stored and vouched.get(name) == sha256):
            continue
        if name in vouched and vouched[name] != sha256:
            problem = f"{version.dataset}: its shard {shard} is not the one that {remote} has: delete this mirror"
            raise MachineError(f"{problem}, then run the same again")
        said = _line(shard, sha256, stored[shard]) if shard in stored else ""
        if said not in uploaded:
            found = _put(remote, f"shards/{shard}", version.dataset / "shards" / shard)
            _remember(version.dataset, _line(shard, sha256, found))
    _upload_files(version, remote)


def _upload_files(version: Version, remote: Remote) -> None:
    """The version's own files, `checksums` last: without it nobody takes the folder for a version."""
    checksums = version.folder / "checksums"
    try:
        there = remote.read(f"{version.number}/checksums")
        if there == checksums.read_bytes():
            return
        remote.tried(f"{version.number}/checksums", lambda filesystem, path: filesystem.rm_file(path))
    except FileNotFoundError:
        pass
    for file in sorted(path for path in version.folder.iterdir() if path != checksums):
        _put(remote, f"{version.number}/{file.name}", file)
    _put(remote, f"{version.number}/checksums", checksums)


def upload_latest(version: Version, remote: Remote, before: Version | None) -> None:
    """Let the store's `latest` name the version, in one atomic step.

    Raises MachineError where another run published meanwhile, or took the lock.
    """
    require_lock(remote, version.dataset)
    if latest_number(remote) != (None if before is None else before.number):
        raise MachineError(f"{remote}: another run published meanwhile: run this again")
    content = (version.dataset / "latest").read_bytes()
    remote.tried("latest", lambda filesystem, path: filesystem.pipe_file(path, content))


def _put(remote: Remote, name: str, file: Path) -> Found:
    """Upload one file; what the store has of it then. Raises OSError where that is of another size."""

    def put(filesystem: object, path: str) -> None:
        filesystem.put_file(str(file), path)  # type: ignore[attr-defined]  # fsspec has no types

    remote.tried(name, put)
    found, size = remote.found(name), file.stat().st_size
    if found.size != size:
        raise OSError(errno.EIO, f"{found.size:,} of {size:,} bytes arrived", f"{remote}/{name}")
    return found


def _line(shard: str, sha256: str, found: Found) -> str:
    return f"{shard} {sha256} {found.size} {found.mark}"


def _uploaded(mirror: Path) -> set[str]:
    file = mirror / UPLOADED
    return set(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else set()


def _remember(mirror: Path, line: str) -> None:
    with (mirror / UPLOADED).open("a", encoding="utf-8") as file:
        file.write(line + "\n")

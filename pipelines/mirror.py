"""Mirrors: the local copy of a dataset on a store. Its shards are brought here when they are first needed.

A mirror is a cache: it may be deleted whenever nothing uses it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from nhwc.pipelines.checksums import read_checksums, sha256_of
from nhwc.pipelines.remote import Found, Remote, damaged_object, held
from nhwc.validators.errors import MachineError, RecipeError

NUMBER = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
"""A version's: major.minor.patch."""

_PULLING = ".pulling"
"""In a mirror: the version that is being brought here. Beside it lies the lock under which that is done."""


def cache_folder() -> Path:
    """Where mirrors lie: $NHWC_CACHE, or nhwc/ in the user's cache folder."""
    if own := os.environ.get("NHWC_CACHE"):
        return Path(own)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nhwc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nhwc"


def mirror_of(url: str) -> Path:
    """The folder of a dataset's mirror, whether it is there or not."""
    return cache_folder() / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


def open_remote(url: str) -> tuple[Remote, str]:
    """The dataset at a URL and the number of the version meant, whose own files are in the mirror by now.

    Args:
        url: of a dataset (its latest version) or of one version.

    Raises RecipeError where nothing is published there, MachineError where the network fails.
    """
    try:
        above, _, last = url.rstrip("/").rpartition("/")
        if NUMBER.fullmatch(last):
            remote, number = Remote.at(above), last
            pull(remote, number)
        else:
            remote = Remote.at(url)
            latest = remote.read("latest")
            number = first_line(latest) or _nothing(url, "a `latest` that names no version")
            pull(remote, number, latest=latest)
    except FileNotFoundError as error:
        _nothing(url, f"nothing at {error.filename}")
    except OSError as error:
        raise MachineError.of(error) from error
    return remote, number


def _nothing(url: str, found: str) -> str:
    problem = f"found {found}, expected a published dataset: make one with `nhwc ingest RECIPE`"
    raise RecipeError(url, (problem,)) from None


def latest_number(remote: Remote) -> str | None:
    """The number that a dataset's `latest` names; None where nothing is published, or it names none."""
    try:
        return first_line(remote.read("latest"))
    except FileNotFoundError:
        return None


def first_line(latest: bytes) -> str | None:
    """The number that `latest` names."""
    line = latest.decode("utf-8", "replace").partition("\n")[0].strip()
    return line if NUMBER.fullmatch(line) else None


def pull(remote: Remote, number: str, *, latest: bytes = b"") -> Path:
    """Bring a version's own files, not its shards, into the mirror; the folder, which is whole or not there.

    What a run wrote there and never published gives way to what was published under its number.
    Raises DataError where the files are not what the version's `checksums` says, or `checksums` is not what `latest`
    says: its second line, if it has one, is the SHA-256 of that.
    """
    mirror = mirror_of(remote.url)
    folder, pulling = mirror / number, mirror / _PULLING
    said = remote.read(f"{number}/checksums")
    promised, found = latest.decode("utf-8", "replace").splitlines()[1:2], hashlib.sha256(said).hexdigest()
    if promised and promised != [found]:
        raise damaged_object(f"{remote}/{number}/checksums", expected=f"sha256 {promised[0]}", found=f"sha256 {found}")
    if _holds(folder, said):
        return folder
    with held(mirror / f"{_PULLING}.lock"):
        if not _holds(folder, said):
            shutil.rmtree(pulling, ignore_errors=True)
            new = pulling / number
            new.mkdir(parents=True)
            (mirror / "url").write_text(remote.url + "\n", encoding="utf-8")  # for who looks into the cache
            (new / "checksums").write_bytes(said)
            try:
                sums = read_checksums(new)
            except ValueError as error:
                url, expected = f"{remote}/{number}/checksums", "the file as it was published"
                raise damaged_object(url, expected=expected, found=str(error)) from error
            for name, digest in sums.items():
                if not name.startswith("../"):
                    remote.fetch(f"{number}/{name}", new / name, sha256=digest)
            _drop_other_shards(mirror, new)
            if folder.exists():
                folder.replace(pulling / "unpublished")
            new.replace(folder)
            shutil.rmtree(pulling, ignore_errors=True)
    return folder


def _holds(folder: Path, checksums: bytes) -> bool:
    try:
        return (folder / "checksums").read_bytes() == checksums
    except FileNotFoundError:
        return False


def _drop_other_shards(mirror: Path, version: Path) -> None:
    """Remove shards that were made or brought here under a name that the version has other bytes for."""
    vouched = {pair for old in mirror.glob("*/checksums") for pair in read_checksums(old.parent).items()}
    for name, digest in read_checksums(version).items():
        shard = version.parent.parent / name.removeprefix("../")
        if name.startswith("../") and (name, digest) not in vouched and shard.is_file() and sha256_of(shard) != digest:
            shard.unlink()


def fetch_shard(remote: Remote, number: str, name: str) -> Path:
    """The shard of that name in the mirror, brought there if it is not.

    Raises FileNotFoundError where the store does not have it, DataError where it is not what the version's `checksums`
    says, and MachineError where it cannot be brought.
    """
    mirror = mirror_of(remote.url)
    file = f"shards/{name}.arrow"
    if (mirror / file).is_file():
        return mirror / file
    try:
        sha256 = read_checksums(mirror / number).get(f"../{file}")
        if sha256 is None:
            raise FileNotFoundError(errno.ENOENT, "no shard that the version's checksums list", f"{remote}/{file}")
        remote.fetch(file, mirror / file, sha256=sha256)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MachineError.of(error) from error
    return mirror / file


def stored_shards(remote: Remote) -> dict[str, Found]:
    """What the store has of a dataset's shards, by `<name>.arrow`. Raises MachineError where it cannot be asked."""
    try:
        return {name.rpartition("/")[2]: found for name, found in remote.files("shards").items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MachineError.of(error) from error

"""What lies on a store that fsspec reaches (s3://, gs://, memory://): tried again where the network fails for the
moment, and brought here whole or not at all.

Credentials and endpoints are the environment's (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, FSSPEC_*), as fsspec reads them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from nhwc.pipelines.checksums import sha256_of
from nhwc.validators.errors import DataError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Result = TypeVar("Result")

TRIES = 4
"""Of one request, above those that the store's own library makes of it."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds before the second try, and at most before any: each time about twice as long, and a random part more, so that
many machines do not come back at once."""

MOST_BYTES = 1 << 30
"""Of an object that is read into memory."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}


def is_url(place: object) -> bool:
    """Whether a place is a URL (scheme://...) and no path."""
    return isinstance(place, str) and _URL.match(place) is not None


def url_problem(url: str) -> str | None:
    """What is wrong with a URL, told without the network: `found ..., expected ...`; None where nothing is."""
    from fsspec import get_filesystem_class  # type: ignore[import-untyped]  # noqa: PLC0415  only who names a URL pays

    scheme, _, rest = url.partition("://")
    if scheme in ("file", "local"):
        return f"found {url!r}, expected a path without {scheme}://"
    bucket = rest.split("/")[0]
    if not bucket:
        return f"found {url!r}, which names no bucket, expected {scheme}://bucket/folder"
    if "@" in bucket:
        return f"found credentials in a {scheme}:// URL, which is recorded: give them by the environment (AWS_*)"
    try:
        get_filesystem_class(scheme)
    except ValueError:
        return f"found {url!r}, whose scheme is unknown, expected s3://, gs://, memory:// or a path"
    except ImportError as error:
        wanted = f"pip install 'nhwc[{_EXTRAS[scheme]}]'" if scheme in _EXTRAS else str(error)
        return f"found {url!r}, for which a package is missing: {wanted}"
    return None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a store says of an object.

    Args:
        size: in bytes.
        mark: another one whenever the object was written: its ETag, or where the store has none when it was written.
        written_ns: when it was written, in nanoseconds since 1970; 0 where the store does not say.
    """

    size: int
    mark: str
    written_ns: int

    @property
    def changed_ns(self) -> int:
        """When it was written, where that is its mark; 0 where the mark alone tells."""
        return self.written_ns if self.mark == str(self.written_ns) else 0


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A folder on a store. Names are relative to it, with /.

    Safe to call from several threads, and cheap to pickle: the connection is made where it is used, never carried over.
    All methods raise OSError, the URL in its `filename`: FileNotFoundError, PermissionError at once, whatever is the
    network's after TRIES.
    """

    url: str

    @classmethod
    def at(cls, url: str) -> Remote:
        """The folder at a URL, with or without a slash at its end."""
        return cls(url=url.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    def tried(self, name: str, work: Callable[[Any, str], Result]) -> Result:
        """What `work(filesystem, path)` gives of the object of that name, tried again where that may help."""
        from tenacity import (  # noqa: PLC0415  as below
            Retrying,
            retry_if_exception,
            stop_after_attempt,
            wait_exponential,
            wait_random,
        )

        wait = wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT) + wait_random(0, FIRST_WAIT)
        again = retry_if_exception(lambda error: is_transient(error.__cause__ or error))
        tries = Retrying(stop=stop_after_attempt(TRIES), wait=wait, retry=again, reraise=True)
        result: Result = tries(self._once, name, work)
        return result

    def _once(self, name: str, work: Callable[[Any, str], Result]) -> Result:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # noqa: PLC0415  only who names a URL pays

        try:
            # fsspec keeps one filesystem a process and set of options; what it remembers of listings would be stale
            filesystem, root = url_to_fs(self.url, use_listings_cache=False)
            return work(filesystem, f"{root}/{name}" if name else root)
        except Exception as error:  # each store's library has errors of its own
            raise _as_os_error(error, f"{self.url}/{name}" if name else self.url) from error

    def read(self, name: str, *, most: int = MOST_BYTES) -> bytes:
        """An object's bytes, at most so many of them from its begin.

        It is one request: without an end s3fs makes two.
        """
        try:
            return bytes(self.tried(name, lambda filesystem, path: filesystem.cat_file(path, start=0, end=most)))
        except OSError as error:
            if _status(error) == 416 and not self.found(name).size:  # of an empty object no range can be asked for
                return b""
            raise

    def heads(self, names: Sequence[str], *, size: int) -> list[bytes | OSError]:
        """The first bytes of each object, or why they cannot be read; many are asked for at once."""

        def ask(filesystem: Any, root: str) -> list[Any]:
            paths = [f"{root}/{name}" for name in names]
            return list(filesystem.cat_ranges(paths, 0, size, on_error="return"))

        return [
            bytes(head) if isinstance(head, bytes) else self._head(name, size)
            for name, head in zip(names, self.tried("", ask) if names else [], strict=True)
        ]

    def _head(self, name: str, size: int) -> bytes | OSError:
        try:
            return self.read(name, most=size)
        except OSError as error:
            return error

    def found(self, name: str) -> Found:
        """What the store says of one object."""
        return _found(self.tried(name, lambda filesystem, path: filesystem.info(path)))

    def files(self, folder: str = "") -> dict[str, Found]:
        """Every object below the folder by its name, sorted; what ends with / only stands for a folder.

        Empty where there is none; FileNotFoundError where the store knows that there is no such bucket.
        """

        def ask(filesystem: Any, path: str) -> dict[str, Any]:
            below = path + "/"
            listed = filesystem.find(path, detail=True)
            return {name.removeprefix(below): info for name, info in listed.items() if name.startswith(below)}

        above = f"{folder}/" if folder else ""
        listed = self.tried(folder, ask)
        return {above + name: _found(listed[name]) for name in sorted(listed) if name}

    def top(self) -> set[str]:
        """The names of what lies in the folder itself. FileNotFoundError where the store knows no such bucket."""

        def ask(filesystem: Any, path: str) -> set[str]:
            try:
                listed = filesystem.ls(path, detail=False)
            except FileNotFoundError:
                filesystem.find(path)  # an empty folder is none; for a bucket that is none this fails too
                return set()
            return {name.rstrip("/").rpartition("/")[2] for name in listed if name.rstrip("/") != path}

        return self.tried("", ask)

    def fetch(self, name: str, to: Path, *, sha256: str | None = None) -> None:
        """Bring an object to a path: once, however many threads and processes ask, and whole or not at all.

        Copies are all that pipelines/ writes: a load has to, and whatever of them is deleted is made again.
        Raises DataError where the object has another SHA-256 than that, twice.
        """
        to.parent.mkdir(parents=True, exist_ok=True)
        part = to.with_name(to.name + ".part")
        with held(part):
            if to.is_file():  # others brought it meanwhile
                part.unlink(missing_ok=True)
                return
            try:
                self._download(name, part, sha256)
            except (OSError, DataError):
                os.truncate(part, 0)  # not removed: others may wait for its lock
                raise
            part.replace(to)

    def _download(self, name: str, part: Path, sha256: str | None) -> None:
        found = ""
        for _ in range(2):
            try:
                self.tried(name, lambda filesystem, path: filesystem.get_file(path, str(part)))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    error.filename = str(part)
                raise
            if sha256 is None or (found := sha256_of(part)) == sha256:
                return
        raise damaged_object(f"{self.url}/{name}", expected=f"sha256 {sha256}", found=f"sha256 {found}, twice")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock file that one thread of one process can hold at a time; a killed one lets go by itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def damaged_object(url: str, *, expected: str, found: str) -> DataError:
    """That an object is not what was published."""
    hint = "ingest again where it was published, or restore it from a copy"
    violation = Violation(code=Code.CHECKSUM, stage="load", aspect=url, expected=expected, found=found, hint=hint)
    return DataError(Verdict(violations=(violation,)))


def _found(info: Mapping[str, Any]) -> Found:
    mark = next((str(info[key]) for key in ("ETag", "etag", "generation") if info.get(key)), "")
    times = (info.get(key) for key in ("LastModified", "last_modified", "mtime", "updated", "created"))
    written_ns = next((_nanoseconds(time) for time in times if time is not None), 0)
    return Found(size=int(info["size"]), mark=mark or str(written_ns), written_ns=written_ns)


def _nanoseconds(time: Any) -> int:
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    return int((time.timestamp() if isinstance(time, datetime) else float(time)) * 1e9)


_FINAL = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)

_BUSY = {
    getattr(errno, name)
    for name in ("EAGAIN", "EBUSY", "EINTR", "EREMOTEIO", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ENETRESET")
    if hasattr(errno, name)
}

_OF_THE_NETWORK = {
    *("HTTPClientError", "ConnectionError", "ResponseParserError", "IncompleteReadError"),  # botocore
    *("ClientConnectionError", "ClientPayloadError", "ServerDisconnectedError"),  # aiohttp
    *("Timeout", "ChunkedEncodingError", "ChecksumError", "TransportError", "IncompleteRead"),  # gcsfs and what it uses
}
"""Names of errors that are no OSError, and the network's: told by name, since a store's library may not be there."""


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if isinstance(error, _FINAL):
        return False
    if (status := _status(error)) is not None:
        return status in (408, 409, 429) or status >= 500
    if isinstance(error, ConnectionError | TimeoutError) or getattr(error, "errno", None) in _BUSY:
        return True
    return any(kind.__name__ in _OF_THE_NETWORK for kind in type(error).__mro__)


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that a library's error, or what brought it about, was made of."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):  # botocore
            status: object = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            status = getattr(error, "status", None) or getattr(error, "code", None)  # aiohttp, gcsfs
        if status is not None and str(status).isdecimal():
            return int(str(status))
        error = error.__cause__
    return None


_NUMBERS = (
    (FileNotFoundError, errno.ENOENT),
    (PermissionError, errno.EACCES),
    (FileExistsError, errno.EEXIST),
    (IsADirectoryError, errno.EISDIR),
    (NotADirectoryError, errno.ENOTDIR),
    (TimeoutError, errno.ETIMEDOUT),
)


def _as_os_error(error: Exception, url: str) -> OSError:
    """An OSError of the same kind that names the URL, whatever a store's library raised."""
    if isinstance(error, OSError) and isinstance(error.filename, str) and Path(error.filename).is_absolute():
        return error  # of the disk that it was downloaded to
    number = next((number for kind, number in _NUMBERS if isinstance(error, kind)), getattr(error, "errno", None))
    said = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
    if isinstance(error, FileNotFoundError) and not getattr(error, "strerror", None) and "bucket" not in said:
        said = "no such object"
    return OSError(number if isinstance(number, int) else errno.EIO, said, url)

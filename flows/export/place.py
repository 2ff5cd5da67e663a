"""Where an export is made, out of sight, and how the whole of it comes to its place in one step."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhwc.flows.durable import locked, move_durably, sync_tree, write_text
from nhwc.flows.export.form import Part
from nhwc.flows.publish import checksums_text
from nhwc.pipelines.checksums import CHECKSUMS, read_checksums, sha256_of
from nhwc.validators.errors import BusyError, RecipeError

EXPORT = "export.json"
"""In an export, beside CHECKSUMS: what was exported."""

_MADE_BY = ("nhwc", "libraries")
"""What EXPORT says of how it was made: another nhwc's export of the same is the same export."""


def is_whole(out: Path, told: Mapping[str, Any]) -> bool:
    """Whether this export is there already, file by file; False where nothing is, or an empty folder.

    Args:
        out: where it would go.
        told: what EXPORT would say.

    Raises RecipeError where something else is there, or what is left of this export.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        said = json.loads((out / EXPORT).read_text(encoding="utf-8"))
        what = f"an export to {said['form']} of {said['dataset']} {said['version']}"
    except (OSError, ValueError, KeyError, TypeError):
        raise _refusal(out, "something else there") from None
    if _exported(said) != _exported(told):
        raise _refusal(out, f"{what} there")
    if damaged := _damaged(out):
        found = f"this export, in which {', '.join(damaged[:5])} {'is' if len(damaged) == 1 else 'are'} damaged"
        raise RecipeError(str(out), (f"found {found}: remove the folder, then export again",))
    _tidy(_workplace(out))
    return True


def _workplace(out: Path) -> Path:
    return out.with_name(f".{out.name}.nhwc-export")


def _tidy(folder: Path) -> None:
    """Remove a workplace that a run left which was killed once the export was at its place."""
    if folder.is_dir():
        with suppress(BusyError), locked(folder):
            shutil.rmtree(folder)


def _refusal(out: Path, found: str) -> RecipeError:
    return RecipeError(str(out), (f"found {found}, expected nothing: name another place. It was left as it is",))


def _exported(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in _MADE_BY}


def _damaged(out: Path) -> list[str]:
    """Which of an export's files are missing or not what its checksums say; checksums that say nothing are damaged."""
    try:
        sums = read_checksums(out)
    except (OSError, ValueError):
        return [CHECKSUMS]
    return [name for name, sha256 in sums.items() if not (out / name).is_file() or sha256_of(out / name) != sha256]


@contextmanager
def workplace(out: Path, told: Mapping[str, Any]) -> Iterator[Workplace]:
    """The place where an export to `out` is made, with what an earlier run of the same finished there.

    Raises BusyError where another process is at it.
    """
    folder, text = _workplace(out), json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    with locked(folder):
        place = Workplace(folder=folder, out=out)
        if not (place.tree / EXPORT).is_file() or (place.tree / EXPORT).read_text(encoding="utf-8") != text:
            for name in ("tree", "done"):
                shutil.rmtree(folder / name, ignore_errors=True)
            write_text(place.tree / EXPORT, text)
        yield place


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """A hidden folder beside the place of an export, in which it grows; of this process alone.

    Args:
        folder: it. In it lie `tree`, which becomes the export, and `done`, with the checksums of each finished part.
        out: where the export goes.
    """

    folder: Path
    out: Path

    @property
    def tree(self) -> Path:
        """What becomes the export."""
        return self.folder / "tree"

    def finished(self, part: Part) -> dict[str, str] | None:
        """The SHA-256 of each of a part's files, by path relative to the tree; None where one is not what it was."""
        try:
            sums = read_checksums(self.folder / "done" / str(part))
            whole = all(sha256_of(self.tree / name) == sha256 for name, sha256 in sums.items())
        except (OSError, ValueError):
            return None
        return sums if whole else None

    def finish(self, part: Part, paths: Iterable[Path]) -> dict[str, str]:
        """Note that a part's files are whole; the SHA-256 of each."""
        sums = self._sums(paths)
        write_text(self.folder / "done" / str(part) / CHECKSUMS, checksums_text(sums))
        return sums

    def sweep(self, names: Collection[str]) -> None:
        """Remove from the tree what is of no finished part: a killed run left it."""
        known = {EXPORT, *names}
        for path in self._files():
            if path.relative_to(self.tree).as_posix() not in known:
                path.unlink()

    def publish(self, sums: Mapping[str, str]) -> None:
        """Write `checksums`, of what is not among those given too, and bring the tree to its place."""
        files = {path.relative_to(self.tree).as_posix(): path for path in self._files()}
        sums = {name: sums[name] if name in sums else sha256_of(path) for name, path in files.items()}
        write_text(self.tree / CHECKSUMS, checksums_text(sums))
        sync_tree(self.tree)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        move_durably(self.tree, self.out)
        shutil.rmtree(self.folder)

    def _files(self) -> list[Path]:
        return [path for path in self.tree.rglob("*") if not path.is_dir()]

    def _sums(self, paths: Iterable[Path]) -> dict[str, str]:
        return {path.relative_to(self.tree).as_posix(): sha256_of(path) for path in paths}

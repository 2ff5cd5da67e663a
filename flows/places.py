"""The places that a recipe names: paths and URLs, told wrong before anything is read and without the network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nhwc.pipelines.mirror import mirror_of
from nhwc.pipelines.remote import is_url, url_problem

_FILES = (
    ("labels", "file", "a CSV or Parquet file", "fetch it first"),
    ("checks", "contract", "a contract.yaml", "fetch it first"),
    ("checks", "file", "a Python file of pandera rules", "it is Python that is run, so fetch it yourself"),
)
"""Part and key of each file that a recipe names, what it is, and why it is no URL."""

_UNKNOWN = "?"
_SOMEWHERE = Path("/", *[_UNKNOWN] * 64)
"""A recipe's folder of which nothing is known: deeper than any path leads up from it."""


def place_problems(parts: dict[str, Any], base: Path) -> list[str]:
    """What is wrong with a recipe's places: they are not there, or lead into the source.

    Args:
        parts: the recipe's, by name, as far as each by itself is right.
        base: what paths are relative to.

    Raises OSError or RuntimeError where a path cannot be looked at.
    """
    problems = []
    source, publish, dataset = (parts.get(name) for name in ("source", "publish", "dataset"))
    if source and (wrong := source.wrong_place(base)):
        problems.append(wrong)
    elif source and is_url(source.place):
        problems += _wrong_url("source.path", source.place)
    for part, key, kind, mend in _FILES:
        file = getattr(parts.get(part), key, None)
        if is_url(file):
            problems.append(f"{part}.{key}: found {file!r}, expected the path of {kind} on this machine: {mend}")
        elif file and not (base / file).is_file():
            problems.append(f"{part}.{key}: found {file!r}, which is no file, expected {kind}")
    if publish and dataset and is_url(publish.to):
        problems += _wrong_url("publish.to", publish.to) or _on_store(source, publish.to, dataset, base)
    elif publish and dataset:
        problems += _in_folder(source, publish.to, dataset, base)
    return problems


def _wrong_url(key: str, url: str) -> list[str]:
    problem = url_problem(url)
    return [] if problem is None else [f"{key}: {problem}"]


def _in_folder(source: Any, to: str, dataset: str, base: Path) -> list[str]:
    """What is wrong with a folder to publish to."""
    problems = []
    target = (base / to / dataset).resolve()
    there = next(path for path in (target, *target.parents) if path.exists())
    if not there.is_dir():
        problems.append(f"publish.to: found {to!r}, but {there} is a file, expected a folder or none yet")
    if source and not is_url(source.place) and writes_into(base / source.place, to=base / to, dataset=dataset):
        problems.append(_in_one_another(to, str(Path(to, dataset)), source.place))
    return problems


def _on_store(source: Any, to: str, dataset: str, base: Path) -> list[str]:
    """What is wrong with a place on a store to publish to."""
    above = to.rstrip("/")
    url = f"{above}/{dataset}"
    mirror = mirror_of(url)
    if source and is_url(source.place):
        images = source.place.rstrip("/")
        within = ((url, images), (above, images), (images, url))
        if any(f"{one}/".startswith(f"{other}/") for one, other in within):
            return [_in_one_another(to, url, source.place)]
    elif source and writes_into(base / source.place, to=mirror.parent, dataset=mirror.name):
        found = f"publish.to: found {to!r}, whose mirror {mirror} and source.path {source.place!r} lie in one another"
        return [f"{found}: set NHWC_CACHE to another folder"]
    return []


def _in_one_another(to: str, place: str, source: str) -> str:
    return (
        f"publish.to: found {to!r}, but {place} and source.path {source!r} lie in one another: nothing is ever written "
        "into the source"
    )


def place_beside(dataset: Path, place: str, *, named: str) -> Path | None:
    """Where a source lies that the recipe of a published dataset names; None where that is a URL or cannot be told.

    The paths are relative to the recipe's folder, which is not recorded, but the dataset lies where the recipe says.

    Args:
        dataset: its folder, links followed.
        place: the source's path or URL.
        named: the dataset's path or URL, as the recipe says it.
    """
    if is_url(place):
        return None
    if Path(place).is_absolute():
        return Path(place)
    if is_url(named) or Path(named).is_absolute():
        return None
    way = Path(os.path.relpath(_SOMEWHERE / place, _SOMEWHERE / named))
    return None if _UNKNOWN in way.parts else Path(os.path.normpath(dataset / way))


def writes_into(source: Path, *, to: Path, dataset: str) -> bool:
    """Whether <to>/<dataset>, links followed, is the source, lies in it or holds it, or <to> lies in it.

    Raises OSError or RuntimeError where links lead in a loop.
    """
    real, target = source.resolve(), (to / dataset).resolve()
    return any(path.is_relative_to(real) for path in (to.resolve(), target)) or real.is_relative_to(target)

"""Where TFDS puts a prepared dataset: <data_dir>/<name>[/<config>]/<version>. TFDS is not imported to tell."""

from __future__ import annotations

import json
import re
from pathlib import Path

NAME = r"[A-Za-z_]\w*(/[\w.+-]+)?(:\d+\.\d+\.\d+)?"
"""How a dataset is named: mnist, mnist:3.0.1, or with a config as imagenet_resized/32x32:0.1.0."""

FEATURES, INFO = "features.json", "dataset_info.json"
"""The files by which a prepared dataset is known."""

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def prepared_at(data_dir: Path, name: str) -> Path | None:
    """The folder of a prepared dataset: its newest version, and its default config, unless the name says another.

    None where there is none.
    """
    dataset, _, version = name.partition(":")
    folder = data_dir / dataset
    found = [version] if version else _versions(folder)
    if "/" not in dataset and not any(is_prepared(folder / one) for one in found):
        config = _default_config(folder)
        if config is not None:
            folder = folder / config
            found = [version] if version else _versions(folder)
    return next((folder / one for one in found if is_prepared(folder / one)), None)


def is_prepared(folder: Path) -> bool:
    """Whether a folder is that of a prepared dataset."""
    return (folder / FEATURES).is_file() and (folder / INFO).is_file()


def what_there_is(folder: Path) -> list[str]:
    """The names of all prepared datasets below a folder, as a recipe names them."""
    found = (file for depth in ("*/*/", "*/*/*/") for file in folder.glob(depth + FEATURES))
    deep = (file.parent.relative_to(folder) for file in found)
    return sorted(f"{one.parent.as_posix()}:{one.name}" for one in deep)


def _versions(folder: Path) -> list[str]:
    """The newest first."""
    if not folder.is_dir():
        return []
    names = [one.name for one in folder.iterdir() if _VERSION.fullmatch(one.name)]
    return sorted(names, key=lambda name: tuple(map(int, name.split("."))), reverse=True)


def _default_config(folder: Path) -> str | None:
    """What TFDS has written of a dataset with configs."""
    try:
        told = json.loads((folder / ".config" / "metadata.json").read_text())["default_config_name"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return told if isinstance(told, str) and re.fullmatch(r"[\w+-][\w.+-]*", told) else None

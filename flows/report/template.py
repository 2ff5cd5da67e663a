"""The page's template, compiled once and kept beside its source, as the compiled loops are."""

from __future__ import annotations

import io
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from jinja2 import BytecodeCache, Environment, FunctionLoader, StrictUndefined, Template
from jinja2.bccache import Bucket
from markupsafe import Markup

from nhwc.flows.printable import printable

_PAGE = "page.html.jinja"


def part(name: str) -> str:
    """One of the files that the page is made of."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def page_template() -> Template:
    """The page's template. To compile it takes as long as to fill it in three times."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(part),
        bytecode_cache=_BesideSource(),
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["percent"] = _percent
    return environment.get_template(_PAGE)


class _BesideSource(BytecodeCache):
    """In __pycache__, where that can be written; what is damaged there, or was made otherwise, is not taken."""

    def get_source_checksum(self, source: str) -> str:
        """Of the template and of all else that decides what is made of it."""
        return super().get_source_checksum("\0".join((source, version("jinja2"), part("template.py"))))

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(Exception):  # OSError where there is none yet; a damaged one raises nearly anything
            bucket.load_bytecode(io.BytesIO(_compiled_file().read_bytes()))

    def dump_bytecode(self, bucket: Bucket) -> None:
        file = _compiled_file()
        with suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=file.parent) as place:
                unfinished = Path(place, file.name)
                unfinished.write_bytes(bucket.bytecode_to_string())
                unfinished.replace(file)


def _compiled_file() -> Path:
    return Path(cache_from_source(str(Path(__file__).with_name(_PAGE)))).with_suffix(".jinja")


def _shown(value: Any) -> Any:
    """Whatever the page says, without characters that steer: names come from who made the files."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return printable(value)


def _percent(share: float) -> str:
    """A share in words that does not round what there is to nothing, nor what is not all to all."""
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{min(share, 0.999):.1%}" if 0 < share < 1 else f"{share:.0%}"

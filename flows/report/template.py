"""The page's template, compiled once and kept beside its source, as the compiled loops are."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemBytecodeCache, FunctionLoader, StrictUndefined, Template
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
        bytecode_cache=_BesideSource(str(_kept_in()), f"%s.{sys.implementation.cache_tag}.jinja"),
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["percent"] = _percent
    return environment.get_template(_PAGE)


class _BesideSource(FileSystemBytecodeCache):
    """In __pycache__, where that can be written; what is damaged there, or was made otherwise, is not taken."""

    def get_source_checksum(self, source: str) -> str:
        """Of the template and of all else that decides what is made of it."""
        return super().get_source_checksum("\0".join((source, version("jinja2"), part("template.py"))))

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(Exception):  # a damaged one raises nearly anything
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            Path(self.directory).mkdir(exist_ok=True)
            super().dump_bytecode(bucket)


def _kept_in() -> Path:
    return Path(cache_from_source(__file__)).parent


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

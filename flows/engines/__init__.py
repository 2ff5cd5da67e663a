"""Who makes the shards of an ingest: threads, processes of this machine, or a cluster of Dask's or Ray's.

Whichever it is, it is given the same chunks and makes the same shards. No pixel travels between processes: a worker
reads the files of its chunk, writes the shard where the dataset is staged, and gives back the manifest's rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any, get_args

from nhwc.flows.engines.processes import Processes
from nhwc.flows.engines.protocol import Engine, EngineName
from nhwc.flows.engines.threads import Threads
from nhwc.flows.parallel import THREADS, beside
from nhwc.validators.argument import named, shown, wrong_number
from nhwc.validators.errors import RecipeError

__all__ = ["Engine", "EngineName", "EngineOptions", "open_engine"]

_NEEDS = {"dask": "distributed", "ray": "ray"}
"""The package that an engine is made of, where it is an extra."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Which engine makes the shards.

    Args:
        name: `threads` of this process, `processes` of this machine, `dask` or `ray`.
        workers: how many work at once; None: as many as this machine has cores. Threads are always as many, and a
            cluster that runs already has its own number.
        address: of a Dask scheduler or a Ray cluster that runs already; None: one is started here and stopped again.
            Its workers must see the source and the dataset's folder at the same paths.
    """

    name: str = "threads"
    workers: int | None = None
    address: str | None = None

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> EngineOptions:
        """Those named, as a deployment's parameters give them. Raises RecipeError where a name is none of theirs."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(asked) - set(known)):
            raise RecipeError(
                "engine", tuple(f"{one}: unknown, expected some of {', '.join(known)}" for one in unknown)
            )
        return cls(**asked)

    def problems(self) -> list[str]:
        """Everything that is wrong with them, a line each."""
        if self.name not in get_args(EngineName):
            return [f"engine: found {self.name!r}, expected one of {', '.join(get_args(EngineName))}"]
        problems = []
        if (package := _NEEDS.get(self.name)) and find_spec(package) is None:
            problems.append(f"engine: found {self.name}, which is not installed: pip install 'nhwc[{self.name}]'")
        address = None if isinstance(self.address, str | None) else f"found {shown(self.address)}, expected text"
        problems += named(workers=wrong_number(self.workers, least=1, optional=True), address=address)
        if self.workers is not None and self.name == "threads":
            problems.append("workers: found beside threads, of which each core has one: leave it out, or use processes")
        if self.address is not None and self.name not in _NEEDS:
            problems.append(f"address: found beside {self.name}, expected none: only dask and ray have one")
        if self.address is not None and self.workers is not None:
            problems.append("workers: found beside an address, but a cluster that runs has its own: leave one out")
        return problems

    def check(self) -> None:
        """Raises RecipeError, with all that is wrong at once."""
        if problems := self.problems():
            raise RecipeError("engine", tuple(problems))


@contextmanager
def open_engine(options: EngineOptions) -> Iterator[Engine]:
    """The engine; what it starts, it starts when there is work, and stops again. The options have been checked."""
    workers = options.workers or THREADS
    match options.name:
        case "processes":
            yield Processes(workers=workers)
        case "dask":
            from nhwc.flows.engines.dask import Dask  # noqa: PLC0415  an extra, like the next

            yield Dask(workers=workers, address=options.address)
        case "ray":
            from nhwc.flows.engines.ray import Ray  # noqa: PLC0415

            yield Ray(workers=workers, address=options.address)
        case _:
            with beside() as hand_over:  # a shard is written and synced while the next is decoded
                yield Threads(hand_over=hand_over)

"""A progress bar on the terminal; nothing where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nhwc.flows.steps import Progress as Told


@contextmanager
def progress_bar(title: str) -> Iterator[Told]:
    """A bar for each kind of work.

    It has a descriptor of its own, which goes on reaching the terminal while stderr is silenced.
    """
    with open(os.dup(2), "w", encoding="utf-8", errors="backslashreplace") as terminal:  # noqa: PTH123  a descriptor
        columns = TextColumn(f"{title}: {{task.description}}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        console = Console(file=terminal)
        with Progress(
            *columns,
            console=console,
            transient=True,
            disable=not os.isatty(2),
            redirect_stdout=False,
            redirect_stderr=False,
        ) as bars:
            known: dict[str, object] = {}

            def told(name: str, more: int, total: int) -> None:
                if name not in known:
                    known[name] = bars.add_task(name, total=total)
                bars.update(known[name], advance=more)  # type: ignore[arg-type]  # rich's TaskID is an int

            yield told

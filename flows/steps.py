"""How a run tells of its work: in named steps, and of how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

Result = TypeVar("Result")


class Step(Protocol):
    """Runs a named piece of work and gives back what it gave."""

    def __call__(self, name: str, work: Callable[[], Result]) -> Result:
        """Run the work under that name; what it raises is raised."""
        ...


Progress = Callable[[str, int, int], None]
"""Told the name of the work, how many more of its parts are done, and how many there are."""


def run_now(name: str, work: Callable[[], Result]) -> Result:
    """The step that just runs the work."""
    return work()


def no_progress(name: str, more: int, total: int) -> None:
    """The progress that nobody sees."""

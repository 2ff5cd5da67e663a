"""Every error that nhwc raises on purpose.

    NhwcError
    ├── DataError       your data broke a promise     exit status 1   .verdict
    ├── SampleRefused   one sample cannot go on        (never leaves a pipeline)   .violation
    ├── RecipeError     your recipe or call is wrong   exit status 2   .problems
    └── MachineError    disk, memory or network        exit status 3
        └── BusyError   another run writes the dataset

Facts are in `args`, text in `__str__`: an error that crosses a process arrives whole.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Violation

_OF_THE_MACHINE = {
    errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT
}  # fmt: skip


class NhwcError(Exception):
    """The root: catch this to catch all of them."""

    exit_status: ClassVar[int] = 3
    ag_pass_through: ClassVar[bool] = True  # else TensorFlow's autograph makes a StagingError of it in a tf.data map


class DataError(NhwcError):
    """The data broke its contract or its budget; `verdict` holds every reason."""

    exit_status = 1

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict

    def __str__(self) -> str:
        return str(self.verdict)


class SampleRefused(NhwcError):  # noqa: N818  a sample's fate and no error of anyone's
    """One sample cannot go on. Raised by a transform, turned into a quarantined row by the stage that ran it."""

    exit_status = 1

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation)
        self.violation = violation

    def __str__(self) -> str:
        return str(self.violation)


class RecipeError(NhwcError):
    """The recipe or the call is wrong; `problems` holds one line for each wrong key or argument."""

    exit_status = 2

    def __init__(self, where: str, problems: tuple[str, ...]) -> None:
        super().__init__(where, problems)
        self.where = where
        self.problems = problems

    @property
    def lines(self) -> tuple[str, ...]:
        """Each problem with where it is, as another error can list it."""
        return tuple(f"{self.where}: {problem}" for problem in self.problems)

    def __str__(self) -> str:
        return "\n".join([f"{self.where}:", *(f"  {problem}" for problem in self.problems)])


class MachineError(NhwcError):
    """The machine failed: disk full, no permission, no server. Running the same again may work."""

    exit_status = 3

    @classmethod
    def of(cls, error: OSError, where: object = None) -> MachineError:
        """What the system said, of the file that it named, or else of `where`."""
        return cls(f"{error.filename or where}: {error.strerror or error}: mend it, then run the same again")

    @classmethod
    def see(cls, error: BaseException, where: object = None) -> None:
        """Raises it where the error is the machine's: a file that is there and cannot be read, whatever is in it."""
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            raise cls.of(error, where) from error


class BusyError(MachineError):
    """Another run is writing the same dataset. It works once that run has ended."""

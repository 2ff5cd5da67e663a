"""A verdict: did the data keep its promise, and if not, every reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from nhwc.validators.violation import Violation


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check of many samples came to.

    Args:
        violations: what speaks against the data; none means that it passed.
        warnings: what a person should look at, though it passed.
        figures: what was counted or measured, by name.
        paths: of the samples that violations name, by sample id, where they are known; no part of what is compared.
    """

    violations: tuple[Violation, ...] = ()
    warnings: tuple[Violation, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    paths: Mapping[str | None, str] = field(default_factory=dict, compare=False)

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the data."""
        return not self.violations

    def by_code(self) -> dict[str, int]:
        """How many violations there are of each code, most frequent first."""
        return dict(Counter(str(violation.code) for violation in self.violations).most_common())

    def require(self) -> Verdict:
        """This verdict if it passed. Raises DataError, with every reason, if it did not."""
        from nhwc.validators.errors import DataError  # noqa: PLC0415  an error holds a verdict, so errors imports this

        if not self.passed:
            raise DataError(self)
        return self

    def __str__(self) -> str:
        if self.passed:
            return "passed"
        return "\n".join(self._told(violation) for violation in self.violations)

    def _told(self, violation: Violation) -> str:
        path = self.paths.get(violation.sample_id)
        return str(violation) if path is None else f"{path}: {violation}"

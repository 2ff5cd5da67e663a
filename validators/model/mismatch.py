"""How the model gate says what it found."""

from __future__ import annotations

from nhwc.validators.violation import Code, Violation


def mismatch(code: Code, aspect: str, expected: str, found: str, hint: str = "") -> Violation:
    """What does not fit, or cannot be told, as a violation at stage model."""
    return Violation(code=code, stage="model", aspect=aspect, expected=expected, found=found, hint=hint)


def first_line(error: Exception) -> str:
    """The first line of its text; its type where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

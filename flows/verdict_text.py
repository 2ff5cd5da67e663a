"""A verdict for people and for machines: text, JSON, JUnit's XML, Markdown, and the rows of a table."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from nhwc.flows.printable import markdown_cell, printable, printable_json
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Violation

if TYPE_CHECKING:
    from nhwc.flows.subject import Subject

WRITTEN_OUT = 5
"""Findings of one code that the text writes out."""

EXAMPLES = 3
"""How many files a code's line names."""


def one_line(verdict: Verdict, subject: Subject) -> str:
    """The verdict in one line."""
    state = "passed" if verdict.passed else "refused"
    counts = f"{len(verdict.violations)} findings refuse, {len(verdict.warnings)} warn"
    return f"{printable(subject.name)}: {state}; {counts}; {verdict.figures['kept']:,.0f} samples"


def as_text(verdict: Verdict, subject: Subject) -> str:
    """The first findings of each code with the file's name, those that refuse first; the verdict last, where a terminal
    shows it. JSON has every finding, the report shows them.
    """
    paths = subject.paths((*verdict.violations, *verdict.warnings))
    lines = []
    for (level, code), found in _groups(verdict).items():
        word = "refused" if level == "refuse" else "warning"
        lines += [f"{word}: {paths.get(one.sample_id, 'dataset')}: {one}" for one in found[:WRITTEN_OUT]]
        if len(found) > WRITTEN_OUT:
            more = f"and {len(found) - WRITTEN_OUT:,} more: --json names all, --report shows them"
            lines.append(f"{word}: {code}: {more}")
    return "\n".join(map(printable, [*lines, one_line(verdict, subject)]))


def as_json(verdict: Verdict, subject: Subject) -> str:
    """One object: passed, violations (each with its level and its file's path, null for the dataset), figures."""
    paths = subject.paths((*verdict.violations, *verdict.warnings))
    violations = [asdict(one) | {"level": level, "path": paths.get(one.sample_id)} for level, one in _weighed(verdict)]
    plain = {"passed": verdict.passed, "violations": violations, "figures": dict(verdict.figures)}
    return printable_json(json.dumps(plain, indent=2, ensure_ascii=False))


def as_junit(verdict: Verdict, subject: Subject) -> str:
    """JUnit's XML: a test case a code, failed where it refuses, with every finding's file and text."""
    groups = _groups(verdict)
    paths = subject.paths((*verdict.violations, *verdict.warnings))
    failures = sum(level == "refuse" for level, _ in groups)
    suite = ElementTree.Element(
        "testsuite", name=printable(subject.name), tests=str(max(len(groups), 1)), failures=str(failures)
    )
    for (level, code), found in groups.items():
        case = ElementTree.SubElement(suite, "testcase", classname="nhwc.gate", name=code)
        tag = "failure" if level == "refuse" else "system-out"
        attributes = {"message": f"{len(found)} {code}"} if level == "refuse" else {}
        ElementTree.SubElement(case, tag, attributes).text = _printable_lines(
            f"{paths.get(one.sample_id, 'dataset')}: {one}" for one in found
        )
    if not groups:
        ElementTree.SubElement(suite, "testcase", classname="nhwc.gate", name="passed")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def as_markdown(verdict: Verdict, subject: Subject) -> str:
    """A page for Prefect or for a pull request: the verdict, then a line a code with the first files."""
    lines = [f"# {markdown_cell(one_line(verdict, subject))}", ""]
    if rows := as_table(verdict, subject):
        lines += ["| level | code | count | meaning | first | to mend |", "| --- | --- | ---: | --- | --- | --- |"]
        lines += ["| " + " | ".join(markdown_cell(str(cell)) for cell in row.values()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def as_table(verdict: Verdict, subject: Subject) -> list[dict[str, str | int]]:
    """A row a level and code: level, code, count, meaning, first (files, or what was found), to mend."""
    paths = subject.paths((*verdict.violations, *verdict.warnings))
    rows: list[dict[str, str | int]] = []
    for (level, _), found in _groups(verdict).items():
        named = [paths.get(one.sample_id, one.found) for one in found[:EXAMPLES]]
        more = [f"and {len(found) - EXAMPLES:,} more"] if len(found) > EXAMPLES else []
        code = found[0].code
        rows.append(
            {
                "level": level,
                "code": str(code),
                "count": len(found),
                "meaning": code.meaning,
                "first": ", ".join(map(printable, [*named, *more])),
                "to mend": found[0].hint,
            }
        )
    return rows


def _groups(verdict: Verdict) -> dict[tuple[str, str], list[Violation]]:
    groups = defaultdict(list)
    for level, one in _weighed(verdict):
        groups[level, str(one.code)].append(one)
    return dict(groups)


def _printable_lines(lines: Iterable[str]) -> str:
    return "\n".join("".join(char if char.isprintable() else "?" for char in line) for line in lines)


def _weighed(verdict: Verdict) -> Iterator[tuple[str, Violation]]:
    yield from (("refuse", one) for one in verdict.violations)
    yield from (("warn", one) for one in verdict.warnings)

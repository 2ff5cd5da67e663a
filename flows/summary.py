"""What an ingest came to, in words: for the terminal and as Markdown for Prefect's pages."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from nhwc.flows.ingest import Ingested
from nhwc.flows.printable import markdown_cell, printable
from nhwc.flows.publish import REFUSED_REPORT, REPORT
from nhwc.validators.manifest import status_counts
from nhwc.validators.violation import Code

_MEANINGS = {str(code): code.meaning for code in Code}

EXAMPLES = 3
"""How many names a code's line shows."""


def one_line(ingested: Ingested) -> str:
    """The outcome in one line."""
    counts = status_counts(ingested.manifest)
    said = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    where = f"version {ingested.version.number}" if ingested.version else "nothing published"
    return f"{ingested.outcome}: {where}; {ingested.manifest.height:,} discovered = {said}"


def text(ingested: Ingested, dataset: str) -> str:
    """The summary that `nhwc ingest` prints: counts by code with names, where it lies, and the next command."""
    lines = [f"{dataset}: {one_line(ingested)}"]
    for title, rows in _tables(ingested):
        lines.append(f"  {title}")
        width = max(len(code) for code, _, _ in rows)
        lines += [f"    {code:<{width}}  {count:>6,}  {_MEANINGS[code]}: {names}" for code, count, names in rows]
    for finding in ingested.findings:
        lines.append(f"  classes: {finding.code}: {printable(finding.found)} (expected {finding.expected})")
    lines += [f"  refused: {printable(str(violation))}" for violation in ingested.verdict.violations]
    return "\n".join([*lines, f"  files decoded in this run: {ingested.made:,}", *_where(ingested)])


def markdown(ingested: Ingested, dataset: str) -> str:
    """The same for a Prefect artifact."""
    lines = [f"# {dataset}: {ingested.outcome}", "", markdown_cell(one_line(ingested)), ""]
    for title, rows in _tables(ingested):
        lines += [f"## {title}", "", "| code | count | meaning | first names |", "| --- | ---: | --- | --- |"]
        lines += [f"| {code} | {count} | {_MEANINGS[code]} | {markdown_cell(names)} |" for code, count, names in rows]
        lines.append("")
    lines += [f"- {finding.code}: {markdown_cell(finding.found)}" for finding in ingested.findings]
    lines += [f"- **refused**: {markdown_cell(str(violation))}" for violation in ingested.verdict.violations]
    return "\n".join([*lines, "", *(f"    {line.strip()}" for line in _where(ingested))])


def artifact_key(dataset: str) -> str:
    """A Prefect artifact key: lower-case letters, digits and dashes only."""
    return "nhwc-" + re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")


def _tables(ingested: Ingested) -> Iterator[tuple[str, list[tuple[str, int, str]]]]:
    """(title, rows of code, count, first names) for what was quarantined, skipped, and kept with a note."""
    manifest = ingested.manifest
    noted = manifest.filter(pl.col("status") == "kept").select("path", code="notes").explode("code").drop_nulls("code")
    for title, rows in (
        ("quarantined", manifest.filter(pl.col("status") == "quarantined")),
        ("skipped", manifest.filter(pl.col("status") == "skipped")),
        ("kept, and noted", noted),
    ):
        if rows.height:
            counted = (
                rows.group_by("code")
                .agg(pl.len(), pl.col("path").sort().head(EXAMPLES))
                .sort("len", "code", descending=[True, False])
            )
            yield title, [(code, count, _names(paths, count)) for code, count, paths in counted.iter_rows()]


def _names(paths: list[str], count: int) -> str:
    more = f", and {count - len(paths):,} more" if count > len(paths) else ""
    return ", ".join(printable(path) for path in paths) + more


def _where(ingested: Ingested) -> list[str]:
    if ingested.version is None:
        return [
            f"  every reason: {ingested.place} (as a page: {ingested.place.with_name(REFUSED_REPORT)})",
            "  next: mend the source, or raise the budget in the recipe's checks, and run the same again",
        ]
    return [
        f"  lies in: {ingested.version.name}/{ingested.version.number} (as a page: {ingested.place / REPORT})",
        f"  next: nhwc gate {ingested.version.name}",
    ]

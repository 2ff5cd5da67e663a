"""What an ingest came to, in words: for the terminal and as Markdown for Prefect's pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

import polars as pl

from nhwc.flows.deciding import Ingested
from nhwc.flows.printable import markdown_cell, printable
from nhwc.flows.publish import REFUSED_REPORT, REPORT
from nhwc.validators.manifest import status_counts
from nhwc.validators.violation import Code, Violation

_MEANINGS = {str(code): code.meaning for code in Code}

EXAMPLES = 3
"""How many names a code's line shows."""

WRITTEN_OUT = 5
"""Findings of one code that are written out."""


def one_line(ingested: Ingested) -> str:
    """The outcome in one line."""
    counts = status_counts(ingested.manifest)
    said = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    where = f"version {ingested.version.number}" if ingested.version else "nothing published"
    refusing = Counter(map(_code, ingested.verdict.violations))
    why = "; refused by " + ", ".join(f"{code} ({count:,})" for code, count in refusing.items()) if refusing else ""
    return f"{ingested.outcome}: {where}; {ingested.manifest.height:,} discovered = {said}{why}"


def text(ingested: Ingested, dataset: str) -> str:
    """The summary that `nhwc ingest` prints: counts by code with names, where it lies, and the next command."""
    lines = [f"{dataset}: {one_line(ingested)}"]
    for title, rows in _tables(ingested):
        lines.append(f"  {title}")
        width = max(len(code) for code, _, _ in rows)
        lines += [f"    {code:<{width}}  {count:>6,}  {_MEANINGS[code]}: {names}" for code, count, names in rows]
    for finding in ingested.findings:
        lines.append(f"  classes: {finding.code}: {printable(finding.found)} (expected {printable(finding.expected)})")
    lines += [f"  refused: {printable(said)}" for said in _refusals(ingested)]
    lines += [f"  {line}" for line in _upkeep(ingested)]
    return "\n".join([*lines, f"  files decoded in this run: {ingested.made:,}", *_where(ingested)])


def markdown(ingested: Ingested, dataset: str) -> str:
    """The same for a Prefect artifact."""
    lines = [f"# {dataset}: {ingested.outcome}", "", markdown_cell(one_line(ingested)), ""]
    for title, rows in _tables(ingested):
        lines += [f"## {title}", "", "| code | count | meaning | first names |", "| --- | ---: | --- | --- |"]
        lines += [f"| {code} | {count} | {_MEANINGS[code]} | {markdown_cell(names)} |" for code, count, names in rows]
        lines.append("")
    lines += [f"- {finding.code}: {markdown_cell(finding.found)}" for finding in ingested.findings]
    lines += [f"- **refused**: {markdown_cell(said)}" for said in _refusals(ingested)]
    lines += [f"- {markdown_cell(line)}" for line in _upkeep(ingested)]
    return "\n".join([*lines, "", *(f"    {line.strip()}" for line in _where(ingested))])


def table(ingested: Ingested) -> list[dict[str, str | int]]:
    """A row a code: status, code, count, meaning, first names or what was found. What refused stands first."""
    refusing = {_code(one): one for one in reversed(ingested.verdict.violations)}
    counts = Counter(map(_code, ingested.verdict.violations))
    said = [("refused by", code, counts[code], printable(one.found)) for code, one in refusing.items()]
    said += [(title, *row) for title, rows in _tables(ingested) for row in rows]
    return [
        {"status": status, "code": code, "count": count, "meaning": _MEANINGS[code], "first": first}
        for status, code, count, first in said
    ]


def artifact_key(dataset: str) -> str:
    """A Prefect artifact key: lower-case letters, digits and dashes only."""
    return "nhwc-" + re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")


def _refusals(ingested: Ingested) -> Iterator[str]:
    """What refuses the run, each with its file's path, at most so many of a code."""
    refusing = ingested.verdict.violations
    named = [one.sample_id for one in refusing if one.sample_id is not None]
    rows = ingested.manifest.filter(pl.col("sample_id").is_in(named)).select("sample_id", "path")
    paths: dict[str, str] = dict(rows.iter_rows())
    for code, some in groupby(sorted(refusing, key=_code), key=_code):
        found = list(some)
        yield from (f"{paths.get(one.sample_id or '', 'dataset')}: {one}" for one in found[:WRITTEN_OUT])
        if len(found) > WRITTEN_OUT:
            yield f"{code}: and {len(found) - WRITTEN_OUT:,} more, on the page"


def _code(violation: Violation) -> str:
    return str(violation.code)


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


def _upkeep(ingested: Ingested) -> Iterator[str]:
    """What was found damaged, and what became of it."""
    if ingested.mended:
        yield f"mended, as it was published: {', '.join(ingested.mended)}"
    if (lost := ingested.given_up) is not None:
        yield (
            f"damaged, and not what this source makes now: version {lost.number}: it is left as it is; "
            f"restore it from a copy, or let `nhwc prune` drop it"
        )


def _where(ingested: Ingested) -> list[str]:
    place = printable(str(ingested.place))
    if ingested.version is None:
        page = printable(str(ingested.place.with_name(REFUSED_REPORT)))
        return [
            f"  every reason: {place} (as a page: {page})",
            "  next: mend the source, or change the recipe's checks, and run the same again",
        ]
    return [
        f"  lies in: {printable(ingested.version.name)}/{ingested.version.number} (as a page: {place}/{REPORT})",
        f"  next: nhwc gate {printable(ingested.version.name)}",
    ]

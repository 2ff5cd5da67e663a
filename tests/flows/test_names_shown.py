"""Names of files come from who made them: wherever they are shown, they steer nothing and break out of nothing."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image

from nhwc.flows import summary, verdict_text
from nhwc.flows.cli.shared import print_table
from nhwc.flows.deciding import Ingested
from nhwc.flows.gate import GateOptions, judge_subject, open_subject
from nhwc.flows.ingest import run_ingest
from nhwc.flows.inspect import inspect
from nhwc.flows.recipe import parse_recipe
from nhwc.flows.report import report_html
from nhwc.flows.subject import Subject
from nhwc.validators.verdict import Verdict

NASTY = (
    "\x1b[31mred\x1b]0;title\x07",
    "right\u202eto left",
    "isolate\u2066d",
    "c1\x9b31m",
    "new\nline",
    "back\rspace\x08",
    "del\x7f",
    "line\u2028paragraph\u2029",
    "zero\u200bwidth\ufeff",
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)<|script>",
    "&lt;b&gt;",
    "]]><!-- x",
    "a|b`c`*d*_e_[f](javascript:g)#h",
    "=cmd|' 'C calc'!A0",
    "+SUM(1)",
    "@SUM(1)",
    "-2+3",
    "not xml \ufffe\x0b",
    "{{ 7*7 }}{% x %}",
    "$(touch x);`touch y`",
)
LABELS = ("cat\x1b[0m\u202e", "<b>dog|`x`</b>".replace("/", "\\"), "=1+1")


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ingested, Subject, Verdict]:
    """A source in which all names are nasty, half of its files broken, some twice; ingested and judged."""
    root = tmp_path_factory.mktemp("na\x1bsty")
    for number, name in enumerate(NASTY):
        folder = root / "photos" / LABELS[number % len(LABELS)]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number // 2).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + name.encode())
        (folder / f"{name}.gif").write_bytes(b"GIF89a")
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9\x9b.png"))).write_bytes(b"")
    plain = {
        "dataset": "nasty",
        "source": {"path": "photos"},
        "image": {"rows": 4, "cols": 5},
        "publish": {"to": "out"},
        "checks": {"bad_fraction": 1, "bad_fraction_per_class": 1},
        "splits": {"train": 0.5, "test": 0.5},
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(plain))
    ingested = run_ingest(parse_recipe(plain, base=root))
    assert ingested.version is not None
    assert 2 * len(NASTY) + 1 == (ingested.manifest["status"] == "quarantined").sum()
    assert len(NASTY) == (ingested.manifest["status"] == "kept").sum()
    subject = open_subject(ingested.version.folder, GateOptions())
    return ingested, subject, judge_subject(subject, GateOptions())


def assert_steers_nothing(text: str) -> None:
    """Every line is printable: no escape sequence, no change of direction, no invisible character."""
    assert [] == [line for line in text.split("\n") if not line.isprintable()]


def assert_no_markup(markdown: str) -> None:
    """No tag, no link and no cell of a name's making."""
    assert_steers_nothing(markdown)
    assert not re.search(r"(?<!\\)<(?=[a-zA-Z!])", markdown)
    assert not re.search(r"(?<!\\)\]\(", markdown)
    rows = [line for line in markdown.split("\n") if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert len(widths) == 1


def test_a_class_folder_may_have_any_name(tmp_path: Path) -> None:
    """One that is not UTF-8 is shown as its files are, and is no empty class where it has some."""
    for number, name in enumerate((b"caf\xe9", b"empty\xff", b"dog")):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/photos/" + name))
        folder.mkdir(parents=True)
        if b"empty" not in name:
            pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "0.png")
    plain = {"dataset": "it", "source": {"path": "photos"}, "image": {"rows": 4, "cols": 5}, "publish": {"to": "out"}}
    version = run_ingest(parse_recipe(plain, base=tmp_path)).version
    assert version is not None
    assert (r"caf\xe9", "dog") == version.classes
    assert [r"none in empty\xff"] == [one.found for one in version.findings if one.code == "empty_class"]


def test_texts_for_a_terminal(nasty):
    """What ingest and gate say, and the lines of inspect."""
    ingested, subject, verdict = nasty
    for text in (
        summary.text(ingested, "nasty"),
        verdict_text.as_text(verdict, subject),
        *(inspect(path)[0] for path in (ingested.version.folder, ingested.version.dataset.parents[1] / "photos")),
    ):
        assert_steers_nothing(text)
    assert r"/na\x1bsty" in summary.text(ingested, "nasty")


def test_json_says_the_same_and_steers_nothing(nasty):
    """Printed on a terminal it is text too; read back it has the names as they are."""
    _, subject, verdict = nasty
    text = verdict_text.as_json(verdict, subject)
    assert_steers_nothing(text)
    violations = json.loads(text)["violations"]
    found = {one["found"] for one in violations}
    assert {one.found for one in (*verdict.violations, *verdict.warnings)} == found
    assert any("\x1b" in one for one in found)
    assert {one["path"] for one in violations if one["path"]} <= set(subject.manifest["path"])


def test_markdown_has_no_markup_of_a_names_making(nasty):
    """Artifacts and the page of a pull request."""
    ingested, subject, verdict = nasty
    assert_no_markup(summary.markdown(ingested, "nasty"))
    assert_no_markup(verdict_text.as_markdown(verdict, subject))


def test_junit_is_xml(nasty):
    """Whatever a name or a path holds, a reader of XML reads it, and gets printable text."""
    _, subject, verdict = nasty
    suite = ElementTree.fromstring(verdict_text.as_junit(verdict, replace(subject, name="data\x1b\ufffe<x>")))
    assert r"data\x1b\ufffe<x>" == suite.get("name")
    assert_steers_nothing("\n".join(suite.itertext()))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags, self.attributes, self.texts = set[str](), set[str](), list[str]()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.texts += [value or "" for _, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_report_has_no_element_of_a_names_making(nasty):
    """No tag, no attribute and no script but the page's own; no character that steers."""
    _, subject, verdict = nasty
    page = _Page()
    html = report_html(subject, verdict, reproduce=["nhwc gate \x1b<b>"])
    page.feed(html)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert [html.count(f"<{tag}") for tag in ("script", "img src=x", "b>dog")] == [1, 0, 0]
    assert_steers_nothing("\n".join(page.texts))
    assert "<img src=x onerror=alert(1)>" in "\n".join(page.texts)


def test_a_table_steers_nothing(capsys):
    """Cells of a table in a pipe."""
    print_table(("name",), [(name,) for name in NASTY])
    assert_steers_nothing(capsys.readouterr().out.replace("\t", " "))


@pytest.mark.parametrize(
    "command", [["verify", "out/nasty"], ["ingest", "recipe.yaml", "--direct"], ["gate", "no\x1b"]]
)
def test_commands_steer_nothing(nasty, command):
    """What is printed, and errors, from a folder whose own name is nasty."""
    ingested, _, _ = nasty
    root = ingested.version.dataset.parents[1]
    arguments = [command[0], str(root / command[1]), *command[2:]]
    done = subprocess.run(
        [sys.executable, "-m", "nhwc", *arguments], capture_output=True, text=True, check=False, cwd=root
    )
    assert {"gate": 2}.get(command[0], 0) == done.returncode, done.stderr
    assert done.stdout + done.stderr
    assert_steers_nothing(done.stdout + done.stderr)

"""Every page is followed from its first line to its last: what it has a reader type is typed, and does what it says."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from nhwc.flows.cli.shared import app

Run = Callable[[str], tuple[int, str]]

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]

SHELLS = ("sh", "bash", "console")


NOT_RUN = {
    "make": "sets up an environment of its own",
    "pip install": "what it installs is there",
    "export": "the tests have an S3 and an environment of their own",
    "moto_server": "the tests have an S3 of their own",
    "nhwc schedule": "serves until it is ended; tests/flows/test_schedule.py starts and ends it",
    "python examples/distributed.py": "starts processes; tests/examples runs it",
    "python examples/data_service.py": "starts processes; tests/examples runs it",
}
"""What a line begins with that is shown, and not run here, and why."""

SHELL = {"cp", "mv", "mkdir", "rm", "head", "echo", "printf", "cat", "ls", "sha256sum", "cd"}
"""What a reader types beside nhwc and Python."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, its text, and the line of the page that it begins at."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that it is: its first line is a comment with a name in it, as `# recipe.yaml`."""
        named = re.match(r"# ([\w.-]+\.\w+)\n", self.text)
        return named[1] if named and self.language not in SHELLS else None


@dataclass(frozen=True, kw_only=True)
class Typed:
    """A line for a shell, the output that a page shows if it shows any, exit status, and the line of the page."""

    command: str
    shown: tuple[str, ...] | None
    status: int
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M):
        yield Block(language=found[1], text=found[2], line=text.count("\n", 0, found.start()) + 1)


def typed_lines(block: Block) -> Iterator[Typed]:
    """The lines to type of a block: all of `sh`, those after `$` of `console`, which shows what they print.

    `$ echo $?` and a number say the exit status of the line before; else it is 0.
    """
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language != "console":
        whole = [line for line in lines if line.strip() and not line.startswith("#")]
        yield from (Typed(command=line, shown=None, status=0, line=block.line) for line in whole)
        return
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    for place, (command, shown) in enumerate(found):
        asked = place + 1 < len(found) and found[place + 1][0] == "echo $?"
        if command != "echo $?":
            status = int(found[place + 1][1][0]) if asked else 0
            yield Typed(command=command, shown=tuple(shown), status=status, line=block.line)


def is_printed(shown: tuple[str, ...], printed: str) -> bool:
    """Whether that is what was printed. A line `...` stands for any lines, `...` in a line for anything there; blanks
    count as one, since a table into a pipe has tabs."""
    wanted = [re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*") + r"\n" for line in shown]
    wanted = [r"(?:.*\n)*" if line == r".*\n" else line for line in wanted]
    told = "".join(" ".join(line.split()) + "\n" for line in printed.rstrip().splitlines())
    return re.fullmatch("".join(wanted), told) is not None


def reason_not_run(command: str) -> str | None:
    return next((why for begin, why in NOT_RUN.items() if f"{command} ".startswith(f"{begin} ")), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_can_be_followed(page: Path, typed: Run, scratch: Path, request: pytest.FixtureRequest) -> None:
    """Files are written, lines typed; each ends with the status that the page says, and prints what it shows."""
    typed_text = "".join(block.text for block in blocks(page) if block.language in SHELLS)
    if "s3://" in typed_text:
        request.getfixturevalue("s3")
    if "photographs.py photos" not in typed_text:  # its reader has images of their own
        shutil.copytree(request.getfixturevalue("photographs"), scratch / "photos")
    for block in blocks(page):
        if block.file:
            (scratch / block.file).write_text(block.text, encoding="utf-8")
        for one in typed_lines(block) if block.language in SHELLS else ():
            if reason_not_run(one.command):
                continue
            status, printed = typed(one.command)
            said = f"{page.name}:{one.line}: $ {one.command}\n{printed}"
            assert one.status == status, said
            assert "Traceback" not in printed, said
            if one.shown is not None:
                assert is_printed(one.shown, printed), "\n".join([said, "is not what the page shows:", *one.shown])


def test_only_known_commands_are_shown() -> None:
    """What cannot be run here stands above with its reason; nothing stands there that no page shows."""
    shown = [
        (f"{page.name}:{block.line}", one.command)
        for page in PAGES
        for block in blocks(page)
        if block.language in SHELLS
        for one in typed_lines(block)
    ]
    known = {"nhwc", "python"} | SHELL
    unknown = [
        (place, command)
        for place, command in shown
        if reason_not_run(command) is None and shlex.split(command, comments=True)[0] not in known
    ]
    assert [] == unknown, "run them in tests/docs, or say in NOT_RUN why not"
    used = {begin for begin in NOT_RUN for _, command in shown if f"{command} ".startswith(f"{begin} ")}
    assert set(NOT_RUN) == used


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_in_blocks_that_are_run(page: Path) -> None:
    """Nowhere else, so that none is passed over: not indented, nor in a block of no language."""
    text = re.sub(r"^```(sh|bash|console)\n.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    assert [] == re.findall(r"^(?: {4,}|\$ )?(?:nhwc|python|pip|prefect) .*$", text, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_exist(page: Path) -> None:
    """What a sentence or a table names, `nhwc gate DATASET --json`: the command, and each of its options."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for command in re.findall(r"`nhwc ([^`]+)`", page.read_text(encoding="utf-8")):
        name, *words = command.split()
        assert name in commands or name.startswith("-"), f"{page.name}: nhwc {command}"
        options = {option for parameter in getattr(commands.get(name), "params", ()) for option in parameter.opts}
        wrong = {word.partition("=")[0] for word in words if word.startswith("--")} - options - {"--help"}
        assert set() == wrong, f"{page.name}: nhwc {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To files that are there, and within a page to headings that are there."""
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
        target = page.parent / link if link else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {link}#{anchor}"


@pytest.mark.parametrize(
    ("shown", "printed", "holds"),
    [
        (("a 1", "b"), "a\t1\nb\n", True),
        (("a", "..."), "a\nb\nc\n", True),
        (("a", "...", "c"), "a\nc\n", True),
        (("took ... s",), "took 0.2 s\n", True),
        ((), "", True),
        ((), "a\n", False),
        (("a",), "a\nb\n", False),
        (("b", "a"), "a\nb\n", False),
        (("a 1",), "a 2\n", False),
    ],
)
def test_what_is_shown_is_held_against_what_is_printed(shown: tuple[str, ...], printed: str, holds: bool) -> None:
    """Every line, in order, but for `...`."""
    assert holds is is_printed(shown, printed)


def test_statuses_and_continued_lines_are_read() -> None:
    """`echo $?` says the status of the line before; a backslash goes on; comments are passed over."""
    text = "$ nhwc gate a\nrefused\n$ echo $?\n1\n$ nhwc gate \\\n  b\n"
    found = [(one.command, one.shown, one.status) for one in typed_lines(Block(language="console", text=text, line=1))]
    assert [("nhwc gate a", ("refused",), 1), ("nhwc gate    b", (), 0)] == found
    (one,) = typed_lines(Block(language="sh", text="# a comment\nnhwc gate a  # more\n", line=1))
    assert ("nhwc gate a  # more", None, 0) == (one.command, one.shown, one.status)

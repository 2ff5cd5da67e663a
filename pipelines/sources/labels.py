"""Labels and given splits: from the folders that an entry lies in, or from a file that lists them."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from nhwc.pipelines.sources.protocol import Discovery, Entry, by_name, refused
from nhwc.pipelines.sources.table import Listed, read_listed
from nhwc.validators.errors import DataError, RecipeError
from nhwc.validators.splits import SPLIT_NAMES
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """How entries come to their labels and given splits.

    Args:
        listed: what the label file says, by path; None: the label is the folder, or the source's.
        given: the source says the label of each entry.
        split_given: the source says the split of each entry.
        depth: how many folder names make a label: 1 for cat/, 2 for animals/cat/.
        split_listed: the label file gives the splits too.
        split_folders: the first folder is the split, the class follows below it.
        classes: the only labels allowed, in the order of their ids; empty: all that are found, sorted.
    """

    listed: Mapping[str, Listed] | None = None
    given: bool = False
    split_given: bool = False
    depth: int = 1
    split_listed: bool = False
    split_folders: bool = False
    classes: tuple[str, ...] = ()


def read_label_file(path: Path, *, with_splits: bool) -> dict[str, Listed]:
    """The label file (a table with columns path, label and, if asked, split) by path.

    Paths are relative to the source, with /. Raises RecipeError as `read_listed` does.
    """
    columns = ("path", "label", *(["split"] if with_splits else []))
    return read_listed(path, dict(zip(columns, columns, strict=True)), key="labels.file")


def label_entries(discovery: Discovery, labelling: Labelling) -> tuple[Entry, ...]:
    """Every entry with its label and given split, or quarantined for the lack of one; other entries as they were.

    What a label file lists and the source does not have is added, quarantined. Raises RecipeError where a label file
    lists nothing that the source has: its paths are then relative to something else.
    """
    names = labelling.classes if discovery.numbered else None
    if labelling.given:
        _see_classes(discovery.classes)
    allowed = frozenset(labelling.classes or (discovery.classes if labelling.given else ()))
    entries = [
        _labelled(entry, labelling, allowed, names) if entry.status == "candidate" else entry
        for entry in _each_name_once(discovery.entries)
    ]
    if labelling.listed is not None:
        lost = labelling.listed.keys() - {entry.path for entry in entries}
        if lost == labelling.listed.keys():
            _refuse_if_strange(lost, discovery)
        if lost:
            return by_name([*entries, *(missing_entry(path, "source.path") for path in lost)])
    return tuple(entries)  # still by name


def _see_classes(classes: Sequence[str]) -> None:
    """Raises DataError where two of a source's classes would become one, or a name is no text that can be written."""
    twice = sorted(name for name, count in Counter(classes).items() if count > 1 or not _is_unicode(name))
    if twice:
        violation = Violation(
            code=Code.CONFLICTING_LABEL,
            stage="discover",
            aspect="class names",
            expected="each name once, in UTF-8",
            found=", ".join(map(ascii, twice[:5])),
            hint="give each class of the source a name of its own",
        )
        raise DataError(Verdict(violations=(violation,)))


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _each_name_once(entries: Sequence[Entry]) -> Iterable[Entry]:
    """The entries, where more than one has a name one that is quarantined: nobody knows which of them it means."""
    counts = Counter(entry.name for entry in entries)
    if len(counts) == len(entries):
        return entries
    once = {entry.name: entry for entry in entries}
    return [
        entry if counts[name] == 1 else refused(
            Entry(name=name), "quarantined", Code.NAME_TWICE, aspect="name", expected="one of this name",
            found=f"{counts[name]}",
        )
        for name, entry in once.items()
    ]  # fmt: skip


def _refuse_if_strange(listed: Iterable[str], discovery: Discovery) -> None:
    """Raises RecipeError with an example of each side, where both have one."""
    theirs, ours = (
        min(listed, default=None),
        next((one for one in discovery.entries if one.status == "candidate"), None),
    )
    if theirs is not None and ours is not None:
        found = f"found no path that the source has: the file lists {theirs!r}, the source has {ours.path!r}"
        raise RecipeError("labels.file", (f"{found}, expected paths relative to source.path, with /",))


def missing_entry(path: str, root: str) -> Entry:
    """What stands for a listed path that the source does not have; a path of another kind is told.

    Args:
        path: as it is listed.
        root: the key that says what paths are relative to.
    """
    entry, kind = Entry(name=path), _strange_kind(path)
    violation = Violation(
        code=Code.MISSING_FILE,
        stage="discover",
        aspect="bytes",
        sample_id=entry.sample_id,
        expected="a file in the source",
        found="none",
        hint=f"paths are relative to {root}, with /; found {kind}" if kind else "",
    )
    return replace(entry, status="quarantined", violation=violation)


def _strange_kind(path: str) -> str | None:
    """What makes a path one that no source has; None where nothing does."""
    if path.startswith("/") or PureWindowsPath(path).drive:
        return "an absolute path"
    if "\\" in path:
        return "a path with backslashes"
    return "a path with .." if ".." in path.split("/") else None


def _told(entry: Entry, names: Sequence[str] | None) -> Entry:
    """The entry with the label that its source gives it, or refused where that is none.

    Where it is the number of a class, it becomes the class's name, if there is a name for it.

    Args:
        entry: a candidate.
        names: of the classes, in the order of their numbers; None: labels are no numbers.
    """
    label = entry.label or ""
    if not label.strip():
        return _unlabelled(entry, Code.NO_CLASS, expected="a label", found="none")
    if names is None:
        return entry
    if label.startswith("-"):  # by which many say that they do not know
        return _unlabelled(entry, Code.NO_CLASS, expected="the number of a class, from 0", found=label)
    return replace(entry, label=names[int(label)]) if int(label) < len(names) else entry


def _labelled(entry: Entry, labelling: Labelling, allowed: Set[str], names: Sequence[str] | None) -> Entry:
    path = entry.path
    *folders, _ = path.split("/")
    if path != entry.name:
        entry = replace(entry, notes=(Code.NAME_NOT_UTF8,))
    if labelling.split_folders:
        split = SPLIT_NAMES.get(folders[0].lower()) if folders else None
        if split is None:
            return _no_split(entry, folders[0] if folders else "none")
        entry, folders = replace(entry, split=split), folders[1:]
    if labelling.split_given and entry.split is None:
        return _no_split(entry, "none")
    if labelling.given:
        entry = _told(entry, names)
    elif labelling.listed is None:
        entry = _label_from_folders(entry, folders, labelling.depth)
    else:
        entry = label_from_listed(entry, labelling.listed.get(entry.path), with_split=labelling.split_listed)
    if entry.status == "candidate" and entry.label is not None and not _is_unicode(entry.label):
        found, entry = ascii(entry.label), replace(entry, label=None)
        return _unlabelled(entry, Code.NO_CLASS, expected="a label in UTF-8", found=found)
    if entry.status == "candidate" and allowed and entry.label not in allowed:
        return _unlabelled(entry, Code.UNKNOWN_CLASS, expected="|".join(sorted(allowed)), found=str(entry.label))
    return entry


def _label_from_folders(entry: Entry, folders: Sequence[str], depth: int) -> Entry:
    if len(folders) < depth:
        expected = "a class folder" if depth == 1 else f"{depth} class folders"
        return _unlabelled(entry, Code.NO_CLASS, expected=expected, found="/".join(folders) or "none")
    notes = (*entry.notes, Code.NESTED) if len(folders) > depth else entry.notes
    label = "/".join(folders[:depth])
    # all that an entry has by now: `replace` takes thrice as long, for every file
    return Entry(
        name=entry.name,
        status=entry.status,
        violation=entry.violation,
        label=label,
        split=entry.split,
        notes=notes,
        at=entry.at,
    )


def label_from_listed(entry: Entry, said: Listed | None, *, with_split: bool) -> Entry:
    """The entry with the label that a table gives it, and the split if asked, or refused where that is not one."""
    if said is None:
        return refused(
            entry, "skipped", Code.NOT_LISTED, aspect="label", expected="a line in the label file", found="none"
        )
    for choices in (said.labels, said.splits):
        if len(choices) > 1:
            return _unlabelled(entry, Code.CONFLICTING_LABEL, expected="one", found=", ".join(sorted(choices)))
    if not said.labels:
        return _unlabelled(entry, Code.NO_CLASS, expected="a label in its line", found="none")
    (label,) = said.labels
    if not with_split:
        return replace(entry, label=label)
    given = next(iter(said.splits), "none")
    split = SPLIT_NAMES.get(given.lower())
    return replace(entry, label=label, split=split) if split else _no_split(entry, given)


def _unlabelled(entry: Entry, code: Code, *, expected: str, found: str) -> Entry:
    return refused(entry, "quarantined", code, aspect="label", expected=expected, found=found)


def _no_split(entry: Entry, found: str) -> Entry:
    return refused(entry, "quarantined", Code.NO_SPLIT, aspect="split", expected="train|validation|test", found=found)


def class_names(entries: Iterable[Entry], labelling: Labelling, discovery: Discovery | None = None) -> tuple[str, ...]:
    """The class names in the order of their ids: the recipe's, the source's, or all labels sorted by code point."""
    if labelling.classes:
        return labelling.classes
    if labelling.given and discovery is not None and discovery.classes:
        return discovery.classes
    return tuple(sorted({entry.label for entry in entries if entry.status == "candidate" and entry.label is not None}))


def class_findings(
    discovery: Discovery, labelling: Labelling, kept_labels: Iterable[str], classes: Sequence[str]
) -> tuple[Violation, ...]:
    """What is remarkable about the classes as a whole: empty ones, twins, and split folders taken for classes."""
    kept = set(kept_labels)
    empty = (set(classes) | _class_folders(discovery, labelling)) - kept
    findings = [
        _finding(Code.EMPTY_CLASS, expected="at least one image kept", found=f"none in {name}")
        for name in sorted(empty)
    ]
    twins: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(classes) | empty):
        twins[_alike(name)].append(name)
    findings += [
        _finding(Code.CASE_TWINS, expected="names that are told apart by eye", found=_shown(names))
        for names in twins.values()
        if len(names) > 1
    ]
    if len(classes) > 1 and not labelling.split_folders and all(name.lower() in SPLIT_NAMES for name in classes):
        findings.append(_finding(Code.SPLIT_FOLDERS, expected="class names", found=", ".join(classes)))
    return tuple(findings)


def _alike(name: str) -> str:
    """The same text for names that differ in nothing but case, blanks at the ends, or how accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def _shown(names: Sequence[str]) -> str:
    """The names as they are where case tells them apart, else with escapes: they would look the same."""
    is_case = len({name.casefold() for name in names}) == 1
    return ", ".join(names if is_case else map(ascii, names))


def _class_folders(discovery: Discovery, labelling: Labelling) -> set[str]:
    """The labels of every visible folder at the depth where classes are."""
    if labelling.listed is not None or labelling.given:
        return set()
    skipped = 1 if labelling.split_folders else 0
    shown = (Entry(name=folder).path for folder in discovery.folders if not _is_hidden(folder))
    parts = (folder.split("/")[skipped:] for folder in shown)
    return {"/".join(names) for names in parts if len(names) == labelling.depth}


def _is_hidden(folder: str) -> bool:
    return any(part.startswith(".") for part in folder.split("/"))


def _finding(code: Code, *, expected: str, found: str) -> Violation:
    return Violation(code=code, stage="discover", aspect="label", expected=expected, found=found)

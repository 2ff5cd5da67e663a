"""A frozen contract: what `contract.yaml` says of images and classes, and where data is no longer so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from nhwc.validators.contract import TensorContract
from nhwc.validators.errors import MachineError, RecipeError
from nhwc.validators.violation import Code, Violation


@dataclass(frozen=True, kw_only=True)
class FrozenContract:
    """What every image is, and the class names in the order of their ids."""

    image: TensorContract
    classes: tuple[str, ...]

    def to_yaml(self) -> str:
        """The text that `read_contract` reads."""
        plain = {"image": self.image.to_dict(), "classes": list(self.classes)}
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def read_contract(file: Path) -> FrozenContract:
    """The contract in a file: a version's `contract.yaml`, or one that `nhwc init` wrote.

    Raises RecipeError, and MachineError where the file is there and cannot be read.
    """
    try:
        plain = yaml.safe_load(file.read_text(encoding="utf-8"))
        return FrozenContract(image=TensorContract.from_dict(plain["image"]), classes=tuple(map(str, plain["classes"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        MachineError.see(error, file)
        expected = "expected image and classes, as in the contract.yaml of a version or of nhwc init"
        raise RecipeError(
            "contract", (f"found {file}, which is no contract ({type(error).__name__}: {error}), {expected}",)
        ) from error


def contract_findings(
    frozen: FrozenContract, *, image: TensorContract, classes: Sequence[str]
) -> tuple[Violation, ...]:
    """Where images or classes are not what the contract says, each class by name."""
    return tuple(_breaches(frozen, image, classes))


def _breaches(frozen: FrozenContract, image: TensorContract, classes: Sequence[str]) -> Iterator[Violation]:
    if str(image) != str(frozen.image):
        yield _breach("image", str(frozen.image), str(image))
    for name in sorted(set(frozen.classes) - set(classes)):
        yield _breach("classes", f"class {name}", "no such class")
    for name in sorted(set(classes) - set(frozen.classes)):
        yield _breach("classes", "only the contract's classes", f"class {name}")
    if set(classes) == set(frozen.classes) and tuple(classes) != frozen.classes:
        yield _breach("classes", "ids in the order " + ", ".join(frozen.classes), ", ".join(classes))


def _breach(aspect: str, expected: str, found: str) -> Violation:
    return Violation(code=Code.CONTRACT_CHANGED, stage="contract", aspect=aspect, expected=expected, found=found)

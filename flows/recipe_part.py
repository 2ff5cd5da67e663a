"""What every part of a recipe has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError


def _without_tilde(path: str) -> str:
    if path.startswith("~"):
        raise PydanticCustomError("tilde", "a path written out: ~ is not expanded (./~ is a folder of that name)")
    return path


PathText = Annotated[str, AfterValidator(_without_tilde), WithJsonSchema({"type": "string", "pattern": "^(?!~)"})]


class Part(BaseModel):
    """A part of the recipe: unknown keys are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

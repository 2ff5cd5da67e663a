"""The model gate: whether a Keras model can take a batch, and whether its labels fit, without running a step.

A probe of a few images, each half dark and half bright, goes through the model's own graph up to the first layer with
weights. What arrives there shows what the model's Rescaling, Normalization or arithmetic make of the batch's value
range, and what they would have made of another. What cannot be seen is reported as `model_undetermined`, never passed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nhwc.validators.contract import TensorContract
from nhwc.validators.errors import RecipeError
from nhwc.validators.model.file import opened
from nhwc.validators.model.graph import graph_of
from nhwc.validators.model.labels import Head, Labels, label_findings
from nhwc.validators.model.mismatch import first_line, mismatch
from nhwc.validators.model.shape import dtype_findings, layout_findings, shape_findings
from nhwc.validators.model.value_range import range_findings
from nhwc.validators.model.walk import Walk, probe_of
from nhwc.validators.violation import Code, Violation

__all__ = ["check_model", "no_backend"]


def check_model(
    model: Any, *, batch: TensorContract, classes: Sequence[str], labels: Labels = "ids"
) -> tuple[Violation, ...]:
    """Everything by which a model and the batches do not fit; empty where they do.

    Args:
        model: a built Keras model (Sequential, Functional, or subclassed as far as Keras layers and operations show
            it), or the path of a `.keras` or `.h5` file, from which no code is run.
        batch: of the batches: axes samples, rows, cols, channels, or samples, channels, rows, cols.
        classes: the class names; a label's id is its place here.
        labels: `ids`, int64[samples], as `nhwc.load` gives them, `one_hot`, [samples, classes], or `text`, which no
            loss takes.

    Nothing is trained and no weight changes. The loss is looked at where the model is compiled. Raises RecipeError for
    what is no Keras model or no readable file of one, for a batch of other axes, and where Keras' backend is missing.
    """
    axes = [axis.name for axis in batch.axes]
    if axes not in (["samples", "rows", "cols", "channels"], ["samples", "channels", "rows", "cols"]):
        raise RecipeError("check_model", (f"batch: found {batch}, expected axes samples, rows, cols, channels",))
    _import_keras()
    if isinstance(model, str | Path):
        with opened(Path(model)) as file:
            return (*_findings(file.model, file.loss, batch, classes, labels), *file.unread)
    loss = model.loss if getattr(model, "compiled", False) else None
    return _findings(model, loss, batch, classes, labels)


def _import_keras() -> None:
    try:
        import keras  # noqa: F401, PLC0415  seconds, and only a model needs it
    except (ImportError, ValueError) as error:
        raise no_backend(error) from error


def no_backend(error: Exception) -> RecipeError:
    """That Keras is told to compute by what is not there."""
    named = os.environ.get("KERAS_BACKEND", "none, so that keras.json decides")
    expected = "expected tensorflow, or jax or torch where installed"
    return RecipeError("KERAS_BACKEND", (f"found {named}, which cannot be used ({first_line(error)}), {expected}",))


def _findings(
    model: Any, loss: Any, batch: TensorContract, classes: Sequence[str], labels: Labels
) -> tuple[Violation, ...]:
    import keras  # noqa: PLC0415  seconds, and only a model needs it

    if not isinstance(model, keras.Model):
        found = f"model: found {type(model).__name__}, expected a keras.Model, or the path of a .keras or .h5 file"
        raise RecipeError("check_model", (found,))
    graph = graph_of(model, batch)
    if isinstance(graph, Violation):
        return (graph,)
    if len(graph.inputs) != 1:
        return (mismatch(Code.MODEL_INPUT, "inputs", "one input of rank 4", f"{len(graph.inputs)} inputs"),)
    shape = shape_findings(graph.inputs[0], batch)
    walk = Walk()
    last = walk.through(graph, probe_of(graph.inputs[0].shape, batch))
    layout = layout_findings(walk.arrivals, batch)
    ranged = () if layout or shape else range_findings(walk, batch)
    return (
        *(layout or shape),
        *dtype_findings(graph.inputs[0].dtype, batch),
        *ranged,
        *label_findings(Head.of(graph, last, loss), classes, labels),
    )

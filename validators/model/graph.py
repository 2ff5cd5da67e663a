"""A model as a graph that can be walked: inputs, outputs and the operations between them."""

from __future__ import annotations

from typing import Any

from nhwc.validators.contract import TensorContract
from nhwc.validators.model.mismatch import first_line, mismatch
from nhwc.validators.violation import Code


def graph_of(model: Any, batch: TensorContract) -> Any:
    """What has `inputs`, `outputs` and operations between them; a finding where that cannot be seen or does not fit."""
    import keras  # noqa: PLC0415  seconds, and only a model needs it

    if is_functional(model):
        return model
    sizes = tuple(axis.size if isinstance(axis.size, int) else None for axis in batch.axes[1:])
    try:
        if isinstance(model, keras.Sequential):
            return model._functional if model.built else _built(model, sizes)
        if not model.built:
            found = f"{type(model).__name__}, which is not built"
            return mismatch(Code.MODEL_UNDETERMINED, "structure", "a built model", found, "call it once on a batch")
        # a symbolic call of the body alone leaves the layers' own history, which a call of the model would not
        entry = keras.Input(sizes, dtype=batch.dtypes[0])
        return keras.Function(entry, model.call(entry))
    except Exception as error:  # the body of a user's model raises anything
        if "incompatible with the layer" in str(error):
            return mismatch(Code.MODEL_INPUT, "shape", "a batch that its layers take", f"{batch}: {first_line(error)}")
        found = f"{type(model).__name__}, which cannot be followed: {first_line(error)}"
        return mismatch(Code.MODEL_UNDETERMINED, "structure", "a model of Keras layers and operations", found)


def is_functional(model: Any) -> bool:
    """Whether its graph says what it does: made of inputs and outputs, with no body of its own."""
    return hasattr(model, "_run_through_graph") and type(model).call.__module__.startswith("keras.")


def _built(model: Any, sizes: tuple[int | None, ...]) -> Any:
    """A Sequential that is not built yet, as the batch would build it. The model itself stays as it is."""
    import keras  # noqa: PLC0415  seconds, and only a model needs it

    copy = keras.Sequential.from_config(model.get_config())
    copy.build((None, *sizes))
    for old, new in zip(model.layers, copy.layers, strict=True):
        if isinstance(old, keras.layers.Normalization) and old.built:
            new.set_weights(old.get_weights())
            new.finalize_state()
    return copy._functional

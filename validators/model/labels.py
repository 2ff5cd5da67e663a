"""Whether labels fit a model's last layer and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from nhwc.validators.model.mismatch import mismatch
from nhwc.validators.model.walk import Features
from nhwc.validators.violation import Code, Violation

Labels = Literal["ids", "one_hot", "text"]

_SPARSE = ("sparse_categorical_crossentropy",)
_ONE_HOT = ("categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge", "kl_divergence")
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge")
_NUMBERS = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "mean_squared_logarithmic_error")
_ENTROPIES = tuple(name for name in (*_SPARSE, *_ONE_HOT, *_BINARY) if name.endswith("entropy"))


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where a model ends.

    Args:
        shapes: of its outputs.
        activation: the name of the last one.
        loss: the name of the loss's function; empty where not compiled; None where it is none of Keras' own.
        from_logits: whether the loss applies the activation itself.
    """

    shapes: tuple[tuple[int | None, ...], ...]
    activation: str
    loss: str | None = ""
    from_logits: bool = False

    @classmethod
    def of(cls, graph: Any, last: Any, loss: Any) -> Head:
        """The head of a graph, of what a probe became in it, and of the loss as `keras.Model.compile` takes it."""
        import keras  # noqa: PLC0415  seconds, and only a model needs it

        features = [one for one in keras.tree.flatten(last) if isinstance(one, Features)]
        head = cls(
            shapes=tuple(tuple(one.shape) for one in graph.outputs),
            activation=features[0].activation if features else "linear",
        )
        if loss is None:
            return head
        if isinstance(loss, list | tuple | dict) and len(loss) == 1:
            (loss,) = loss.values() if isinstance(loss, dict) else loss
        loss = keras.losses.get(loss) if isinstance(loss, str) else loss
        function = getattr(loss, "fn", loss)
        known = str(getattr(function, "__module__", "")).startswith("keras.")
        logits = getattr(loss, "from_logits", False)
        return replace(head, loss=getattr(function, "__name__", None) if known else None, from_logits=bool(logits))


def label_findings(head: Head, classes: Sequence[str], labels: Labels) -> tuple[Violation, ...]:
    """Whether the last layer has the units that the classes need, and the loss takes such labels."""
    if labels == "text":
        hint = "map them to ids, as keras.layers.StringLookup(num_oov_indices=0) does"
        return (mismatch(Code.MODEL_LABELS, "labels", "numbers, which a loss can take", "text", hint),)
    count = len(classes)
    if len(head.shapes) != 1:
        found = f"{len(head.shapes)} outputs"
        return (mismatch(Code.MODEL_UNDETERMINED, "labels", f"one output for {count} classes", found),)
    (shape,) = head.shapes
    if len(shape) != 2:
        text = f"({', '.join('?' if size is None else str(size) for size in shape)})"
        expected, hint = f"an output of (samples, {count})", "end in GlobalAveragePooling2D or Flatten, and Dense"
        return (mismatch(Code.MODEL_LABELS, "units", expected, text, hint),)
    if shape[1] is None or head.loss is None:
        found = "a loss that is not Keras' own" if shape[1] else "a number of units that is left open"
        return (mismatch(Code.MODEL_UNDETERMINED, "labels", f"a known head for {count} classes", found),)
    if shape[1] == 1 and head.activation in ("softmax", "log_softmax"):
        found = "softmax over 1 unit, which is 1 for every image"
        return (mismatch(Code.MODEL_LABELS, "activation", f"sigmoid, or {count} units", found),)
    findings = (_units_finding(head, shape[1], count, labels), _loss_finding(head, labels), _logits_finding(head))
    return tuple(one for one in findings if one is not None)


def _units_finding(head: Head, units: int, count: int, labels: Labels) -> Violation | None:
    found = f"{units} {'unit' if units == 1 else 'units'}" + (f" with {head.loss}" if head.loss else "")
    binary = head.loss in _BINARY or (units == 1 and head.loss not in _SPARSE + _ONE_HOT)
    if head.loss in _NUMBERS and units == 1 and labels == "ids":
        expected = "a loss of classes, or numbers as labels"
        return mismatch(Code.MODEL_UNDETERMINED, "labels", expected, f"{found}, which takes class ids for numbers")
    if binary and labels == "ids":
        if units == 1 and count <= 2:
            return None
        expected = f"1 unit for 2 classes, or {count} units with sparse_categorical_crossentropy"
        return mismatch(Code.MODEL_LABELS, "units", expected, f"{found} for {count} classes")
    fits = units == count if labels == "one_hot" else units >= count
    if fits:
        return None
    expected = f"{count} units" if labels == "one_hot" else f"at least {count} units: ids are 0 to {count - 1}"
    return mismatch(Code.MODEL_LABELS, "units", expected, found, f"end in keras.layers.Dense({count})")


def _loss_finding(head: Head, labels: Labels) -> Violation | None:
    if labels == "ids" and (head.loss in _ONE_HOT or (head.loss in _NUMBERS and head.shapes[0][1] != 1)):
        hint = "compile with sparse_categorical_crossentropy, or map the labels through keras.utils.to_categorical"
        return mismatch(Code.MODEL_LABELS, "loss", "a loss that takes ids", f"{head.loss}, which takes one-hot", hint)
    if labels == "one_hot" and head.loss in _SPARSE:
        hint = "compile with categorical_crossentropy, or leave the labels as ids"
        return mismatch(Code.MODEL_LABELS, "loss", "a loss that takes one-hot", f"{head.loss}, which takes ids", hint)
    if head.loss and head.loss not in (*_SPARSE, *_ONE_HOT, *_BINARY, *_NUMBERS):
        return mismatch(Code.MODEL_UNDETERMINED, "labels", "a loss whose labels are known", str(head.loss))
    return None


def _logits_finding(head: Head) -> Violation | None:
    if head.loss not in _ENTROPIES:
        return None
    squashed = head.activation in ("softmax", "sigmoid")
    if head.from_logits and squashed:
        found, hint = f"{head.activation} and from_logits=True: it is applied twice", "drop one of the two"
        return mismatch(Code.MODEL_LABELS, "activation", "linear before from_logits=True", found, hint)
    if not head.from_logits and head.activation in ("linear", "relu", "tanh", "log_softmax"):
        wanted = "sigmoid" if head.loss in _BINARY else "softmax"
        found = f"{head.activation} and {head.loss} that takes probabilities"
        hint = f'end in activation="{wanted}", or compile the loss with from_logits=True'
        return mismatch(Code.MODEL_LABELS, "activation", f"{wanted}, or from_logits=True", found, hint)
    return None

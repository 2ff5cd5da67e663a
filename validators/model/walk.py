"""A probe of a few images on its way through a model's graph, up to the first layers with weights."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nhwc.validators.contract import TensorContract
from nhwc.validators.model.graph import is_functional
from nhwc.validators.model.mismatch import first_line

Array = np.ndarray[Any, Any]

SCALES = {"none": (0.0, 255.0), "unit": (0.0, 1.0), "signed": (-1.0, 1.0)}
"""The range of each `scale` of `nhwc.load` that does not depend on the images; `none` for stored uint8."""


def probe_of(shape: tuple[int | None, ...], batch: TensorContract) -> Array:
    """What is sent through the model: float32[samples, ...], of the model's own sizes where it fixes them.

    The first image is of the batch's range, then one of each of `SCALES`: half of it is of the lowest value and half of
    the highest. In the last each channel has one value, and they rise evenly through the batch's range.
    """
    own = shape[1:] if len(shape) == batch.rank else (None,) * (batch.rank - 1)
    sizes = [mine or (size if isinstance(size, int) else 32) for mine, size in zip(own, batch.shape[1:], strict=True)]
    names = [axis.name for axis in batch.axes]
    cols, channels = names.index("cols"), names.index("channels")
    ranges = [batch.value_range or SCALES["none"], *SCALES.values()]
    probe = np.empty((len(ranges) + 1, *sizes), np.float32)
    for image, (low, high) in zip(probe, ranges, strict=False):
        image[...] = low
        np.moveaxis(image, cols - 1, 0)[sizes[cols - 1] // 2 :] = high
    np.moveaxis(probe[-1], channels - 1, -1)[...] = np.linspace(*ranges[0], sizes[channels - 1])
    return probe


@dataclass(frozen=True, kw_only=True)
class Features:
    """What comes after the first layer with weights: no pixels any more.

    Args:
        activation: the name of the last one.
        arrival: of the layer right before, where that is the first with weights.
    """

    activation: str = "linear"
    arrival: Arrival | None = None


@dataclass(kw_only=True)
class Arrival:
    """What reaches a first layer with weights.

    Args:
        layer: that layer.
        owner: the innermost model that it is part of.
        steps: the names of the layers and operations before it that change values.
        values: float64[probe samples, ...]; None where it could not be followed, for the reason in `hidden`.
        normalized: whether BatchNormalization or the like comes right after it.
    """

    layer: Any
    owner: Any
    steps: tuple[str, ...]
    values: Array | None = None
    hidden: str = ""
    normalized: bool = False


@dataclass(frozen=True)
class _Hidden:
    """Values that could not be followed, and why."""

    why: str


NORMALIZING = (
    "BatchNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "RMSNormalization",
    "UnitNormalization",
)
_PADDING = ("ZeroPadding2D", "Pad")
"""Zeros around an image say nothing of its values."""

_KEEPS_ACTIVATION = ("Flatten", "Reshape", "Dropout", "Identity", "Cast", "Squeeze")


@dataclass
class Walk:
    """One way through a model, its operations run on the probe until each path has met weights."""

    arrivals: list[Arrival] = field(default_factory=list)
    clipped: list[tuple[Any, Array]] = field(default_factory=list)
    """Layers that are told their value range, and what reached them."""
    _owners: list[Any] = field(default_factory=list)
    _steps: list[str] = field(default_factory=list)

    def through(self, graph: Any, *inputs: Any) -> Any:
        """What the graph makes of its inputs: values, `Features` or `_Hidden`, in the structure of its outputs."""
        self._owners.append(graph)
        # Keras' own way to run something else at each operation; public is only a run of the operations themselves
        outputs = graph._run_through_graph(list(inputs), call_fn=self._apply)
        self._owners.pop()
        return outputs

    def _apply(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """The operation on the probe, or what stands for it from the first weights on."""
        import keras  # noqa: PLC0415  seconds, and only a model needs it

        met = [one for one in keras.tree.flatten((args, kwargs)) if isinstance(one, Features | _Hidden)]
        features = next((one for one in met if isinstance(one, Features)), None)
        if features is not None:
            return _everywhere(operation, self._after(operation, features))
        if isinstance(operation, keras.Model):
            return self._nested(operation, met, *args)
        if isinstance(operation, keras.layers.Layer) and (operation.weights and not _is_scaling(operation)):
            return _everywhere(operation, self._arrive(operation, met, args))
        if met:
            return _everywhere(operation, met[0])
        if type(operation).__name__ in _PADDING:
            return args[0]
        return self._run(operation, args, kwargs)

    def _nested(self, model: Any, met: list[Any], *args: Any) -> Any:
        graph = model if is_functional(model) else getattr(model, "_functional", None)
        if graph is None:
            why = f"{model.name} is a {type(model).__name__}, whose body is not followed inside another model"
            return _everywhere(model, self._arrive(model, [_Hidden(why)], args))
        return self.through(graph, *args)

    def _arrive(self, layer: Any, met: list[Any], args: tuple[Any, ...]) -> Features:
        arrival = Arrival(layer=layer, owner=self._owners[-1], steps=tuple(self._steps))
        if met:
            arrival.hidden = met[0].why
        elif not type(layer).__module__.startswith("keras."):
            arrival.hidden = (
                f"{layer.name} is a layer of another house ({type(layer).__name__}) with weights of its own"
            )
        else:
            arrival.values = np.asarray(args[0], np.float64)
        self.arrivals.append(arrival)
        return Features(activation=_activation(layer), arrival=arrival)

    def _after(self, operation: Any, features: Features) -> Features:
        name = type(operation).__name__
        if name in NORMALIZING and features.arrival is not None:
            features.arrival.normalized = True
        if name in _KEEPS_ACTIVATION or (name == "Activation" and _activation(operation) == "linear"):
            return replace(features, arrival=None)
        last = getattr(operation, "layers", None) or [operation]
        return Features(activation=_activation(last[-1]))

    def _run(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if getattr(operation, "value_range", None) is not None:
            self.clipped.append((operation, np.asarray(args[0], np.float64)))
        if "training" in inspect.signature(operation.call).parameters:
            kwargs = kwargs | {"training": False}  # augmentation is on where it is not said
        try:
            outputs = operation(*args, **kwargs)
            changed = np.asarray(outputs).shape != np.shape(args[0]) or not np.array_equal(outputs, args[0])
        except Exception as error:  # an operation of the user's raises anything
            return _everywhere(operation, _Hidden(f"{operation.name} could not be run on a probe: {first_line(error)}"))
        if changed:
            self._steps.append(operation.name)
        return outputs


def _is_scaling(layer: Any) -> bool:
    """Whether its weights are no more than mean and variance of the pixels."""
    return type(layer).__name__ == "Normalization"


def _everywhere(operation: Any, value: Any) -> list[Any]:
    """The same value for each output of the operation."""
    return [value] * max(len(node.outputs) for node in operation._inbound_nodes)


_SQUASHES = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax", "ReLU": "relu", "Relu": "relu"}


def _activation(operation: Any) -> str:
    """The name of the activation that an operation ends in."""
    named = getattr(operation, "activation", None)
    return str(getattr(named, "__name__", named)) if named else _SQUASHES.get(type(operation).__name__, "linear")


def channels_axis(arrival: Arrival) -> int | None:
    """The axis of the arriving values that the channels are on; None where it cannot be told."""
    if arrival.values is None or arrival.values.ndim != 4:
        return None
    marks = arrival.values[-1]
    along = [axis + 1 for axis in range(3) if np.ptp(marks, axis=axis).max() > 0]
    if not along:  # one channel, or several that have become equal
        along = [axis + 1 for axis in range(3) if marks.shape[axis] == 1]
    return along[0] if len(along) == 1 else None

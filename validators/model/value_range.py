"""Whether a batch's value range and order of channels are those that a model's first weights are made for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nhwc.validators.contract import TensorContract, interval
from nhwc.validators.model.mismatch import mismatch
from nhwc.validators.model.walk import NORMALIZING, SCALES, Arrival, Walk, channels_axis
from nhwc.validators.violation import Code, Violation

Array = np.ndarray[Any, Any]

_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_MEAN_255 = np.array([123.68, 116.779, 103.939])
"""Of ImageNet's channels red, green and blue, as keras.applications subtracts and divides by them."""

_MADE_FOR: dict[str, tuple[Array, Array, str]] = {
    "caffe": (-_MEAN_255[::-1], 255 - _MEAN_255[::-1], "blue, green, red with ImageNet's means subtracted"),
    "torch": (-_MEAN / _STD, (1 - _MEAN) / _STD, "red, green, blue standardised with ImageNet's means and deviations"),
    "tf": (-np.ones(3), np.ones(3), "red, green, blue in [-1, 1]"),
}
"""What the weights of keras.applications' models were trained on: lowest and highest of each channel, and in words."""

_APPLICATIONS = {
    "vgg": "caffe", "resnet": "caffe", "densenet": "torch", "mobilenet_": "tf", "mobilenetv2": "tf", "inception": "tf",
    "xception": "tf", "nasnet": "tf",
}  # fmt: skip
"""How the names of keras.applications' models that have no scaling of their own begin. ResNet's second version: tf."""


@dataclass(frozen=True, kw_only=True)
class _Arriving:
    """A probed range where it arrives: float64[channels] of what its lowest and its highest value have become."""

    low: Array
    high: Array

    @property
    def fitness(self) -> int:
        """How far it looks like what networks are fed: 3 exactly, 2 like standardised pixels, 1 possible, 0 not at all.

        Standardised 8-bit pixels span 2 (a standard deviation is at most half the range) to about 6.
        """
        low, high = np.minimum(self.low, self.high), np.maximum(self.low, self.high)
        ends = (low.min(), high.max())
        if any(np.allclose(ends, usual, atol=0.02) for usual in ((0, 1), (-1, 1), (-0.5, 0.5))) or self.is_caffe:
            return 3
        span = float((high - low).mean())
        if (low > 0.02).any() or (high < 0.02).any() or not 0.5 <= span <= 64:
            return 0
        return 2 if 2 <= span <= 6 else 1

    @property
    def is_caffe(self) -> bool:
        """Whether only ImageNet's means have been subtracted, in either order of channels."""
        return len(self.low) == 3 and any(
            np.allclose(self.low, -mean, atol=1) and np.allclose(self.high, 255 - mean, atol=1)
            for mean in (_MEAN_255, _MEAN_255[::-1])
        )

    def __str__(self) -> str:
        return f"[{min(self.low.min(), self.high.min()):.3g}, {max(self.low.max(), self.high.max()):.3g}]"


def _by_range(arrival: Arrival) -> tuple[list[_Arriving], Array | None]:
    """What has become of each probed range, and the order of the channels: intp[channels], None where not told."""
    values, axis = arrival.values, channels_axis(arrival)
    assert values is not None  # for mypy: only arrivals with values come here
    if axis is None:
        flat = values.reshape(len(values), -1)
        return [_Arriving(low=flat[k, :1], high=flat[k, -1:]) for k in range(len(flat) - 1)], None
    by_channel = np.moveaxis(values, axis, 1).reshape(*(len(values), values.shape[axis]), -1)
    ranges = [_Arriving(low=image[:, 0], high=image[:, -1]) for image in by_channel[:-1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        place = (by_channel[-1, :, 0] - ranges[0].low) / (ranges[0].high - ranges[0].low)
    place = place * (values.shape[axis] - 1)
    return ranges, place.round().astype(int) if np.isfinite(place).all() else None


def range_findings(walk: Walk, batch: TensorContract) -> tuple[Violation, ...]:
    """One finding of each code: range, scaling and order of channels where they reach the first weights."""
    findings: dict[Code, Violation] = {}
    for layer, values in walk.clipped:
        for finding in _clip_findings(layer, values[0], batch):
            findings.setdefault(finding.code, finding)
    for arrival in walk.arrivals:
        for finding in _arrival_findings(arrival, batch):
            findings.setdefault(finding.code, finding)
    return tuple(findings.values())


def _clip_findings(layer: Any, values: Array, batch: TensorContract) -> Iterator[Violation]:
    """Layers such as RandomBrightness are told the range of their images, cut to it, and change values by its width."""
    low, high = (float(end) for end in layer.value_range)
    slack = 0.01 * (high - low)
    narrow = np.ptp(values) < (high - low) / 2 and type(layer).__name__ != "RandomContrast"  # which only cuts
    if batch.value_range and (values.min() < low - slack or values.max() > high + slack or narrow):
        found = f"[{values.min():.3g}, {values.max():.3g}] at {layer.name}"
        hint = f"make {layer.name} with value_range=({values.min():.3g}, {values.max():.3g})"
        yield mismatch(Code.MODEL_RANGE, "range", f"{layer.name}'s value_range {interval(low, high)}", found, hint)


def _arrival_findings(arrival: Arrival, batch: TensorContract) -> Iterator[Violation]:
    name = arrival.layer.name
    if arrival.hidden:
        yield mismatch(Code.MODEL_UNDETERMINED, "range", "Keras layers before the first weights", arrival.hidden)
    elif type(arrival.layer).__name__ in NORMALIZING:
        return
    elif batch.value_range is None:
        hint = "give the batch a value range: scale standard has one where the channels' statistics are known"
        yield mismatch(Code.MODEL_UNDETERMINED, "range", "a value range", f"{batch}, which has none", hint)
    else:
        ranges, order = _by_range(arrival)
        yield from _application_findings(arrival, ranges[0], order) or _scale_findings(arrival, ranges, batch)
        if ranges[0].is_caffe and order is not None:
            wanted = [2, 1, 0] if ranges[0].low[0] > ranges[0].low[-1] else [0, 1, 2]
            if order.tolist() != wanted:
                expected = f"channels in the order {wanted}, as the means that are subtracted"
                yield mismatch(Code.MODEL_CHANNEL_ORDER, "channels", expected, f"{order.tolist()} at {name}")


def _application_findings(arrival: Arrival, arriving: _Arriving, order: Array | None) -> list[Violation]:
    """What the trained weights of a model of keras.applications were not trained on."""
    owner = str(arrival.owner.name).lower()
    kind = next((kind for prefix, kind in _APPLICATIONS.items() if owner.startswith(prefix)), None)
    if kind is None or len(arriving.low) != 3 or not _is_trained(arrival.owner):
        return []
    low, high, words = _MADE_FOR["tf" if owner.startswith("resnet") and owner.endswith("v2") else kind]
    near = 0.02 * (high - low).max()
    hint = f"put keras.applications' preprocess_input of {owner} before it; nothing, if you trained it so yourself"
    expected = f"{words}: {owner}'s weights are trained, by keras.applications on this"
    if not (np.allclose(arriving.low, low, atol=near) and np.allclose(arriving.high, high, atol=near)):
        return [mismatch(Code.MODEL_UNSCALED, "range", expected, f"{arriving} at {arrival.layer.name}", hint)]
    if kind != "caffe" and order is not None and order.tolist() == [2, 1, 0]:
        return [mismatch(Code.MODEL_CHANNEL_ORDER, "channels", expected, f"blue first at {arrival.layer.name}", hint)]
    return []


def _is_trained(model: Any) -> bool:
    """Whether the first layer that tells has left its initial state: new statistics are 0 and 1, new biases 0."""
    layers = list(model._flatten_layers()) if hasattr(model, "_flatten_layers") else []
    means = [one.moving_mean for one in layers if type(one).__name__ == "BatchNormalization"]
    biases = [one.bias for one in layers if getattr(one, "bias", None) is not None]
    telling = (means or biases)[:1]
    return any(bool(np.any(np.asarray(one))) for one in telling)


def _scale_findings(arrival: Arrival, ranges: list[_Arriving], batch: TensorContract) -> list[Violation]:
    """Whether what arrives of the batch's range is worse than what would arrive of another scale."""
    low, high = batch.value_range or (0.0, 1.0)
    own, name = ranges[0], arrival.layer.name
    slack = 0.1 if high - low > 0.5 else 0.01
    unchanged = np.allclose(own.low, low, atol=slack) and np.allclose(own.high, high, atol=slack)
    best_scale, best = max(zip(SCALES, ranges[1:], strict=True), key=lambda pair: pair[1].fitness)
    if own.fitness >= (1 if unchanged else max(1, best.fitness)):
        return []
    if unchanged:
        how = "perhaps wrong, though BatchNormalization follows" if arrival.normalized else "most likely wrong"
        found = f"{interval(low, high)} at {name}, with no layer before it that scales: {how}"
        hint = 'load with nhwc.load(scale="unit"), or begin the model with keras.layers.Rescaling'
        return [mismatch(Code.MODEL_UNSCALED, "range", "about [0, 1], [-1, 1] or standardised", found, hint)]
    steps = ", ".join(dict.fromkeys(arrival.steps)) or "the model"
    span = float(np.abs(own.high - own.low).mean())
    says = "scaled twice" if span < 0.5 else "hardly scaled" if span > 64 else "not the range it was made for"
    found = f"{interval(low, high)}, of which {steps} makes {own} at {name}: {says}"
    if best.fitness > own.fitness:
        expected = f"{interval(*SCALES[best_scale])}, which becomes {best}"
        hint = f'load with nhwc.load(scale="{best_scale}"), or drop {steps}'
        return [mismatch(Code.MODEL_RANGE, "range", expected, found, hint)]
    code = Code.MODEL_UNSCALED if span > 64 else Code.MODEL_RANGE
    return [mismatch(code, "range", "a range that becomes about [0, 1], [-1, 1] or standardised", found)]

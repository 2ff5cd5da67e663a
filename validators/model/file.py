"""A model that lies in a file, read without running any code of the file."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nhwc.validators.errors import RecipeError
from nhwc.validators.model.mismatch import first_line, mismatch
from nhwc.validators.violation import Code, Violation

_OPENED_ELSEWHERE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
"""What holds code, or reads another file that does."""

_MOST_CONFIG = 2**26
"""Bytes of a model's configuration: hundreds of times the largest of keras.applications."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a file holds.

    Args:
        model: not compiled; its weights have their values only as long as the file is open.
        loss: what it was compiled with, as `keras.Model.compile` takes it; None where it was not, or it is unread.
        unread: a finding where the loss cannot be read.
    """

    model: Any
    loss: Any = None
    unread: tuple[Violation, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """The model of a `.keras` or `.h5` file.

    The configuration is read first, as text: only layers of Keras itself, or classes that this process has registered
    with it, are made. Weights get no values but the file's, and no optimizer is made: of the 2.9 s that Keras takes for
    a compiled ResNet50, 1.2 s are left. Raises RecipeError for anything else.
    """
    config = _trusted_config(path)
    loss, unread = _loss(config)
    with _no_initial_values():
        try:
            model = _loaded(path)
        except Exception:  # a layer of one's own may make a variable from a value, which this scope does not allow
            model = None
        else:
            yield Opened(model=model, loss=loss, unread=unread)
    if model is None:
        try:
            model = _loaded(path)
        except Exception as error:  # Keras raises what its layers' constructors raise, of any kind
            import keras  # noqa: PLC0415  seconds, and only a model needs it

            found = f"a file that cannot be loaded ({first_line(error)})"
            raise _refused(path, found, f"one saved by Keras {keras.__version__}") from error
        yield Opened(model=model, loss=loss, unread=unread)


def _refused(path: Path, found: str, expected: str) -> RecipeError:
    return RecipeError(str(path), (f"model: found {found}, expected {expected}",))


def _loaded(path: Path) -> Any:
    import keras  # noqa: PLC0415  seconds, and only a model needs it

    with warnings.catch_warnings(action="ignore"):  # of old formats, which do not matter here
        return keras.saving.load_model(path, compile=False, safe_mode=True)


@contextmanager
def _no_initial_values() -> Iterator[None]:
    """Variables that are made in here have the values that are assigned to them in here, and no memory of their own."""
    import keras  # noqa: PLC0415  seconds, and only a model needs it
    from keras.src.backend.common import global_state  # noqa: PLC0415  public is only to give them all values in the end

    with keras.StatelessScope(initialize_variables=False):
        waiting = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
        others = len(waiting)
        try:
            yield
        finally:
            del waiting[others:]  # else Keras would give them values when next it leaves such a scope


def _loss(config: Any) -> tuple[Any, tuple[Violation, ...]]:
    """The loss in a configuration, and a finding where it cannot be read: some in old files cannot, the model can."""
    import keras  # noqa: PLC0415  seconds, and only a model needs it

    try:
        if training := config.get("training_config"):
            return _each(keras.losses.deserialize, training.get("loss")), ()
        compiled = config.get("compile_config") or {}
        return keras.saving.deserialize_keras_object(compiled.get("loss"), safe_mode=True), ()
    except Exception as error:  # Keras raises what a loss's constructor raises, of any kind
        return None, (mismatch(Code.MODEL_UNDETERMINED, "loss", "a loss that can be read", first_line(error)),)


def _each(read: Callable[[Any], Any], losses: Any) -> Any:
    """The losses of an H5 file, in the structure that they have there: one, a list, or by the output's name."""
    if isinstance(losses, list):
        return [_each(read, one) for one in losses]
    if isinstance(losses, dict) and "class_name" not in losses:
        return {name: _each(read, one) for name, one in losses.items()}
    return None if losses is None else read(losses)


def _trusted_config(path: Path) -> Any:
    """The configuration of a file that is there, can be read, and names no code. Raises RecipeError for any other."""
    import keras  # noqa: PLC0415  seconds, and only a model needs it

    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise _refused(path, found, 'a .keras or .h5 file: model.save("m.keras")')
    try:
        config = _config(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        found = f"a file that cannot be read ({first_line(error)})"
        raise _refused(path, found, "a .keras or .h5 file of Keras") from error
    foreign = sorted(set(_foreign(config, keras)))
    if foreign:
        found = f"{', '.join(foreign)}, which is code that is not Keras' own"
        raise _refused(path, found, "layers of Keras: load it yourself and pass the model")
    return config


def _config(path: Path) -> Any:
    """The model's configuration as plain values; the training's beside it where an H5 file has one."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _MOST_CONFIG:
                raise ValueError("its config.json is too large")
            return json.loads(archive.read("config.json"))
    if path.suffix in {".h5", ".hdf5"}:
        import h5py  # noqa: PLC0415  only such a file needs it

        with h5py.File(path, "r") as file:
            names = ("model_config", "training_config")
            return {name: json.loads(file.attrs[name]) for name in names if name in file.attrs}
    raise ValueError(f"its name ends in {path.suffix or 'nothing'}")


def _foreign(config: Any, keras: Any) -> Iterator[str]:
    """The names of classes and functions in a configuration that are not Keras' own."""
    if isinstance(config, list):
        for part in config:
            yield from _foreign(part, keras)
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        registered = config.get("registered_name") or name
        known = module is None or module == "builtins" or str(module).split(".")[0] == "keras"
        if name in _OPENED_ELSEWHERE or not (known or keras.saving.get_registered_object(registered)):
            yield str(name)
        for part in config.values():
            yield from _foreign(part, keras)

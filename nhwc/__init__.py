"""nhwc: image datasets into checked, training-ready batches (samples, rows, cols, channels).

Nothing is imported before it is used: `import nhwc` costs no TensorFlow and no Prefect.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nhwc.flows.audit import audit
    from nhwc.flows.export import export
    from nhwc.flows.gate import gate
    from nhwc.flows.ingest import ingest
    from nhwc.flows.verify import verify
    from nhwc.pipelines.data_source import data_source
    from nhwc.pipelines.image import load_image
    from nhwc.pipelines.load import load
    from nhwc.pipelines.records import load_records
    from nhwc.pipelines.version import Version
    from nhwc.validators.contract import Axis, TensorContract
    from nhwc.validators.errors import DataError, MachineError, NhwcError, RecipeError
    from nhwc.validators.verdict import Verdict
    from nhwc.validators.violation import Code, Violation

_HOMES = {
    "audit": "flows.audit",
    "export": "flows.export",
    "gate": "flows.gate",
    "ingest": "flows.ingest",
    "verify": "flows.verify",
    "data_source": "pipelines.data_source",
    "load": "pipelines.load",
    "load_records": "pipelines.records",
    "load_image": "pipelines.image",
    "Version": "pipelines.version",
    "Axis": "validators.contract",
    "TensorContract": "validators.contract",
    "DataError": "validators.errors",
    "MachineError": "validators.errors",
    "NhwcError": "validators.errors",
    "RecipeError": "validators.errors",
    "Verdict": "validators.verdict",
    "Code": "validators.violation",
    "Violation": "validators.violation",
}

__all__ = [
    "Axis",
    "Code",
    "DataError",
    "MachineError",
    "NhwcError",
    "RecipeError",
    "TensorContract",
    "Verdict",
    "Version",
    "Violation",
    "audit",
    "data_source",
    "export",
    "gate",
    "ingest",
    "load",
    "load_image",
    "load_records",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nhwc' has no attribute {name!r}")
    return getattr(import_module(f"nhwc.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

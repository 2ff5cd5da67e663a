"""Croissant: what an export of Parquet files holds, for readers and catalogues of machine learning data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nhwc.flows.export.form import Content

CROISSANT = "croissant.json"

_VERSION = "1.1"
"""Of the standard: the first that has arrays."""

_TERMS = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty",
    "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField",
    "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
    "subField", "transform",
)  # fmt: skip

_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
"""The standard's own: its checker wants every term, used or not."""

_FILES = "parquet-files"


def croissant_text(content: Content, sums: Mapping[str, str]) -> str:
    """`croissant.json` of an export whose Parquet files are these, by relative path, each with its SHA-256."""
    plain = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": f"http://mlcommons.org/croissant/{_VERSION}",
        "name": content.dataset,
        "description": f"Images {content.contract} of {len(content.classes)} classes, exported by nhwc.",
        "version": content.number,
        "distribution": [*(_file(name, sha256) for name, sha256 in sums.items()), _file_set(sums)],
        "recordSet": [_samples(content), _classes(content), _splits(content)],
    }
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def _file(name: str, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _file_set(sums: Mapping[str, str]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": _FILES,
        "name": _FILES,
        "encodingFormat": "application/x-parquet",
        "includes": "*.parquet",
    }


def _samples(content: Content) -> dict[str, Any]:
    """A record a sample."""
    if content.is_png:
        image = _column("image", "sc:ImageObject")
        image["source"]["transform"] = {"jsonPath": "bytes"}
    else:
        image = _column("image", "sc:Float" if content.dtype.kind == "f" else "sc:Integer")
        image |= {"isArray": True, "arrayShape": ",".join(map(str, content.contract.sizes))}
    fields = [image, _column("label", "sc:Integer")]
    fields += [_column(name, "sc:Text") for name in ("split", "sample_id", "path")]
    return {"@type": "cr:RecordSet", "@id": "samples", "name": "samples", "field": fields}


def _column(name: str, data_type: str) -> dict[str, Any]:
    source = {"fileSet": {"@id": _FILES}, "extract": {"column": name}}
    return _field("samples", name, data_type) | {"source": source}


def _classes(content: Content) -> dict[str, Any]:
    """What each label is called."""
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "key": {"@id": "classes/label"},
        "field": [_field("classes", "label", "sc:Integer"), _field("classes", "name", "sc:Text")],
        "data": [{"classes/label": label, "classes/name": name} for label, name in enumerate(content.classes)],
    }


def _splits(content: Content) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [_field("splits", "name", "sc:Text")],
        "data": [{"splits/name": name} for name in content.splits],
    }


def _field(record_set: str, name: str, data_type: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name, "dataType": data_type}

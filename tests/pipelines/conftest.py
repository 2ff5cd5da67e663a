"""A small published version on disk, made by code."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from nhwc.pipelines.store import record_batch
from nhwc.validators.contract import image_contract
from nhwc.validators.manifest import frame

CLASSES = ["ant", "bee", "cat"]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A version and what went into it: images by sample id, and ids and label ids by split, in the manifest's order."""

    folder: Path
    images: dict[str, np.ndarray]
    labels: dict[str, int]
    ids: dict[str, list[str]]
    shards: list[Path]


@pytest.fixture
def write_version(tmp_path: Path) -> Callable[..., Written]:
    """A function that writes and publishes a version: samples of the splits lie mixed in its shards."""

    def write(
        samples: int = 23,
        *,
        rows: int = 2,
        cols: int = 3,
        channels: int = 3,
        dtype: str = "uint8",
        shards: int = 3,
        splits: Sequence[str] = ("train", "train", "test"),
        name: str = "small",
        spoil: Callable[[np.ndarray], None] | None = None,
    ) -> Written:
        top = 65535 if dtype == "uint16" else 255
        contract = image_contract(rows=rows, cols=cols, channels=channels, dtype=dtype, value_range=(0, top))
        values = np.random.default_rng(samples).integers(0, top, size=(samples, rows, cols, channels), endpoint=True)
        images = values.astype(dtype)
        if spoil:
            spoil(images)
        sample_ids = [hashlib.sha256(str(number).encode()).hexdigest()[:16] for number in range(samples)]
        folder = tmp_path / name
        (folder / "1.0.0").mkdir(parents=True)
        (folder / "shards").mkdir()
        table, paths = [], []
        for part in np.array_split(np.arange(samples), shards) if samples else ():
            shard = f"{len(paths):032x}"
            labels = [CLASSES[number % len(CLASSES)] for number in part]
            batch = record_batch(images[part], labels, [sample_ids[number] for number in part], contract)
            paths.append(folder / "shards" / f"{shard}.arrow")
            with pa.ipc.new_file(str(paths[-1]), batch.schema) as writer:
                writer.write_batch(batch)
            table += [_row(number, sample_ids[number], shard, row, splits) for row, number in enumerate(part)]
        table.append({"path": "z.txt", "sample_id": "f" * 16, "status": "skipped", "code": "other_file"})
        manifest = frame(table)
        manifest.write_parquet(folder / "1.0.0" / "manifest.parquet")
        plain = {"format": 1, "image": contract.to_dict(), "classes": CLASSES, "fingerprint": "0" * 64}
        (folder / "1.0.0" / "contract.yaml").write_text(yaml.safe_dump(plain))
        kept = [row for row in manifest.iter_rows(named=True) if row["status"] == "kept"]
        ids = {split: [row["sample_id"] for row in kept if row["split"] == split] for split in dict.fromkeys(splits)}
        by_id = dict(zip(sample_ids, images, strict=True))
        statistics = {split: _statistics([by_id[one] for one in ids[split]]) for split in ids if ids[split]}
        if samples:
            statistics["all"] = _statistics(list(images))
        (folder / "1.0.0" / "statistics.json").write_text(json.dumps({"counts": {}, "channels": statistics}))
        (folder / "latest").write_text("1.0.0\n")
        labels_by_id = {row["sample_id"]: row["label_id"] for row in kept}
        return Written(folder=folder, images=by_id, labels=labels_by_id, ids=ids, shards=paths)

    return write


def _row(number: int, sample_id: str, shard: str, row: int, splits: Sequence[str]) -> dict:
    label_id = number % len(CLASSES)
    return {
        "path": f"{number:06d}.png",
        "sample_id": sample_id,
        "status": "kept",
        "label": CLASSES[label_id],
        "label_id": label_id,
        "split": splits[number % len(splits)],
        "shard": shard,
        "row": row,
    }


def _statistics(images: list[np.ndarray]) -> dict[str, list[float]]:
    values = np.stack(images).astype(np.float64)
    return {"mean": list(values.mean((0, 1, 2))), "std": list(values.std((0, 1, 2)))}

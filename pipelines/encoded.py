"""Shards that keep the files as they are: each is decoded anew when it is asked for, by the stages that ingest used."""

from __future__ import annotations

import mmap
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from nhwc.pipelines.decode import Encoded
from nhwc.pipelines.image import image_stages
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.probe import probe
from nhwc.pipelines.stage import run_stages
from nhwc.validators.errors import DataError, SampleRefused
from nhwc.validators.verdict import Verdict

Array = np.ndarray[Any, Any]


class EncodedImages:
    """The images of such a shard, read like an array (samples, rows, cols, channels), one at a time.

    Args:
        files: the bytes of each sample's file.
        sample_ids: of each.
        image: the recipe that they were ingested by.

    Safe to call from several threads: decoding lets other threads run. It decodes in this process: each of these files
    was decoded once, contained, by the ingest that kept it.
    """

    def __init__(self, files: pa.LargeBinaryArray, sample_ids: pa.StringArray, image: ImageRecipe) -> None:
        self._files, self._ids, self._stages = files, sample_ids, image_stages(image)
        self.shape = (len(files), *image.contract.sizes)
        self.dtype = np.dtype(image.dtype)

    def __len__(self) -> int:
        return len(self._files)

    def touch(self, rows: Array) -> None:
        """Have the files at int64[samples] rows read from storage, and nothing done with them."""
        for row in rows.tolist():
            content = np.frombuffer(self._files[row].as_buffer(), np.uint8)
            np.add.reduce(content[:: mmap.PAGESIZE])

    def content(self, row: int) -> bytes:
        """The file's own bytes."""
        content: bytes = self._files[row].as_buffer().to_pybytes()
        return content

    def __getitem__(self, row: int) -> Array:
        """One image (rows, cols, channels), each stage held against its contract.

        Raises DataError, the sample named, where the file no longer comes out as it did.
        """
        content, sample_id = self.content(row), self._ids[row].as_py()
        try:
            outcome = run_stages(self._stages, Encoded(content, probe(content)), sample_id=sample_id)
        except SampleRefused as refusal:
            raise DataError(Verdict(violations=(replace(refusal.violation, sample_id=sample_id),))) from refusal
        if outcome.array is None:
            raise DataError(Verdict(violations=outcome.violations))
        return outcome.array

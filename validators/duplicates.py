"""The same picture more than once: equal bytes, equal pixels, or nearly equal, and what that does to labels and splits.

Nearly equal is told by a perceptual hash: the signs of the 255 lowest frequencies of the picture's DCT (as in
Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, with more of them). Low frequencies
hardly change when a picture is encoded again, resized or brightened. Mirrored, each odd frequency along cols changes
its sign, so the mirrored picture's hash costs nothing. Cropping moves them all: the hash therefore also holds those of
nine crops, and a cropped copy as a whole looks like one of the crops of its original.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nhwc.validators.violation import Code

Indices = npt.NDArray[np.int64]

HASH_BYTES = 320
"""Of one perceptual hash: 256 bits for the whole picture, then for nine crops of 95 % of its rows and cols."""

RADIUS = 36
"""Bits of 255 in which near duplicates may differ. Of 2.1 million pairs of different photographs and hand signs, the
closest differ in 40. Of copies, 97 in 100 that lost 5 % of their rows and cols at any edge differ in at most 36, and
all that were encoded again, resized, mirrored or brightened in at most 22."""

MOST_CHAINED = 64
"""More different pictures than this are not joined through one another at the full radius."""

FREQUENCIES = 16
"""Of the picture's DCT, along rows and along cols."""

_ALONG_ROWS, _ALONG_COLS = np.divmod(np.arange(FREQUENCIES**2), FREQUENCIES)
ORDER: Indices = np.argsort(
    np.where(_ALONG_ROWS + _ALONG_COLS == 0, 99, _ALONG_ROWS + _ALONG_COLS), kind="stable"
)  # fmt: skip
"""Of a hash's bits: the lowest frequencies first; last the mean, whose sign never differs."""


def find_clusters(samples: pl.DataFrame, *, radius: int = RADIUS) -> pl.Series:
    """The cluster of each row: the smallest sample_id among all that are the same picture, itself where there is none.

    Args:
        samples: with sample_id, and sha256, pixel_hash and perceptual_hash, each null where there is none.
        radius: near duplicates differ in at most so many of 255 bits, as a whole or as a whole and a crop, mirrored
            or not. With 0 only equal hashes are the same picture.

    Rows with an equal sha256, pixel_hash or perceptual_hash always share a cluster. So do near duplicates, and what is
    joined through them. Where that joins more than MOST_CHAINED different pictures, only pairs within half the radius
    count: a chain of pictures that are merely alike falls apart, a thousand frames of one scene stay together. No
    order of the rows changes a cluster.

    The search sorts the hashes by ten choices of their lowest bits, 32 where hashes are few, and compares those that
    agree in a choice: about n log n steps, bounded for each picture however many are alike. It is no proof: of a
    million, it may miss one in a hundred near duplicates.

    Raises ValueError where a perceptual_hash has another length than HASH_BYTES.
    """
    from nhwc.validators.near_pairs import near_pairs  # noqa: PLC0415  the compiler, for who searches only

    hashes = samples.select(hash="perceptual_hash").with_row_index("row").drop_nulls()
    if hashes["hash"].bin.size().ne(HASH_BYTES).any():
        raise ValueError(f"a perceptual hash has {HASH_BYTES} bytes: make it by perceptual_hash")
    equal = [_equal_rows(samples, name) for name in ("sha256", "pixel_hash", "perceptual_hash")]
    distinct = hashes.group_by("hash").agg(pl.col("row").min().cast(pl.Int64)).sort("hash")
    nodes = distinct["row"].to_numpy()
    words = distinct["hash"].bin.reinterpret(dtype=pl.Array(pl.UInt64, HASH_BYTES // 8), endianness="little")
    pairs, distances = near_pairs(words.to_numpy().reshape(-1, 10, 4), radius=radius)
    roots = _joined(samples.height, np.concatenate(equal), nodes[pairs], distances, radius)
    return samples.select(pl.col("sample_id").min().over(pl.Series("root", roots)).alias("cluster"))["cluster"]


def _equal_rows(samples: pl.DataFrame, name: str) -> Indices:
    """Each row that is not the first with its value, and that first row: [pairs, 2]."""
    rows = samples.select(pl.col(name).alias("value")).with_row_index("row").drop_nulls()
    rows = rows.with_columns(first=pl.col("row").min().over("value")).filter(pl.col("row") != pl.col("first"))
    return rows.select(pl.col("first", "row").cast(pl.Int64)).to_numpy()


def _joined(rows: int, equal: Indices, near: Indices, distances: Indices, radius: int) -> Indices:
    """The smallest row that each row is joined with, long chains of near pictures taken apart."""
    pictures = connected(rows, equal)
    roots = connected(rows, np.concatenate([equal, near]))
    sizes = np.bincount(roots[np.unique(pictures)], minlength=rows)
    kept = (sizes[roots[near[:, 0]]] <= MOST_CHAINED) | (distances <= radius // 2)
    return connected(rows, np.concatenate([equal, near[kept]]))


def connected(count: int, pairs: Indices) -> Indices:
    """The smallest member of each node's connected component: [count], for pairs [pairs, 2] of nodes."""
    roots = np.arange(count)
    first, second = pairs[:, 0], pairs[:, 1]
    while len(first):
        lower, upper = np.minimum(roots[first], roots[second]), np.maximum(roots[first], roots[second])
        apart = lower < upper
        first, second = first[apart], second[apart]
        np.minimum.at(roots, upper[apart], lower[apart])
        while (roots != (deeper := roots[roots])).any():
            roots = deeper
    return roots


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """Rows with one value of `key` and more than one of `apart` are a finding against each of them."""

    code: Code
    key: str
    apart: str
    aspect: str
    expected: str
    found: str


_RULES = (
    _Rule(
        code=Code.SAME_BYTES, key="sha256", apart="sample_id", aspect="bytes",
        expected="each file once", found="the same bytes as",
    ),
    _Rule(
        code=Code.SAME_PIXELS, key="pixel_hash", apart="sha256", aspect="pixels",
        expected="each picture once", found="the same stored pixels as",
    ),
    _Rule(
        code=Code.NEAR_DUPLICATE, key="cluster", apart="pixel_hash", aspect="pixels",
        expected="each picture once", found="nearly the same picture as",
    ),
    _Rule(
        code=Code.DUPLICATE_TWO_LABELS, key="cluster", apart="label", aspect="label",
        expected="one label for one picture", found="another label than the same picture at",
    ),
    _Rule(
        code=Code.DUPLICATE_ACROSS_SPLITS, key="cluster", apart="split", aspect="split",
        expected="one split for one picture", found="another split than the same picture at",
    ),
)  # fmt: skip

_FINDINGS = dict.fromkeys(("code", "sample_id", "path", "aspect", "expected", "found"), pl.String)

_NAMED = 3  # others in a finding's text
_PATH_LETTERS = 100  # of each


def duplicate_findings(manifest: pl.DataFrame) -> pl.DataFrame:
    """What is wrong with kept rows that are the same picture: a row a finding, against every one of them.

    Args:
        manifest: with sample_id, path, status, label, split, sha256, pixel_hash, and cluster as `find_clusters` gives.

    Returns a frame of strings: code, sample_id, path, aspect, expected, found, in the order of the rules and of path.
    Codes: same_bytes; same_pixels, of other bytes; near_duplicate, of other pixels; duplicate_two_labels;
    duplicate_across_splits. `found` names at most three others by path, and how many more there are.
    """
    repeated = {key: manifest.filter(_is_repeated(key)) for key in {rule.key: None for rule in _RULES}}
    return pl.concat([_broken(repeated[rule.key], rule) for rule in _RULES])


def _is_repeated(key: str) -> pl.Expr:
    """True of each kept row whose key another kept row has, and perhaps of a few more.

    It compares hashes of the keys, which is several times faster than the keys; what follows compares the keys.
    """
    of_kept = pl.when(pl.col("status") == "kept").then(key)
    return of_kept.is_not_null() & of_kept.hash().is_duplicated()


def _broken(kept: pl.DataFrame, rule: _Rule) -> pl.DataFrame:
    """The rule's findings; `kept` has at least every row whose key is not the only one."""
    if kept.is_empty():
        return pl.DataFrame(schema=_FINDINGS)
    shared = kept.group_by(rule.key).agg(kinds=pl.col(rule.apart).n_unique()).filter(pl.col("kinds") > 1)
    rows = kept.join(shared, on=rule.key, how="semi").select(
        "sample_id", "path", key=rule.key, apart=rule.apart, name=_name(rule)
    )
    kinds = rows.group_by("key", "apart").agg(pl.col("name").min(), alike=pl.len()).sort("key", "name")
    groups = kinds.group_by("key").agg(others=pl.struct("name", "apart").head(_NAMED + 1), all=pl.col("alike").sum())
    rows = rows.join(groups, on="key").join(kinds.select("key", "apart", "alike"), on=["key", "apart"])
    named = (
        rows.select("sample_id", pl.col("apart").alias("own"), "others")
        .explode("others", empty_as_null=False, keep_nulls=False)
        .unnest("others")
        .filter(pl.col("apart") != pl.col("own"))
        .group_by("sample_id")
        .agg(names=pl.col("name").sort().head(_NAMED))
    )
    rows = rows.join(named, on="sample_id")
    more = pl.col("all") - pl.col("alike") - pl.col("names").list.len()
    tail = pl.when(more > 0).then(pl.format(" and {} more", more)).otherwise(pl.lit(""))
    return rows.sort("path").select(
        pl.lit(rule.code.value).alias("code"),
        "sample_id",
        "path",
        pl.lit(rule.aspect).alias("aspect"),
        pl.lit(rule.expected).alias("expected"),
        pl.concat_str(pl.lit(f"{rule.found} "), pl.col("names").list.join(", "), tail).alias("found"),
    )


def _name(rule: _Rule) -> pl.Expr:
    """A row's path, its end where it is long; with the label or split where these are what differs."""
    path = pl.col("path")
    ending = pl.concat_str(pl.lit("..."), path.str.tail(_PATH_LETTERS))
    short = pl.when(path.str.len_chars() > _PATH_LETTERS).then(ending).otherwise(path)
    return pl.format("{} ({})", short, pl.col(rule.apart)) if rule.apart in ("label", "split") else short

"""The same picture more than once: equal bytes, equal pixels, or nearly equal, and what that does to labels and splits.

Nearly equal is told by a perceptual hash: the signs of the 255 lowest frequencies of the picture's DCT (as in
Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, with more of them). Low frequencies
hardly change when a picture is encoded again, resized or brightened. Mirrored, each odd frequency along cols changes
its sign, so the mirrored picture's hash costs nothing. Cropping moves them all: the hash therefore also holds those of
nine crops, and a cropped copy as a whole looks like one of the crops of its original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nhwc.validators.violation import Code

Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]
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

# odd frequencies along cols change their sign in a mirrored picture
_MIRROR: Words = np.packbits(_ALONG_COLS[ORDER] % 2 == 1).view("<u8").astype(np.uint64)


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


_ENTRIES = 11  # of a picture in the index: its whole, nine crops, and its whole mirrored
_TABLES, _TABLES_OF_FEW = 10, 32  # what is few costs next to nothing
_FEW = 100_000
_WINDOW = 16  # neighbours that a row is compared with in a bucket, so that no bucket costs its square
_LOW_BITS = 18  # of the 64 lowest, in which candidates may differ
_ENOUGH_LINKS = 32  # two pictures that both have so many near duplicates are not compared any more
_VERIFIED_AT_ONCE = 1 << 15


def near_pairs(hashes: Words, *, radius: int) -> tuple[Indices, Indices]:
    """The pairs of hashes within a radius, and the distance of each.

    Args:
        hashes: [hashes, 10, 4], of the whole and of nine crops, no two equal, in an order of their own: in a crowded
            bucket it decides which are compared.
        radius: the most bits in which a whole differs from the other's whole or crop, mirrored or not.

    Returns pairs [pairs, 2] of indices, the lower first, sorted, and distances [pairs].
    """
    count = len(hashes)
    if count < 2 or radius < 1:
        return np.empty((0, 2), np.int64), np.empty(0, np.int64)
    mirrored = hashes[:, :1, 0] ^ _MIRROR[0]
    low = np.concatenate([hashes[:, :, 0], mirrored], axis=1).reshape(-1)
    links = np.zeros(count, np.int64)
    codes, distances = np.empty(0, np.int64), np.empty(0, np.int64)
    for table in range(_TABLES if count > _FEW else _TABLES_OF_FEW):
        found = [(codes, distances)]
        for pairs, flipped in _candidates(low, table, links):
            wanted = ~_among(codes, pairs @ np.array([count, 1]))
            found.append(_verified(hashes, pairs[wanted], flipped[wanted], radius))
            links += np.bincount(np.concatenate(np.divmod(found[-1][0], count)), minlength=count)
        codes, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
        closest_first = np.argsort(distances, kind="stable")
        codes, places = np.unique(codes[closest_first], return_index=True)
        distances = distances[closest_first][places]
    return np.stack(np.divmod(codes, count), axis=1), distances


def _among(known: Indices, sought: Indices) -> Flags:
    """Which of those sought are among the known, which are sorted."""
    if not len(known):
        return np.zeros(len(sought), np.bool_)
    places = np.searchsorted(known, sought).clip(max=len(known) - 1)
    among: Flags = known[places] == sought
    return among


def _candidates(low: Words, table: int, links: Indices) -> Iterator[tuple[Indices, Flags]]:
    """Pairs of hashes [pairs, 2], the lower first, that share a bucket of the table, and whether one is mirrored.

    First each with the next entry of its bucket, then with the one after, ... What has enough links by then is left.
    """
    entry_bits = np.uint64(len(low).bit_length())
    key_bits = min(40, max(10, len(low).bit_length() + 4))
    ranked = sorted(range(64), key=lambda bit: hashlib.sha256(f"{table}\0{bit}".encode()).digest())
    mask = np.uint64(sum(1 << bit for bit in ranked[:key_bits]))
    spread = np.uint64(0x9E3779B97F4A7C15)  # odd: equal products are equal keys (Knuth 6.4, multiplicative hashing)
    keys = ((low & mask) * spread) >> entry_bits << entry_bits | np.arange(len(low), dtype=np.uint64)
    keys.sort()
    entry = np.uint64((1 << int(entry_bits)) - 1)
    keys = keys[_in_company(keys, entry)]  # most are alone in their bucket: what follows need not look at them
    image, mirrored = np.divmod((keys & entry).astype(np.int64), _ENTRIES)
    mirrored = mirrored == _ENTRIES - 1
    again = ((keys[1:] ^ keys[:-1]) <= entry) & (image[1:] == image[:-1]) & ~mirrored[1:]  # another crop of the same
    first = np.concatenate([[True], ~again])[: len(keys)]
    keys, image, mirrored = keys[first], image[first], mirrored[first]
    places = np.arange(len(keys))
    for step in range(1, _WINDOW + 1):
        places = places[: np.searchsorted(places, len(keys) - step)]
        places = places[(keys[places] ^ keys[places + step]) <= entry]
        if not len(places):
            return
        one, other = places, places + step
        worth = (image[one] != image[other]) & ~(mirrored[one] & mirrored[other])
        worth &= np.minimum(links[image[one]], links[image[other]]) < _ENOUGH_LINKS
        one, other = one[worth], other[worth]
        alike = np.bitwise_count(low[keys[one] & entry] ^ low[keys[other] & entry]) <= _LOW_BITS
        one, other = one[alike], other[alike]
        yield np.sort(np.stack([image[one], image[other]], axis=1), axis=1), mirrored[one] | mirrored[other]


def _in_company(keys: Words, entry: np.uint64) -> Flags:
    """Which of the sorted keys have a neighbour in their bucket: one that differs in the bits of `entry` alone."""
    alike = (keys[1:] ^ keys[:-1]) <= entry
    company = np.zeros(len(keys), np.bool_)
    company[1:] |= alike
    company[:-1] |= alike
    return company


def _verified(hashes: Words, pairs: Indices, mirrored: Flags, radius: int) -> tuple[Indices, Indices]:
    """Of the candidates, those within the radius, each once: lower index * hashes + higher, and the distance."""
    # a sorted sum is many times faster to make unique than rows of pairs
    tasks = np.unique((pairs @ np.array([len(hashes), 1])) * 2 + mirrored)
    codes, mirrored = tasks // 2, tasks % 2 == 1
    pairs = np.stack(np.divmod(codes, len(hashes)), axis=1)
    parts = [slice(start, start + _VERIFIED_AT_ONCE) for start in range(0, len(pairs), _VERIFIED_AT_ONCE)]
    distances = [_distances(hashes, pairs[part], mirrored[part]) for part in parts]
    distance = np.concatenate([np.empty(0, np.int64), *distances])
    near = distance <= radius
    return codes[near], distance[near]


def _distances(hashes: Words, pairs: Indices, mirrored: Flags) -> Indices:
    """The fewest bits in which the whole of one differs from the whole or a crop of the other: [pairs]."""
    one, other = hashes[pairs[:, 0]], hashes[pairs[:, 1]]
    flip = np.where(mirrored[:, None, None], _MIRROR, np.uint64(0))
    there = np.bitwise_count((one[:, :1] ^ flip) ^ other).sum(axis=2, dtype=np.int64).min(axis=1)
    back = np.bitwise_count((other[:, :1] ^ flip) ^ one).sum(axis=2, dtype=np.int64).min(axis=1)
    nearest: Indices = np.minimum(there, back)
    return nearest


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

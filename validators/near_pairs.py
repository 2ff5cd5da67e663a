"""The search for near duplicates among perceptual hashes, compiled. It stands apart since it needs the compiler."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from nhwc.validators.compiled import compiled
from nhwc.validators.duplicates import FREQUENCIES, ORDER

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

# odd frequencies along cols change their sign in a mirrored picture
MIRROR: Words = np.packbits(ORDER % FREQUENCIES % 2 == 1).view("<u8").astype(np.uint64)
"""The bits of a picture's hash [4] that are turned over in its mirrored picture's."""

_CROPS = 10  # of a hash, its whole among them
_ENTRIES = 11  # of a picture in the index: its whole, nine crops, and its whole mirrored
_TABLES, _TABLES_OF_FEW = 10, 32  # what is few costs next to nothing
_FEW = 100_000
_WINDOW = 16  # neighbours that a row is compared with in a bucket, so that no bucket costs its square
_LOW_BITS = 18  # of the 64 lowest, in which candidates may differ
_ENOUGH_LINKS = 32  # two pictures that both have so many near duplicates are not compared any more

# a pair found is one number: (lower index * hashes + higher) * _PAIR + mirrored * _MIRRORED + distance
_MIRRORED, _PAIR = 512, 1024

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: equal products are equal keys (Knuth 6.4, multiplicative hashing)


def near_pairs(hashes: Words, *, radius: int) -> tuple[Indices, Indices]:
    """The pairs of hashes within a radius, and the distance of each.

    Args:
        hashes: [hashes, 10, 4], of the whole and of nine crops, no two equal, in an order of their own: in a crowded
            bucket it decides which are compared.
        radius: the most bits in which a whole differs from the other's whole or crop, mirrored or not.

    Returns pairs [pairs, 2] of indices, the lower first, sorted, and distances [pairs].
    """
    count = len(hashes)
    known = np.empty(0, np.int64)  # as pairs are found, sorted
    if count >= 2 and radius >= 1:
        hashes = np.ascontiguousarray(hashes)
        low = np.concatenate([hashes[:, :, 0], hashes[:, :1, 0] ^ MIRROR[0]], axis=1).reshape(-1)
        links = np.zeros(count, np.int64)
        for table in range(_TABLES if count > _FEW else _TABLES_OF_FEW):
            found = _found_in(table, hashes, low, links, known // _PAIR, radius)
            known = _closest(np.concatenate([known, *found])) if found else known
    return np.stack(np.divmod(known // _PAIR, count or 1), axis=1), known % _MIRRORED


def _closest(found: Indices) -> Indices:
    """Of each pair the one with the smallest distance, as not mirrored, sorted."""
    found = np.sort(found - found // _MIRRORED % 2 * _MIRRORED)
    return found[np.diff(found // _PAIR, prepend=-1) > 0]


def _found_in(table: int, hashes: Words, low: Words, links: Indices, known: Indices, radius: int) -> list[Indices]:
    """What is near of those that share a bucket of the table, and not among the known.

    First each is compared with the next entry of its bucket, then with the one after, ... What has enough links by then
    is left. Each is one more link of both.
    """
    entry_bits = np.uint64(len(low).bit_length())
    keys = _keys(low, np.uint64(_mask(table, len(low))), entry_bits)
    keys.sort()
    entries, ends = _in_company(keys, entry_bits)
    bits = low[entries]  # beside each other: hashes lie far apart in memory
    found, places = [], np.arange(len(entries))
    for step in range(1, _WINDOW + 1):
        places = places[places + step < ends[places]]
        if not len(places):
            break
        alike = _alike(entries, bits, places, step, links)
        near = _near(hashes, entries[alike], entries[alike + step], radius)
        if len(near):
            near = np.unique(near[~_among(known, near // _PAIR)])
            np.add.at(links, np.concatenate(np.divmod(near // _PAIR, len(hashes))), 1)
            found.append(near)
    return found


def _mask(table: int, entries: int) -> int:
    """The bits of the 64 lowest that a table's buckets agree in: more of them the more entries there are."""
    ranked = sorted(range(64), key=lambda bit: hashlib.sha256(f"{table}\0{bit}".encode()).digest())
    return sum(1 << bit for bit in ranked[: min(40, max(10, entries.bit_length() + 4))])


def _among(known: Indices, sought: Indices) -> npt.NDArray[np.bool_]:
    """Which of those sought are among the known, which are sorted."""
    if not len(known):
        return np.zeros(len(sought), np.bool_)
    places = np.searchsorted(known, sought).clip(max=len(known) - 1)
    among: npt.NDArray[np.bool_] = known[places] == sought
    return among


@compiled
def _keys(low: Words, mask: np.uint64, entry_bits: np.uint64) -> Words:
    """Each entry's bucket in the upper bits, and its number in the `entry_bits` lowest."""
    keys = np.empty(len(low), np.uint64)
    for place in range(len(low)):
        keys[place] = ((low[place] & mask) * _SPREAD) >> entry_bits << entry_bits | np.uint64(place)
    return keys


@compiled
def _in_company(keys: Words, entry_bits: np.uint64) -> tuple[Indices, Indices]:
    """Of the sorted keys the entries that are not alone in their bucket, and for each the place where its bucket ends.

    Of a picture's own crops in a bucket only the first is left, and its mirrored whole.
    """
    entries, ends = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    count = end = 0
    while end < len(keys):
        bucket, start = keys[end] >> entry_bits, count
        if end + 1 == len(keys) or keys[end + 1] >> entry_bits != bucket:  # most are alone
            end += 1
            continue
        while end < len(keys) and keys[end] >> entry_bits == bucket:
            entry = np.int64(keys[end] ^ bucket << entry_bits)
            image, part = divmod(entry, _ENTRIES)
            if count == start or part == _ENTRIES - 1 or image != entries[count - 1] // _ENTRIES:
                entries[count] = entry
                count += 1
            end += 1
        if count == start + 1:
            count = start
        ends[start:count] = count
    return entries[:count], ends[:count]


@compiled
def _alike(entries: Indices, bits: Words, places: Indices, step: int, links: Indices) -> Indices:
    """Of these places those whose entry is worth comparing with the one a step on: not links enough, and alike in
    their lowest bits."""
    left = np.empty(len(places), np.int64)
    count = 0
    for place in places:
        if _ones(bits[place] ^ bits[place + step]) <= _LOW_BITS:
            one, part = divmod(entries[place], _ENTRIES)
            other, other_part = divmod(entries[place + step], _ENTRIES)
            both_mirrored = part == other_part == _ENTRIES - 1
            if one != other and not both_mirrored and min(links[one], links[other]) < _ENOUGH_LINKS:
                left[count] = place
                count += 1
    return left[:count]


@compiled
def _near(hashes: Words, entries: Indices, others: Indices, radius: int) -> Indices:
    """The pairs of an entry and another within the radius; some of them several times."""
    found = np.empty(len(entries), np.int64)
    count = 0
    for place in range(len(entries)):
        one, part = divmod(entries[place], _ENTRIES)
        other, other_part = divmod(others[place], _ENTRIES)
        mirrored = part == _ENTRIES - 1 or other_part == _ENTRIES - 1
        distance = _distance(hashes[one], hashes[other], mirrored, radius)
        if distance <= radius:
            found[count] = (min(one, other) * len(hashes) + max(one, other)) * _PAIR + mirrored * _MIRRORED + distance
            count += 1
    return found[:count]


@compiled
def _distance(one: Words, other: Words, mirrored: bool, radius: int) -> int:
    """The fewest bits in which the whole of one differs from the whole or a crop of the other; some number over the
    radius where all of these do."""
    fewest = radius + 1
    for crop in range(_CROPS):
        there = back = 0
        for word in range(one.shape[1]):
            flip = MIRROR[word] if mirrored else np.uint64(0)
            there += _ones(one[0, word] ^ flip ^ other[crop, word])
            back += _ones(other[0, word] ^ flip ^ one[crop, word])
        fewest = min(fewest, there, back)
    return fewest


_TWOS, _FOURS, _EIGHTS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES = np.uint64(0x0101010101010101)


@compiled
def _ones(word: Any) -> Any:
    """How many bits of a np.uint64 are set (Warren, Hacker's Delight, 5-1): the compiler makes it one instruction."""
    word = word - (word >> np.uint64(1) & _TWOS)
    word = (word & _FOURS) + (word >> np.uint64(2) & _FOURS)
    word = word + (word >> np.uint64(4)) & _EIGHTS
    return np.int64(word * _BYTES >> np.uint64(56))

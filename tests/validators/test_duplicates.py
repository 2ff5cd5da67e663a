"""The same picture is found again, and only the same; clusters depend on nothing but the pictures."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nhwc.validators.duplicates import (
    HASH_BYTES,
    MOST_CHAINED,
    RADIUS,
    connected,
    duplicate_findings,
    find_clusters,
)
from nhwc.validators.near_pairs import MIRROR, near_pairs
from nhwc.validators.perceptual import perceptual_hash


def picture(seed: int, rows: int = 90, cols: int = 120, channels: int = 3) -> np.ndarray:
    """A smooth random picture, uint8 [rows, cols, channels]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((cols, rows), Image.Resampling.BICUBIC))
    return smooth if channels == 3 else smooth[..., :channels]


def bits_apart(one: bytes | None, other: bytes | None) -> int:
    """How many bits of the whole pictures' hashes differ."""
    assert one is not None
    assert other is not None
    return (int.from_bytes(one[:32]) ^ int.from_bytes(other[:32])).bit_count()


def resized(pixels: np.ndarray, rows: int, cols: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((cols, rows), Image.Resampling.BILINEAR))


def samples(hashes: list[bytes | None], **columns: list[str | None]) -> pl.DataFrame:
    """A frame for find_clusters: sample ids count up, keys differ where not given."""
    ids = [f"{number:016x}" for number in range(len(hashes))]
    frame = {"sample_id": ids, "sha256": ids, "pixel_hash": ids, "perceptual_hash": hashes} | columns
    types = {"sha256": pl.String, "pixel_hash": pl.String, "perceptual_hash": pl.Binary}
    return pl.DataFrame(frame, schema_overrides=types)


def random_hashes(seed: int, count: int) -> list[bytes]:
    return [row.tobytes() for row in np.random.default_rng(seed).integers(0, 256, (count, HASH_BYTES), dtype=np.uint8)]


def altered(content: bytes, bits: int) -> bytes:
    """A hash with so many bits of each of its ten parts turned over, in its middle."""
    words = np.unpackbits(np.frombuffer(content, np.uint8)).reshape(10, 256)
    words[:, 100 : 100 + bits] ^= 1
    return np.packbits(words).tobytes()


# the hash


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("half the size", lambda pixels: resized(pixels, 45, 60)),
        ("stretched", lambda pixels: resized(pixels, 100, 100)),
        ("darker", lambda pixels: (pixels * 0.9).astype(np.uint8)),
        ("16 bits", lambda pixels: pixels.astype(np.uint16) * 257),
        ("opaque alpha", lambda pixels: np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])),
    ],
)
def test_a_copy_has_nearly_the_same_hash(name, copy):
    """What keeps the picture keeps nearly all bits."""
    assert 12 >= bits_apart(perceptual_hash(picture(1)), perceptual_hash(copy(picture(1)))), name


def test_different_pictures_are_far_apart():
    """Two random pictures differ in about half the bits."""
    assert 2 * RADIUS < bits_apart(perceptual_hash(picture(1)), perceptual_hash(picture(2)))


def test_gray_is_the_same_in_one_and_in_three_channels():
    """One channel, the same thrice, and the same with an opaque alpha give one hash."""
    gray = picture(3, channels=1)
    opaque = np.full_like(gray, 255)
    expected = perceptual_hash(gray)
    assert 2 >= bits_apart(expected, perceptual_hash(np.repeat(gray, 3, axis=2)))
    assert expected == perceptual_hash(np.dstack([gray, opaque]))


def test_transparency_is_seen_on_white():
    """Half transparent is half white."""
    pixels = picture(4)
    alpha = np.full((*pixels.shape[:2], 1), 51, np.uint8)  # a fifth
    on_white = (255 + (pixels.astype(np.float32) - 255) / 5).round().astype(np.uint8)
    assert 12 >= bits_apart(perceptual_hash(on_white), perceptual_hash(np.dstack([pixels, alpha])))


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_blank_picture_has_no_hash(level, channels):
    """Nothing to tell it by: it is never a near duplicate."""
    assert perceptual_hash(np.full((50, 70, channels), level, np.uint8)) is None


@pytest.mark.parametrize("name", ["invisible", "nearly flat", "gradient"])
def test_a_picture_with_too_little_structure_has_no_hash(name):
    """Different pictures of the kind would have the same few bits."""
    noise = np.random.default_rng(0).integers(0, 2, (80, 80, 1), dtype=np.uint8)
    pixels = {
        "invisible": np.dstack([picture(5), np.zeros((90, 120), np.uint8)]),
        "nearly flat": 100 + noise,
        "gradient": np.repeat(np.linspace(0, 255, 80).astype(np.uint8)[None, :, None], 80, axis=0),
    }
    assert perceptual_hash(pixels[name]) is None


@pytest.mark.parametrize("shape", [(32, 32, 1), (32, 500, 3), (1200, 40, 4), (1200, 1500, 3)])
def test_any_size_from_32_on_is_hashed(shape):
    """To the stated length."""
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    assert HASH_BYTES == len(perceptual_hash(pixels) or b"")


@pytest.mark.parametrize("shape", [(1, 1, 1), (31, 500, 3), (500, 31, 4), (28, 28, 1)])
def test_a_smaller_picture_has_no_hash(shape):
    """Too few pixels for the frequencies."""
    assert perceptual_hash(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)) is None


@pytest.mark.parametrize("channels", [3, 4])
def test_how_a_picture_lies_in_memory_changes_no_bit(channels):
    """A view is hashed as its copy."""
    pixels = np.random.default_rng(2).integers(0, 256, (80, 90, channels), dtype=np.uint8)
    for view in (pixels.swapaxes(0, 1), pixels[::-1, ::2]):
        assert perceptual_hash(view.copy()) == perceptual_hash(view)


@pytest.mark.parametrize(
    ("pixels", "received"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8\[4, 4\]"),
        (np.zeros((4, 4, 5), np.uint8), r"uint8\[4, 4, 5\]"),
        (np.zeros((4, 4, 0), np.uint8), r"uint8\[4, 4, 0\]"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8\[0, 4, 3\]"),
        (np.zeros((4, 4, 3), np.float32), r"float32\[4, 4, 3\]"),
    ],
)
def test_other_arrays_are_refused(pixels, received):
    """The message says what came."""
    with pytest.raises(ValueError, match=rf"channels with 1 to 4|1 to 4 channels\. Received: {received}"):
        perceptual_hash(pixels)


# clusters


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("as it is", lambda pixels: pixels),
        ("mirrored", lambda pixels: pixels[:, ::-1]),
        ("smaller", lambda pixels: resized(pixels, 60, 80)),
        ("cropped at the left and top", lambda pixels: pixels[5:, 6:]),
        ("cropped at the right and bottom", lambda pixels: pixels[:-5, :-6]),
        ("cropped all round, mirrored", lambda pixels: pixels[2:-2, 3:-3][:, ::-1]),
    ],
)
def test_copies_share_a_cluster(name, copy):
    """The copy is in the cluster of the first id of the two, everything else by itself."""
    hashes = [perceptual_hash(picture(seed)) for seed in range(20)]
    clusters = find_clusters(samples([*hashes, perceptual_hash(copy(picture(7)))]))
    assert [*(f"{number:016x}" for number in range(20)), f"{7:016x}"] == clusters.to_list(), name


def test_equal_keys_are_one_cluster():
    """Equal bytes or pixels suffice, without any perceptual hash, and through one another; null is equal to nothing."""
    frame = samples([None] * 6, sha256=["a", "a", "b", "c", None, None], pixel_hash=["p", "q", "q", "r", None, None])
    assert [f"{number:016x}" for number in (0, 0, 0, 3, 4, 5)] == find_clusters(frame).to_list()


@given(
    keys=st.lists(st.tuples(*[st.none() | st.sampled_from("abcd")] * 2, st.none() | st.integers(0, 5)), max_size=25),
    seed=st.integers(0, 1000),
    radius=st.sampled_from([0, 8, RADIUS]),
)
def test_no_order_of_rows_changes_a_cluster(keys, seed, radius):
    """Shuffled rows come to the same clusters; equal keys are always together; an id is its cluster's smallest."""
    bases = random_hashes(0, 2)
    hashes = [bases[c % 2] if c < 2 else altered(bases[c % 2], 5 * c) for c in range(6)]
    frame = samples(
        [None if c is None else hashes[c] for *_, c in keys],
        sha256=[a for a, *_ in keys],
        pixel_hash=[b for _, b, _ in keys],
    )
    frame = frame.with_columns(cluster=find_clusters(frame, radius=radius))
    order = np.random.default_rng(seed).permutation(frame.height)
    shuffled = frame.drop("cluster")[order]
    assert (
        frame["cluster"].to_list()
        == shuffled.with_columns(cluster=find_clusters(shuffled, radius=radius)).sort("sample_id")["cluster"].to_list()
    )
    for name in ("sha256", "pixel_hash", "perceptual_hash"):
        together = frame.drop_nulls(name).group_by(name).agg(pl.col("cluster").n_unique())
        assert {1} >= set(together["cluster"])
    assert frame["cluster"].to_list() == frame.select(pl.col("sample_id").min().over("cluster"))["sample_id"].to_list()


@pytest.mark.parametrize(("radius", "clusters"), [(0, 3), (4, 3), (5, 2), (RADIUS, 2)])
def test_the_radius_is_counted_in_bits(radius, clusters):
    """Five bits apart is within 5, not within 4; radius 0 is equality."""
    one, other = random_hashes(1, 2)
    assert clusters == find_clusters(samples([one, one, altered(one, 5), other]), radius=radius).n_unique()


def test_a_hash_of_another_length_is_refused():
    """A column made by something else is not compared."""
    with pytest.raises(ValueError, match="a perceptual hash has 320 bytes"):
        find_clusters(samples([b"12345678"]))


@pytest.mark.parametrize(("hashes", "clusters"), [([], []), ([None], ["0" * 16])])
def test_next_to_nothing_is_clustered(hashes, clusters):
    """No rows, and a row without a hash."""
    assert clusters == find_clusters(samples(hashes)).to_list()


def chain(links: int, bits: int) -> list[bytes]:
    """Hashes of which each differs from the one before by so many bits, drawn anew for each step."""
    rng = np.random.default_rng(2)
    made = [rng.integers(0, 2, (10, 256), dtype=np.uint8)]
    for _ in range(links - 1):
        following = made[-1].copy()
        following[:, rng.permutation(255)[:bits]] ^= 1
        made.append(following)
    return [np.packbits(one).tobytes() for one in made]


@pytest.mark.parametrize(
    ("links", "bits", "largest"),
    [
        (8, 24, 8),  # a short chain is one cluster
        (MOST_CHAINED + 6, RADIUS // 2, MOST_CHAINED + 6),  # as is a long one of small steps
        (MOST_CHAINED + 6, 24, 1),  # a long one of large steps is taken apart
    ],
)
def test_long_chains_are_taken_apart(links, bits, largest):
    """More pictures than MOST_CHAINED are joined only by steps within half the radius."""
    assert largest == find_clusters(samples(chain(links, bits))).value_counts()["count"].max()


def test_a_crowd_is_one_cluster_and_all_else_stays_apart():
    """Five hundred frames of one scene, among a thousand random pictures."""
    rng = np.random.default_rng(3)
    scene = np.unpackbits(np.frombuffer(random_hashes(4, 1)[0], np.uint8))
    frames = [np.packbits(scene ^ (rng.random(len(scene)) < 0.01)).tobytes() for _ in range(500)]
    sizes = find_clusters(samples([*frames, *random_hashes(5, 1000)])).value_counts()["count"]
    assert [500, 1] == sizes.unique().sort(descending=True).to_list()


def test_pairs_come_once_with_their_distance():
    """The lower index first, sorted, however many of their crops agree too."""
    first, second, third = (altered(random_hashes(6, 1)[0], bits) for bits in (0, 10, 25))
    hashes = sorted([first, second, third, *random_hashes(7, 5)])
    distances = {(first, second): 10, (second, third): 15, (first, third): 25}
    expected = {tuple(sorted(map(hashes.index, pair))): distance for pair, distance in distances.items()}
    words = np.frombuffer(b"".join(hashes), "<u8").reshape(-1, 10, 4)
    pairs, seen = near_pairs(words, radius=RADIUS)
    assert sorted(expected) == [tuple(pair) for pair in pairs.tolist()]
    assert [expected[pair] for pair in sorted(expected)] == seen.tolist()


@pytest.mark.parametrize("rate", [0.02, 0.06, 0.1])
def test_distances_are_those_of_the_nearest_crop_mirrored_or_not(rate):
    """Of crowds of copies, some mirrored, some cropped, against all pairs compared one by one."""
    rng = np.random.default_rng(8)
    wholes = rng.integers(0, 2**64, (8, 10, 4), dtype=np.uint64).repeat(6, axis=0)
    wholes[1::3] = wholes[1::3, [0, 3, 2, 1, 6, 5, 4, 9, 8, 7]] ^ MIRROR
    wholes[2::3, 0] = wholes[2::3, rng.integers(1, 10)]
    flips = np.packbits(rng.random((*wholes.shape, 64)) < rate, axis=-1).view("<u8")[..., 0]
    words = np.unique((wholes ^ flips).reshape(-1, 40), axis=0).reshape(-1, 10, 4)
    asked = np.stack([words[:, 0], words[:, 0] ^ MIRROR], axis=1)
    apart = np.bitwise_count(asked[:, None, :, None] ^ words[None, :, None]).sum(axis=-1).min(axis=(2, 3))
    pairs, distances = near_pairs(words, radius=RADIUS)
    assert len(pairs)
    assert distances.tolist() == [min(apart[one, other], apart[other, one]) for one, other in pairs]


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_components_are_those_of_the_pairs(graph):
    """As joined one by one, by hand."""
    count, pairs = graph
    expected = list(range(count))
    for one, other in pairs:
        low, high = sorted((expected[one], expected[other]))
        expected = [low if root == high else root for root in expected]
    assert expected == connected(count, np.array(pairs, np.int64).reshape(-1, 2)).tolist()


# findings


def manifest(*rows: tuple[str, str, str, str, str, str]) -> pl.DataFrame:
    """Kept rows of (path, label, split, sha256, pixel_hash, cluster)."""
    names = ["path", "label", "split", "sha256", "pixel_hash", "cluster"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return frame.with_columns(status=pl.lit("kept"), sample_id=pl.concat_str(pl.lit("id of "), "path"))


def found(frame: pl.DataFrame) -> list[tuple[str, str, str]]:
    return duplicate_findings(frame).select("code", "path", "found").rows()


def test_no_duplicates_no_findings():
    """Nothing shared, nothing said, also of no rows."""
    assert [] == found(manifest(("a", "x", "train", "1", "1", "a"), ("b", "y", "test", "2", "2", "b")))
    assert [] == found(manifest())


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (("b", "hat", "train", "1", "1", "a"), [("same_bytes", "a", "the same bytes as b")]),
        (("b", "hat", "train", "2", "1", "a"), [("same_pixels", "a", "the same stored pixels as b")]),
        (("b", "hat", "train", "2", "2", "a"), [("near_duplicate", "a", "nearly the same picture as b")]),
        (
            ("b", "cap", "test", "2", "2", "a"),
            [
                ("near_duplicate", "a", "nearly the same picture as b"),
                ("duplicate_two_labels", "a", "another label than the same picture at b (cap)"),
                ("duplicate_across_splits", "a", "another split than the same picture at b (test)"),
            ],
        ),
    ],
)
def test_each_kind_of_duplicate_is_a_finding_of_its_own(other, expected):
    """Equal bytes are not said to be equal pixels as well, nor these to be near; labels and splits are said beside."""
    seen = found(manifest(("a", "hat", "train", "1", "1", "a"), other))
    assert expected == [finding for finding in seen if finding[1] == "a"]
    assert 2 * len(expected) == len(seen)


def test_many_others_are_counted():
    """Three are named, shortened where they are long, and the rest are a number."""
    rows = [(f"{number}" * 150, "hat", "train", "1", "1", "c") for number in range(7)]
    expected = ", ".join("..." + str(number) * 100 for number in (1, 2, 3))
    assert ("same_bytes", "0" * 150, f"the same bytes as {expected} and 3 more") == found(manifest(*rows))[0]


def test_what_differs_is_named_however_many_do_not():
    """Nine under one label and one under another: each names one that contradicts it."""
    rows = [(f"a{number}", "hat", "train", str(number), str(number), "c") for number in range(9)]
    seen = found(manifest(*rows, ("z", "cap", "train", "z", "z", "c")))
    labels = [finding[1:] for finding in seen if finding[0] == "duplicate_two_labels"]
    assert ("a0", "another label than the same picture at z (cap)") == labels[0]
    assert ("z", "another label than the same picture at a0 (hat) and 8 more") == labels[-1]
    assert 10 == len(labels)


def test_only_kept_rows_count():
    """A duplicate that was quarantined harms nothing."""
    frame = manifest(("a", "x", "train", "1", "1", "a"), ("b", "y", "test", "1", "1", "a"))
    status = pl.when(pl.col("path") == "b").then(pl.lit("quarantined")).otherwise("status")
    assert [] == found(frame.with_columns(status=status))

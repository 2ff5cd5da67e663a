"""A contract broken: by which sample, at which stage, what was found and what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Every reason that nhwc gives, with what it means and how to mend it.

    A code says what was seen. Whether a sample was kept with it, skipped or quarantined stands in the
    manifest's `status`: many are a matter of the recipe's policy.
    """

    meaning: str
    mend: str

    def __new__(cls, value: str, meaning: str, mend: str) -> Code:
        """One member: its value, what it means and how to mend it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.mend = mend
        return member

    # what discovery sees
    HIDDEN = "hidden", "the name, or a folder above it, begins with a dot", "rename it if it is a sample"
    LITTER = "litter", "left behind by a system or an editor (Thumbs.db, __MACOSX, @eaDir)", "nothing to mend"
    OTHER_FILE = "other_file", "neither its content nor its name is an image's", "nothing to mend"
    LINK = "link", "a symbolic link: what it leads to inside the source is found by itself", "put the file itself there"
    LINK_OUTSIDE = "link_outside", "a symbolic link that leaves the source", "put the file itself there"
    LINK_BROKEN = "link_broken", "a symbolic link that leads nowhere or in a loop", "remove or mend the link"
    SPECIAL_FILE = "special_file", "a FIFO, a socket or a device: reading it could wait for ever", "remove it"
    EMPTY_FOLDER = "empty_folder", "a folder with nothing in it", "fill or remove it"
    UNREADABLE_FOLDER = "unreadable_folder", "the folder cannot be listed", "give read permission"
    NOT_LISTED = "not_listed", "the label file does not name this image", "add a line to the label file"
    MISSING_FILE = (
        "missing_file",
        "the label file names it, the source does not have it",
        "add the file or drop the line",
    )
    DAMAGED_SOURCE = "damaged_source", "a file of the source, or a part of it, is not whole", "fetch it again"
    UNSAFE_NAME = (
        "unsafe_name",
        "a name in an archive or a table that leads out of it (.., an absolute path)",
        "pack it again with names relative to its root",
    )
    BAD_BOX = "bad_box", "an annotation that is no box, or a box that its picture does not hold", "mend the annotation"
    PACKED_TOO_WELL = (
        "packed_too_well",
        "so small in the archive and so large outside that it was made to fill memory",
        "pack it again without it, or unpack it yourself",
    )
    NAME_TWICE = "name_twice", "a source has two samples of this name", "give each a name of its own"
    UNSUPPORTED_PACKING = (
        "unsupported_packing",
        "it lies in the archive encrypted, sparse, or packed in a way that nhwc does not read",
        "pack it again: stored or deflated, without a password",
    )
    WRONG_PARTS = (
        "wrong_parts",
        "a sample of a webdataset has no image, no label, or two images",
        "pack it again, or set source.image and source.label",
    )
    NAME_NOT_UTF8 = "name_not_utf8", "the name is not UTF-8; it is shown with escapes", "rename it in UTF-8"
    # labels and splits
    NO_CLASS = "no_class", "it has no label, or lies in no class folder", "give it one, or move it there"
    UNKNOWN_CLASS = "unknown_class", "its label is none of the classes", "add the class or mend the label"
    CONFLICTING_LABEL = "conflicting_label", "the label file gives it two labels or splits", "keep one line"
    NO_SPLIT = "no_split", "its split is missing or unknown", "put it into train, validation or test"
    NESTED = "nested", "it lies deeper than its class folder", "move it up, or raise labels.depth"
    EMPTY_CLASS = "empty_class", "a class folder without any image kept", "fill or remove the folder"
    CASE_TWINS = (
        "case_twins",
        "two class names differ only in case, blanks at their ends, or how accents are composed",
        "rename one",
    )
    SPLIT_FOLDERS = "split_folders", "the class folders are named like splits", "set splits: {from: folder}"
    # what the header says
    EMPTY_FILE = "empty_file", "the file has no bytes", "copy it again from where it came"
    UNREADABLE_FILE = "unreadable_file", "the file cannot be read", "check permission and disk"
    NOT_AN_IMAGE = "not_an_image", "named like an image, but the bytes are none", "fetch the image again"
    UNSUPPORTED_FORMAT = "unsupported_format", "an image format that nhwc does not read", "convert it to PNG or JPEG"
    FORMAT_NOT_ALLOWED = "format_not_allowed", "a format that the recipe does not allow", "add it to image.formats"
    WRONG_EXTENSION = "wrong_extension", "the name claims another format than the bytes", "rename it"
    DAMAGED_HEADER = "damaged_header", "the header cannot be read", "fetch the image again"
    TOO_MANY_PIXELS = "too_many_pixels", "more pixels than image.max_pixels", "shrink it or raise image.max_pixels"
    TOO_MANY_BYTES = "too_many_bytes", "more bytes than image.max_bytes", "shrink it or raise image.max_bytes"
    TOO_MANY_SCANS = "too_many_scans", "a progressive JPEG made to burn time", "save it again with fewer scans"
    LINE_ENDS = (
        "line_ends",
        "each LF became CR LF: a JPEG that was copied as if it were text",
        "copy it again as binary",
    )
    OVERSIZE = "oversize", "more than half of image.max_pixels", "shrink it at the source to ingest faster"
    # what pixels are
    ALPHA = "alpha", "it has an alpha channel or a transparent colour", "set image.alpha, or flatten it"
    SIXTEEN_BIT = "sixteen_bit", "16 bits a channel", "set image.bit_depth"
    UNSUPPORTED_DEPTH = (
        "unsupported_depth",
        "a bit depth that cannot be kept as it is",
        "save it with 8 bits, or as a 16-bit PNG",
    )
    UNSUPPORTED_MODE = "unsupported_mode", "a colour space that nhwc does not read", "save it as RGB"
    EXIF_ORIENTATION = "exif_orientation", "upright only after its EXIF orientation is applied", "set image.orientation"
    ANIMATED = "animated", "more than one frame or page", "set image.animation, or split it into frames"
    CMYK = "cmyk", "CMYK, converted to RGB", "save it as RGB to choose the profile yourself"
    PALETTE = "palette", "palette colours, expanded", "nothing to mend"
    GRAY = "gray", "a gray image in a colour dataset", "check that it belongs here"
    COLOUR = "colour", "a colour image in a gray dataset", "check that it belongs here"
    BLANK = "blank", "one colour all over, or nearly", "remove it, or fetch it again"
    HALF_BLANK = "half_blank", "filled from one edge on, as where data ended or are zero", "fetch the image again"
    TINY = "tiny", "too small for the target", "remove it, or fetch a larger one"
    DARK = "dark", "no pixel in a hundred is light", "check the exposure, or remove it"
    LIGHT = "light", "no pixel in twenty is other than white", "check the exposure, or remove it"
    BLURRY = "blurry", "without fine detail", "fetch a sharper one, or remove it"
    LOW_INFORMATION = "low_information", "few values make up nearly all of it", "check that it shows something"
    LOW_BIT_DEPTH = "low_bit_depth", "it uses few of its bits", "save it from the original with all bits"
    ODD_ASPECT = "odd_aspect", "far narrower than the others", "crop it, or remove it"
    ODD_SIZE = "odd_size", "far larger or smaller than the others", "check that it belongs here"
    # what stands more than once
    SAME_BYTES = "same_bytes", "the same file more than once", "keep one"
    SAME_PIXELS = "same_pixels", "the same pixels in another file", "keep one"
    NEAR_DUPLICATE = "near_duplicate", "nearly the same picture: saved again, resized, mirrored or cropped", "keep one"
    DUPLICATE_TWO_LABELS = (
        "duplicate_two_labels",
        "the same picture under two labels",
        "decide which label is right, and remove the other",
    )
    DUPLICATE_ACROSS_SPLITS = (
        "duplicate_across_splits",
        "the same picture in two splits: what is tested was trained on",
        "remove one, the newest where nhwc made the splits; or let nhwc make them",
    )
    # what decoding and the stages say
    TRUNCATED = "truncated", "the data ends before the image does", "fetch the image again"
    UNDECODABLE = "undecodable", "the decoder refuses the data", "fetch or save the image again"
    OUT_OF_MEMORY = (
        "out_of_memory",
        "decoding it needed more memory than there was",
        "lower image.max_pixels, or use a larger machine",
    )
    DECODER_DIED = (
        "decoder_died",
        "the process that decoded it ended without an answer: a crash, or the machine ran out of memory",
        "ingest again; if it stays, save the image again",
    )
    TOO_SLOW = (
        "too_slow",
        "decoding it took longer than image.max_seconds",
        "save it again in a usual way, or raise image.max_seconds",
    )
    DIFFERS_FROM_HEADER = "differs_from_header", "decoded to another shape than its header says", "save it again"
    CHANGED = "changed_while_reading", "the file changed between two reads of one run", "ingest again when it rests"
    WRONG_RANK = "wrong_rank", "another number of axes than the contract's", "reshape to (rows, cols, channels)"
    WRONG_SIZE = "wrong_size", "another number of samples, rows or cols", "resize it"
    WRONG_CHANNELS = "wrong_channels", "another number of channels", "set image.channels"
    WRONG_DTYPE = "wrong_dtype", "another dtype than the contract's", "cast it"
    OUT_OF_RANGE = "out_of_range", "values outside the contract's range, or not finite", "scale it"
    # what a run or a version says
    NOTHING_KEPT = "nothing_kept", "not one sample is left", "see the codes of what was quarantined"
    OVER_BUDGET = "over_budget", "too large a share was quarantined", "mend the source or raise checks.bad_fraction"
    OVER_CLASS_BUDGET = (
        "over_class_budget",
        "too large a share of a class was quarantined",
        "mend it or raise checks.bad_fraction_per_class",
    )
    MANIFEST_RULE = (
        "manifest_rule",
        "the manifest breaks a rule of its own",
        "ingest again; if it stays, report it with the recipe",
    )
    CHECKSUM = "checksum", "a published file is not what was published", "ingest again: it is made anew"
    MISSING_PART = "missing_part", "a published file is missing", "ingest again: it is made anew"
    PIXELS_CHANGED = (
        "pixels_changed",
        "stored pixels are not those that were published",
        "ingest again: they are made anew",
    )
    CONTRACT_CHANGED = (
        "contract_changed",
        "images or classes are not what the contract says",
        "ingest with the recipe of that contract, or take the new contract",
    )
    # what the classes as a whole say
    SMALL_CLASS = (
        "small_class",
        "a class has fewer images than a class needs",
        "add images of it, or leave the class out",
    )
    IMBALANCE = (
        "imbalance",
        "a class has far fewer images to learn from than the largest class has",
        "add images of it, or weigh the classes in training",
    )
    UNLEARNT_CLASS = (
        "unlearnt_class",
        "a class is in validation or test, and has no image in train: it cannot be learnt",
        "put images of it into train, or leave the class out",
    )
    UNMEASURED_CLASS = (
        "unmeasured_class",
        "a class is in train alone, though there are other splits: nothing measures it",
        "put images of it into test",
    )
    NO_TRAIN = "no_train", "no image is in train: there is nothing to learn from", "put images into train"
    # what the user's own rules say
    OWN_RULE = "own_rule", "a rule of your own is broken", "mend what breaks it, or the rule"
    OWN_WARNING = "own_warning", "a rule of your own that only warns is broken", "see what breaks it"
    # what a comparison with a baseline says
    CLASS_DRIFT = (
        "class_drift",
        "the classes have other shares than in the baseline",
        "see which sources were added, or take this version as the baseline",
    )
    LOST_CLASS = "lost_class", "a class of the baseline has no sample left", "add its images, or drop it from the model"
    NEW_CLASS = "new_class", "a class that the baseline does not have", "train the model anew, or leave the class out"
    SIZE_DRIFT = (
        "size_drift",
        "source images have other sizes or another aspect than in the baseline",
        "see whether the camera, the crop or an export changed, or take this version as the baseline",
    )
    PIXEL_DRIFT = (
        "pixel_drift",
        "brightness or colours differ from the baseline's",
        "see whether the camera, the light or a conversion changed, or take this version as the baseline",
    )
    FORMAT_DRIFT = (
        "format_drift",
        "the files have other formats than in the baseline",
        "see what exported them, or take this version as the baseline",
    )
    # what a model says
    MODEL_INPUT = "model_input", "the model does not take one batch of images", "give it one input of rank 4"
    MODEL_LAYOUT = (
        "model_layout",
        "the model wants its channels on another axis",
        "set channels_first in `nhwc.load`, or the model's data_format",
    )
    MODEL_RANGE = (
        "model_range",
        "the batch's value range contradicts the model's own scaling",
        "set scale in `nhwc.load`, or drop the model's scaling layer",
    )
    MODEL_UNSCALED = (
        "model_unscaled",
        "the model most likely expects scaled values and has no layer that scales them",
        "set scale in `nhwc.load`, or begin the model with keras.layers.Rescaling",
    )
    MODEL_CHANNEL_ORDER = (
        "model_channel_order",
        "red and blue are in another order than the model wants",
        "use keras.applications' preprocess_input of that model as its first layer",
    )
    MODEL_LABELS = (
        "model_labels",
        "the labels do not fit the model's last layer or its loss",
        "give the last layer a unit for each class and compile with sparse_categorical_crossentropy",
    )
    MODEL_UNDETERMINED = (
        "model_undetermined",
        "the model's structure does not show whether the batch fits",
        "use Keras layers instead of a Lambda, and build the model before the gate",
    )


CHAPTERS: dict[Code, str] = {
    Code.HIDDEN: "What discovery sees",
    Code.NO_CLASS: "Labels and splits",
    Code.EMPTY_FILE: "What the header says",
    Code.ALPHA: "What pixels are",
    Code.SAME_BYTES: "What stands more than once",
    Code.TRUNCATED: "What decoding and the stages say",
    Code.NOTHING_KEPT: "What a run or a version says",
    Code.SMALL_CLASS: "What the classes as a whole say",
    Code.OWN_RULE: "What your own rules say",
    Code.CLASS_DRIFT: "What a comparison with a baseline says",
    Code.MODEL_INPUT: "What a model says",
}
"""The chapters of the table of codes, each by the code that begins it."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One finding against one sample, or against a whole dataset.

    Args:
        code: the reason.
        stage: where it was seen: discover, probe, decode, convert, resize, store, load, cast, batch, publish, verify,
            export, quality, duplicates, balance, contract, own rules, drift, model, dataset.
        aspect: what of it: rank, rows, cols, channels, samples, dtype, range, bytes, label, ...
        sample_id: whose; None where it concerns no single sample.
        expected: what had to be there, in words.
        found: what was there, in words.
        hint: how to mend it; the code's own mend where not given.
    """

    code: Code
    stage: str
    aspect: str
    expected: str
    found: str
    sample_id: str | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        if not self.hint:
            object.__setattr__(self, "hint", self.code.mend)

    def __str__(self) -> str:
        who = f" sample {self.sample_id}" if self.sample_id else ""
        seen = f"{self.aspect} found {self.found}, expected {self.expected}"
        return f"{self.stage}{who}: {self.code}: {seen}. To mend: {self.hint}."

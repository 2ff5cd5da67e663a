"""Violations and their codes: values that say what was found and how to mend it."""

import copy
import pickle

import pytest

from nhwc.validators.violation import Code, Violation


def broken(**changes):
    """A violation of three channels, with some of its facts changed."""
    facts = {"code": Code.WRONG_CHANNELS, "stage": "convert", "aspect": "channels", "expected": "3", "found": "4"}
    return Violation(**{**facts, **changes})


@pytest.mark.parametrize("code", Code)
def test_every_code_says_what_it_means_and_how_to_mend_it(code):
    """The table of codes is made from these texts: none is empty, none ends in a full stop of its own."""
    for text in (code.meaning, code.mend):
        assert text
        assert text == text.strip().rstrip(".")
    assert str(code) == code.value == code.value.lower()
    assert code.value.isidentifier()


def test_every_code_and_meaning_stands_once():
    """Two codes of one value would be one member; two of one meaning could not be told apart."""
    assert len(Code.__members__) == len({code.value for code in Code})
    assert len(Code) == len({code.meaning for code in Code})


@pytest.mark.parametrize("code", Code)
def test_a_code_stays_the_same_member(code):
    """Through pickle, copies and its text, a code is the member itself."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert code is pickle.loads(pickle.dumps(code, protocol))
    assert code is copy.copy(code)
    assert code is copy.deepcopy(code)
    assert code is Code(str(code))


def test_a_text_that_is_no_code_is_refused():
    """A manifest of another program must not become a code by accident."""
    with pytest.raises(ValueError, match="'nonsense' is not a valid Code"):
        Code("nonsense")


@pytest.mark.parametrize("code", Code)
def test_the_hint_is_the_codes_mend_where_none_is_given(code):
    """Every violation says how to mend it."""
    assert code.mend == broken(code=code).hint


def test_a_hint_of_its_own_is_kept():
    """A stage that knows better may say so."""
    assert "rotate it" == broken(hint="rotate it").hint


@pytest.mark.parametrize(
    ("violation", "text"),
    [
        (
            broken(sample_id="00ff"),
            "convert sample 00ff: wrong_channels: channels found 4, expected 3. To mend: set image.channels.",
        ),
        (broken(), "convert: wrong_channels: channels found 4, expected 3. To mend: set image.channels."),
        (
            broken(hint="save it as RGB"),
            "convert: wrong_channels: channels found 4, expected 3. To mend: save it as RGB.",
        ),
    ],
)
def test_the_text_says_where_who_what_and_how_to_mend(violation, text):
    """Stage, sample, code, aspect, found, expected and mend, in one line."""
    assert text == str(violation)


def test_a_violation_crosses_a_process_whole():
    """Pickle and deepcopy give an equal value."""
    violation = broken(sample_id="00ff", hint="save it as RGB")
    assert violation == pickle.loads(pickle.dumps(violation))
    assert violation == copy.deepcopy(violation)

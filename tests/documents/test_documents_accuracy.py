"""The scorer of the document pipeline at its edges."""

import pytest
from accuracy import CharacterAccuracy, character_errors, normalised


def score(answer, truth):
    return CharacterAccuracy().score({"read": {"text": answer}}, {"text": truth})


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ("ten letters", "ten letters", 1.0),
        ("  ten\nletters\f", "ten letters", 1.0),  # where lines break is no error
        ("", "ten letters", 0.0),
        ("abcdefghij", "abcdefghiX", 0.9),
        ("x" * 1000, "abc", 0.0),  # never below nothing
        ("", "", 1.0),
        (" \n", "", 1.0),
        ("something", "", 0.0),
        ("Grüße", "Grüße", 1.0),
    ],
)
def test_score_is_the_share_of_characters_that_are_right(answer, truth, expected):
    assert score(answer, truth) == pytest.approx(expected)


def test_answer_without_text_scores_nothing():
    assert CharacterAccuracy().score({"read": {}}, {"text": "abc"}) == 0.0


def test_errors_count_insertions_deletions_and_changes():
    assert character_errors("abcd", "abd") == 1
    assert character_errors("abd", "abcd") == 1
    assert character_errors("axd", "abd") == 1


def test_white_space_is_normalised():
    assert normalised("\ta  b\r\n c ") == "a b c"

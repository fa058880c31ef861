"""The scorer of the document pipeline at its edges."""

import pytest
from accuracy import CharacterAccuracy, character_errors, normalised, word_errors


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
    assert CharacterAccuracy().score({}, {"text": "abc"}) == 0.0


def test_errors_count_insertions_deletions_and_changes():
    assert character_errors("abcd", "abd") == 1
    assert character_errors("abd", "abcd") == 1
    assert character_errors("axd", "abd") == 1


def test_white_space_is_normalised():
    assert normalised("\ta  b\r\n c ") == "a b c"


def test_words_in_error_are_counted_whatever_the_blanks_between_them():
    assert word_errors("one  two\nthree", "one two three") == 0
    assert word_errors("one tow three", "one two three") == 1
    assert word_errors("onetwo three", "one two three") == 2


def tally(*pages):
    outputs = [{} if answer is None else {"read": {"text": answer}} for answer, _ in pages]
    return CharacterAccuracy().tally(outputs, [{"text": truth} for _, truth in pages])


def test_tallies_of_pages_add_up_to_that_of_all():
    pages = [("abcd ef", "abcd xf"), ("", "gone"), ("whole", "whole")]
    parts = [tally(page) for page in pages]
    assert tally(*pages) == {key: sum(part[key] for part in parts) for key in parts[0]}


def test_corpus_metrics_are_errors_of_all_pages_over_the_length_of_all():
    totals = tally(("abcdefghij", "abcdefghij"), ("x", "ab"))
    assert CharacterAccuracy().corpus(totals) == {"CER": pytest.approx(2 / 12), "WER": pytest.approx(1 / 2)}


def test_page_without_an_answer_has_all_its_text_wrong():
    assert CharacterAccuracy().corpus(tally((None, "two words"))) == {"CER": 1.0, "WER": 1.0}


def test_nothing_to_read_has_no_error_rates():
    assert CharacterAccuracy().corpus(tally(("", ""))) == {}
    assert CharacterAccuracy().corpus({}) == {}

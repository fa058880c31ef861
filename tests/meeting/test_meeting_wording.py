"""The scorer of the meeting pipeline at its edges."""

import pytest
from wording import WordAccuracy, f1, word_errors

TRUTH = {"text": "anna will send the report", "keywords": "report", "actions": "anna: send report"}


def answer(text, keywords="", actions=""):
    return {"extract": {"text": text, "keywords": keywords, "actions": actions}}


@pytest.mark.parametrize(
    ("text", "truth", "expected"),
    [
        ("one two three", "one two three", 1.0),
        ("  one  two three ", "one two three", 1.0),
        ("", "one two", 0.0),
        ("one two four", "one two three", 2 / 3),
        ("one two three four", "one two three", 2 / 3),
        ("a b c d e f", "one", 0.0),  # never below nothing
        ("", "", 1.0),
        ("something", "", 0.0),
    ],
)
def test_score_is_the_share_of_words_that_are_right(text, truth, expected):
    assert WordAccuracy().score(answer(text), {"text": truth}) == pytest.approx(expected)


def test_no_answer_scores_as_an_empty_one():
    assert WordAccuracy().score({}, TRUTH) == 0.0
    assert WordAccuracy().score({"extract": {}}, TRUTH) == 0.0


def test_errors_count_insertions_deletions_and_changes():
    assert word_errors("a b c d", "a b d") == 1
    assert word_errors("a b d", "a b c d") == 1
    assert word_errors("a x d", "a b d") == 1


def test_corpus_metrics_come_from_tallies_added_up():
    scorer = WordAccuracy()
    right = answer(TRUTH["text"], TRUTH["keywords"], TRUTH["actions"])
    wrong = answer("anna will send the record", "record", "anna: send record")
    one, other = scorer.tally([right], [TRUTH]), scorer.tally([wrong, {}], [TRUTH, TRUTH])
    both = {name: one[name] + other[name] for name in one}
    assert both == scorer.tally([right, wrong, {}], [TRUTH] * 3)
    assert scorer.corpus(both) == pytest.approx({"WER": 6 / 15, "keyword F1": 2 / 5, "action F1": 2 / 5})


def test_corpus_of_nothing_has_no_metrics():
    assert WordAccuracy().corpus(WordAccuracy().tally([], [])) == {}


def test_f1_weighs_what_is_missing_and_what_is_made_up():
    assert f1(0, 0, 0) == 1.0
    assert f1(0, 3, 0) == 0.0
    assert f1(2, 4, 2) == pytest.approx(2 / 3)

"""The language models: well-formed, normalised, graded."""

import math
from collections import defaultdict

import pytest
from language import arpa, model, training_text
from sentences import vocabulary

TEXTS = ["a b c", "a b d", "b c", "c"]
WORDS = ["a", "b", "c", "d", "e"]


def tables(text):
    """An ARPA model's probabilities and back-off weights by n-gram."""
    ratio, backoff = {}, defaultdict(lambda: 1.0)
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) > 1:
            gram = tuple(fields[1].split())
            ratio[gram] = 10 ** float(fields[0])
            if len(fields) > 2:
                backoff[gram] = 10 ** float(fields[2])
    return ratio, backoff


def probability(ratio, backoff, gram):
    if gram in ratio:
        return ratio[gram]
    return backoff[gram[:-1]] * probability(ratio, backoff, gram[1:])


@pytest.mark.parametrize("history", [(), ("a",), ("a", "b"), ("<s>",), ("<s>", "a"), ("d",), ("e",), ("e", "b")])
def test_probabilities_after_any_history_add_up_to_one(history):
    ratio, backoff = tables(arpa(TEXTS, WORDS))
    total = sum(probability(ratio, backoff, (*history, word)) for word in [*WORDS, "</s>"])
    assert total == pytest.approx(1, abs=0.002)


def test_word_that_no_sentence_has_can_be_said_all_the_same():
    ratio, _ = tables(arpa(TEXTS, WORDS))
    assert 0 < ratio[("e",)] < ratio[("d",)]


def test_what_was_seen_is_likelier():
    ratio, backoff = tables(arpa(TEXTS, WORDS))
    assert probability(ratio, backoff, ("a", "b", "c")) > probability(ratio, backoff, ("a", "b", "a"))


def test_header_counts_what_follows():
    text = arpa(TEXTS, WORDS)
    ratio, _ = tables(text)
    for size in (1, 2, 3):
        assert f"ngram {size}={sum(1 for gram in ratio if len(gram) == size)}\n" in text
    assert text.endswith("\\end\\\n")


def test_training_text_is_the_same_every_time_and_holds_no_word_of_a_tier_beyond():
    texts = training_text(1, count=200)
    assert texts == training_text(1, count=200)
    assert {word for text in texts for word in text.split()} <= set(vocabulary(1))


@pytest.mark.slow
def test_models_know_the_words_of_their_tiers():
    for tiers in (2, 3):
        ratio, _ = tables(model(tiers))
        assert {gram[0] for gram in ratio if len(gram) == 1} == {*vocabulary(tiers), "<s>", "</s>"}
        assert all(math.isfinite(value) for value in ratio.values())

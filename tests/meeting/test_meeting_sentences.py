"""What is said in meetings and what models learn from share words, nothing else; and the minutes of it."""

from itertools import islice, pairwise

import numpy as np
import pytest
from acoustics import DICTIONARY
from minutes import actions_in, keywords_in
from sentences import KEYWORDS, SLOTS, TEMPLATES, TIERS, Action, Side, sentences, side_of, vocabulary

EVEN = (0.4, 0.3, 0.3)


def said(side, count, seed=1, tier_ratios=EVEN):
    return list(islice(sentences(np.random.default_rng(seed), side, tier_ratios), count))


def test_same_seed_gives_the_same_sentences():
    assert said(Side.MEETING, 50) == said(Side.MEETING, 50)
    assert said(Side.MEETING, 50) != said(Side.MEETING, 50, seed=2)


def test_sides_share_no_template():
    assert not set(TEMPLATES[Side.MEETING]) & set(TEMPLATES[Side.TRAINING])


def test_sides_share_no_sentence():
    assert not {one.text for one in said(Side.MEETING, 400)} & {one.text for one in said(Side.TRAINING, 400)}


@pytest.mark.parametrize("side", Side)
def test_words_in_slots_beside_each_other_are_a_pair_of_their_side(side):
    filled = {word for tiers in SLOTS.values() for words in tiers for word in words}
    fixed = {word for texts in TEMPLATES.values() for text in texts for word in text.lstrip("!").split()}
    for one in said(side, 300):
        slots = [word for word in one.text.split() if word in filled - fixed]
        # "customer" is a slot's word and a template's: what stands around it is not known to be a pair.
        assert "customer" in one.text or all(side_of(*pair) is side for pair in pairwise(slots))


def test_models_know_every_word_and_so_does_the_dictionary():
    words = set(vocabulary())
    assert {word for side in Side for one in said(side, 200) for word in one.text.split()} <= words
    pronounced = {line.split(maxsplit=1)[0] for line in DICTIONARY.read_text(encoding="utf-8").splitlines()}
    assert words <= pronounced


def test_tiers_hold_more_and_more_words():
    sizes = [len(vocabulary(tiers)) for tiers in range(1, TIERS + 1)]
    assert sizes == sorted(set(sizes))
    words = {word for one in said(Side.MEETING, 200, tier_ratios=(1.0, 0.0, 0.0)) for word in one.text.split()}
    assert words <= set(vocabulary(1))


def test_minutes_of_what_was_said_are_the_truth():
    for one in said(Side.MEETING, 500):
        assert keywords_in(one.text) == list(one.keywords)
        assert actions_in(one.text) == ([str(one.action)] if one.action else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("anna will send the new report by friday", ["anna: send report, friday"]),
        ("anna please check the budget", ["anna: check budget"]),
        ("we decided to send the report", []),  # nobody is named
        ("anna sent the report on friday", []),  # done already
        ("anna will send by friday", []),  # nothing to send
        ("", []),
    ],
)
def test_action_item_has_somebody_a_verb_and_a_thing(text, expected):
    assert actions_in(text) == expected


def test_action_without_a_day_is_written_without():
    assert str(Action(owner="anna", verb="send", thing="report")) == "anna: send report"


def test_keywords_come_once_and_sorted():
    assert keywords_in("report budget the report") == ["budget", "report"]
    assert {"budget", "finance", "berlin"} <= KEYWORDS

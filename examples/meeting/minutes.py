"""What goes into the minutes: the things that a sentence is about, and who is to do what until when."""

from __future__ import annotations

from sentences import KEYWORDS, SLOTS, Action

#: What a thing is not more words behind the verb than.
_REACH = 4


def _words(slot: str) -> frozenset[str]:
    return frozenset(word for tier in SLOTS[slot] for word in tier)


_NAMES, _VERBS, _THINGS, _DAYS = (_words(slot) for slot in ("name", "do", "thing", "day"))


def keywords_in(text: str) -> list[str]:
    """The keywords among a sentence's words, each once, sorted."""
    return sorted(KEYWORDS.intersection(text.split()))


def actions_in(text: str) -> list[str]:
    """The action item of a sentence, written as ``Action`` writes it; none if it has none.

    Somebody is named, and there is a verb in its plain form with a thing soon after it.
    """
    words = text.split()
    owner = next((word for word in words if word in _NAMES), None)
    if owner is None:
        return []
    for index, word in enumerate(words):
        if word in _VERBS:
            thing = next((other for other in words[index + 1 : index + 1 + _REACH] if other in _THINGS), None)
            if thing is not None:
                due = next((other for other in words[index + 1 :] if other in _DAYS), "")
                return [str(Action(owner=owner, verb=word, thing=thing, due=due))]
    return []

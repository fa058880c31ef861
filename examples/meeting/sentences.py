"""What is said in meetings: sentences made by template, whose words, keywords and action items are known.

Two sides never share a template, nor the pair of words that fill two slots beside each other: ``Side.MEETING`` is what
the source speaks, ``Side.TRAINING`` what the language models are made from (language.py). They share the words. These
lie in three tiers, from what every meeting says to what few do; a language model knows one, two or all of them.
"""

from __future__ import annotations

import zlib
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

TIERS = 3


class Side(Enum):
    """Which templates and which pairs of words: those that are spoken, or those that are learned from."""

    TRAINING = 0
    MEETING = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What somebody is to do: words of the sentence; ``due`` is empty where no day is named."""

    owner: str
    verb: str
    thing: str
    due: str = ""

    def __str__(self) -> str:
        """As the minutes have it: "anna: send report, friday"."""
        return f"{self.owner}: {self.verb} {self.thing}" + (f", {self.due}" if self.due else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence in lower case without marks, the things that it is about, and its action item if it is one."""

    text: str
    keywords: tuple[str, ...]
    action: Action | None


def _tiers(*texts: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(text.split()) for text in texts)


#: The words of each slot, in tiers.
SLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "name": _tiers(
        "anna peter maria david laura robert helen thomas",
        "karen martin julia steven nina victor emma oliver",
        """gregory patricia leonard veronica harold sylvia vincent beatrice edgar miranda russell cynthia alice amanda
        andrew barbara benjamin caroline charles christina daniel deborah dennis dorothy douglas edward
        elizabeth eric frances frederick gloria jacob jennifer jonathan joseph kenneth linda louise margaret
        melissa michael monica natalie nicholas olivia pamela philip rachel raymond rebecca richard samuel
        sandra simon stephanie susan theodore timothy vanessa walter wendy william""",
    ),
    "thing": _tiers(
        """budget report schedule contract invoice design plan draft agenda project order payment server website
        deadline customer supplier office""",
        """survey proposal database warehouse prototype manual license forecast summary backup delivery interview
        workshop network product campaign feature release""",
        """blueprint inventory newsletter certificate questionnaire transcript subscription dashboard spreadsheet
        catalog compressor generator laboratory elevator thermostat insulation itinerary merchandise
        appendix warranty diagram portfolio guideline brochure pension refund calendar turbine cable account
        advertisement agreement airport alarm algorithm antenna apartment application assembly auction audit
        balance bandwidth banner battery boiler bonus bridge browser building cabinet camera carpet ceiling
        charger chemical checklist circuit coating column commission committee competitor compiler complaint
        component computer concrete conference connector consultant container conveyor corridor coupon
        courier crane currency cylinder department deposit detector director discount display document
        donation drawing driver dividend emergency employee engine envelope equipment estimate evaluation
        examination exhibition expense experiment factory filter firewall folder formula foundation
        framework furniture garage gateway government graphic grant handbook hardware heater highway
        hospital hotel hydrogen incident insurance interface inspector instrument intern keyboard kitchen
        label ladder landlord laptop laser lawyer leaflet lecture letter library lighting logo luggage
        machine magazine manager mandate manufacturer margin memory merger message microphone mixer mortgage
        motor museum nursery oxygen package pallet panel partner passport password patent permit pipeline
        plastic platform policy poster printer procedure processor protocol pump reactor receipt receiver
        recipe recorder refinery register repository reservation resistor roof router satellite scanner
        scholarship sensor shelter signature simulator software sponsor stadium statement statistic storage
        strategy supermarket switch tablet tariff telescope template tender terminal theater ticket
        timetable training transformer trailer treatment tunnel uniform vaccine valve vehicle vendor
        ventilation verdict voucher wallet window workbook""",
    ),
    "mod": _tiers(
        "new final old first next whole",
        "updated revised annual weekly missing internal",
        """preliminary duplicate mandatory temporary regional outdated technical confidential seasonal simplified
        abandoned additional alternative automatic broken cheap commercial complete complicated corporate
        damaged defective detailed digital educational electric expensive external financial foreign
        historical industrial innovative invisible legendary municipal obsolete optional original parallel
        permanent portable previous private professional profitable provisional rejected reliable
        residential scientific standard strategic successful suspicious universal unfinished unofficial
        urgent vertical wireless""",
    ),
    "do": _tiers(
        "send check write review finish update call prepare",
        "approve compare deliver discuss confirm cancel replace explain",
        """assemble translate summarize distribute investigate negotiate postpone archive calculate inspect abandon
        announce authorize convert decorate demolish describe develop disconnect evaluate examine expand
        identify illustrate install modernize monitor photograph promote publish purchase recommend
        reconsider redesign refuse reject relocate renew rewrite simulate transfer upgrade validate verify""",
    ),
    "did": _tiers(
        "sent checked wrote reviewed finished updated called prepared",
        "approved compared delivered discussed confirmed canceled replaced explained",
        """assembled translated summarized distributed investigated negotiated postponed archived calculated inspected
        abandoned announced authorized converted decorated demolished described developed disconnected
        evaluated examined expanded identified illustrated installed modernized monitored photographed
        promoted published purchased recommended reconsidered redesigned refused rejected relocated renewed
        rewrote simulated transferred upgraded validated verified""",
    ),
    "day": _tiers(
        "monday tuesday wednesday thursday friday",
        "saturday sunday",
        "christmas easter halloween thanksgiving",
    ),
    "group": _tiers(
        "finance sales support",
        "marketing legal quality",
        "engineering logistics maintenance security procurement accounting research cleaning editorial shipping",
    ),
    "place": _tiers(
        "berlin london",
        "boston paris",
        """chicago madrid denver montreal geneva dublin amsterdam athens atlanta barcelona brussels budapest detroit
        edinburgh frankfurt hamburg helsinki houston lisbon liverpool manchester melbourne milan moscow
        munich philadelphia phoenix portland prague seattle singapore stockholm sydney tokyo toronto
        vancouver vienna warsaw zurich""",
    ),
    "number": _tiers(
        "two three five ten",
        "four six twenty thirty",
        "seven eight nine eleven twelve fifteen eighteen forty fifty sixty seventy eighty ninety",
    ),
}

#: What a meeting may be about: a sentence's keywords are those of its words that are among these.
KEYWORDS = frozenset(word for slot in ("thing", "group", "place") for tier in SLOTS[slot] for word in tier)

#: Action items begin with "!": they have an owner, a verb and a thing.
TEMPLATES: dict[Side, tuple[str, ...]] = {
    Side.MEETING: (
        "!{name} will {do} the {mod} {thing} by {day}",
        "!{name} needs to {do} the {thing} before {day}",
        "!{name} please {do} the {thing} for the {group} team",
        "!{name} should {do} the {mod} {thing} until {day}",
        "!{name} promised to {do} the {thing} by {day}",
        "!{name} can you {do} the {mod} {thing} this week",
        "!we agreed that {name} will {do} the {thing} on {day}",
        "!{name} has to {do} the {thing} in {place} on {day}",
        "we decided to {do} the {mod} {thing}",
        "the {group} team {did} the {thing} on {day}",
        "did anyone {do} the {mod} {thing} for {place}",
        "the {thing} costs {number} thousand more than the {thing}",
        "there are {number} questions about the {mod} {thing}",
        "{name} {did} the {thing} {number} days ago",
        "nobody in {place} has seen the {mod} {thing}",
        "the customer wants the {thing} in {number} weeks",
        "i think the {thing} is more important than the {thing}",
        "let us talk about the {thing} and the {thing}",
        "the {mod} {thing} from {place} is late again",
        "why is the {group} team waiting for the {thing}",
    ),
    Side.TRAINING: (
        "!{name} is going to {do} the {mod} {thing} by {day}",
        "!{name} will {do} the {thing} this week",
        "!{name} will please {do} the {thing} on {day}",
        "!so {name} needs to {do} the {mod} {thing}",
        "!{name} has promised to {do} the {mod} {thing} before {day}",
        "!can {name} {do} the {thing} for the {group} team",
        "!please {do} the {mod} {thing} by {day} {name}",
        "!i agreed with {name} to {do} the {thing} until {day}",
        "!{name} has to {do} the {mod} {thing} for {place}",
        "!{name} you should {do} the {thing}",
        "we have to {do} the {thing} for the customer",
        "we decided that the {group} team should {do} the {thing}",
        "the team in {place} {did} the {mod} {thing}",
        "on {day} the {group} team will {do} the {thing}",
        "i think we {did} the {mod} {thing} on {day}",
        "did {name} or anyone in {place} see the {thing}",
        "nobody {did} the {thing} in {number} weeks",
        "there are {number} people in {place} who want the {thing}",
        "the {mod} {thing} costs {number} thousand",
        "the {thing} is {number} days late",
        "{number} thousand is more than the {thing} costs",
        "{name} has questions about the {thing} and the {mod} {thing}",
        "is the {thing} from {place} more important",
        "i am waiting for the {mod} {thing} from the {group} team",
        "why is the {mod} {thing} late again",
        "let us {do} the {thing} {number} weeks before the {thing}",
        "we can talk about {place} again on {day}",
        "the customer has seen the {thing} and wants more",
        "nobody in the {group} team {did} the {thing}",
        "that was {number} weeks ago",
        "did you {do} the {thing} or is the {group} team waiting",
        "who wants to {do} the {thing} in {place}",
    ),
}


def _slots(template: str) -> list[tuple[str, bool]]:
    """A template's words, each with whether it names a slot."""
    return [(word.strip("{}"), word.startswith("{")) for word in template.lstrip("!").split()]


@lru_cache(maxsize=65536)
def side_of(first: str, second: str) -> Side:
    """The side that may put these two words into slots beside each other."""
    return Side(zlib.crc32(f"{first} {second}".encode()) & 1)


def _fill(rng: np.random.Generator, slot: str, tier_ratios: Sequence[float]) -> str:
    tier = bisect(tuple(accumulate(tier_ratios[:-1])), rng.random())
    words = SLOTS[slot][tier]
    return words[int(rng.integers(len(words)))]


def _sentence(rng: np.random.Generator, side: Side, tier_ratios: Sequence[float]) -> Sentence:
    templates = TEMPLATES[side]
    template = templates[int(rng.integers(len(templates)))]
    pattern = _slots(template)
    while True:
        filled = [(_fill(rng, word, tier_ratios), word) if slot else (word, "") for word, slot in pattern]
        slots = [(word, slot) for word, slot in filled if slot]
        used = [word for word, _ in slots]
        if len(set(used)) == len(used) and all(side_of(one, other) is side for one, other in pairwise(used)):
            break
    words = {slot: word for word, slot in slots}
    action = None
    if template.startswith("!"):
        action = Action(owner=words["name"], verb=words["do"], thing=words["thing"], due=words.get("day", ""))
    text = " ".join(word for word, _ in filled)
    return Sentence(text=text, keywords=tuple(sorted(KEYWORDS.intersection(text.split()))), action=action)


def sentences(rng: np.random.Generator, side: Side, tier_ratios: Sequence[float]) -> Iterator[Sentence]:
    """Sentences of one side without end; a slot's word is of each tier with the probability given."""
    while True:
        yield _sentence(rng, side, tier_ratios)


def vocabulary(tiers: int = TIERS) -> tuple[str, ...]:
    """Every word that sentences of the first so many tiers may hold, sorted."""
    fixed = {word for templates in TEMPLATES.values() for text in templates for word, slot in _slots(text) if not slot}
    return tuple(sorted(fixed.union(*(words for slot in SLOTS.values() for words in slot[:tiers]))))

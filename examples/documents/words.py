"""Text for pages: sentences, amounts and dates made by template from common words, always the same for a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADJECTIVES = _words(
    """
    able annual bright broken careful central clean clear common daily direct early eastern empty entire equal exact
    famous final first formal former fresh full general gentle golden heavy hidden honest joint large late legal
    level light local lower main major minor modern monthly narrow new next northern open orange plain polite
    present private proper public quick quiet rapid recent regular rural secure senior sharp short simple slow small
    social solid southern special spare steady strong sudden upper urgent useful usual vacant valid visible warm
    weekly western whole wide yearly
    """
)
NOUNS = _words(
    """
    account address agency airport amount animal answer archive article balance bank battery board border bottle
    bridge budget building cabinet camera canal carrier castle ceiling chain chapter charge cheque circle city claim
    class client clock coast college column company contract copper corner cotton council country course court
    customer damage dealer degree delivery deposit desk device dinner district doctor document driver engine evening
    exchange factory family farm ferry field figure flight forest form fuel garden garage glass grain ground group
    harbour highway hospital hotel hour house index industry insurance invoice island journey kitchen ladder lamp
    language leather lesson letter library licence machine manager map market material meadow meeting member message
    metal method minute mirror mountain museum network notice number office officer order owner package paper parcel
    park partner passage payment pencil people permit person picture plant platform pocket police port printer
    problem product project property purpose quarter question railway receipt record region repair report request
    result river road roof sample school screen season section service shelf ship signal silver station storage
    store street student supply surface switch system table teacher theatre ticket timber tower town traffic train
    tunnel valley vehicle vessel village visitor volume wagon wall warehouse water weather weight window winter
    witness wood worker yard
    """
)
VERBS = _words(
    """
    accepts admits adjusts approves arranges books buys carries checks claims cleans closes collects confirms covers
    delivers describes divides enters examines expects explains extends files fills finds follows handles holds
    improves includes inspects joins keeps leaves lists loads locates marks measures mentions moves needs notes
    offers opens orders passes pays plans prepares prints protects provides reaches receives records refuses rejects
    removes rents repairs replaces reports requires returns reviews sells sends settles shows signs sorts stores
    supplies supports tests updates uses visits weighs
    """
)
PREPOSITIONS = _words(
    """
    above after against along at before behind below beside beyond for from inside near of on under with
    """
)

MONTHS = _words(
    """
    January February March April May June July August September October November December
    """
)
NAMES = _words(
    """
    Adams Baker Carter Dawson Ellis Fisher Grant Harris Irving Jensen Keller Lambert Mason Norris Osborne Parker
    Quinn Rogers Sawyer Turner Underwood Vaughan Walker Young Zimmer
    """
)


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _amount(rng: np.random.Generator) -> str:
    return f"{int(rng.integers(10, 9999)):,}.{int(rng.integers(100)):02d}"


def _sentence(rng: np.random.Generator) -> str:
    def adjective() -> str:
        return _pick(rng, ADJECTIVES)

    def noun() -> str:
        return _pick(rng, NOUNS)

    def verb() -> str:
        return _pick(rng, VERBS)

    match int(rng.integers(6)):
        case 0:
            return f"The {adjective()} {noun()} {verb()} the {noun()}."
        case 1:
            return f"{_pick(rng, NAMES)} {verb()} a {adjective()} {noun()} {_pick(rng, PREPOSITIONS)} the {noun()}."
        case 2:
            date = f"{int(rng.integers(1, 29))} {_pick(rng, MONTHS)} {int(rng.integers(1990, 2030))}"
            return f"On {date} the {noun()} {verb()} {_amount(rng)}."
        case 3:
            return f"Item {int(rng.integers(100, 999))}: {adjective()} {noun()}, {_amount(rng)} in total."
        case 4:
            return f"No {noun()} {verb()} more than {int(rng.integers(2, 99))} {adjective()} parts."
        case _:
            return f"Every {noun()} {_pick(rng, PREPOSITIONS)} the {adjective()} {noun()} {verb()} it."


def page_lines(rng: np.random.Generator, lines: int, characters: int) -> list[str]:
    """Running text, wrapped: this many lines of at most so many characters each, words unbroken."""
    wrapped: list[str] = []
    current = ""
    while True:
        for word in _sentence(rng).split():
            if len(current) + len(word) + 1 > characters:
                wrapped.append(current)
                current = word
                if len(wrapped) == lines:
                    return wrapped
            else:
                current = f"{current} {word}" if current else word

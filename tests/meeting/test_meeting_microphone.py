"""The microphone: the same sound for a content and seed, and what each content has more of."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from microphone import CONDITIONS, Microphone, Room, at_level, record, speak
from minutes import keywords_in
from signals import RATE_HZ, pink_noise, resampled

from circinus import payload
from circinus.spec.pipeline import parse_pipeline

pytestmark = pytest.mark.slow


def items(content, seed=1, count=2):
    return list(islice(Microphone(content, seed).samples(), count))


@pytest.mark.parametrize("content", sorted(CONDITIONS))
def test_same_content_and_seed_give_the_same_items(content):
    for one, other in zip(items(content, 7), items(content, 7), strict=True):
        assert payload.encode(one.payload) == payload.encode(other.payload)
        assert one.truth == other.truth


def test_other_seeds_and_other_contents_give_other_items():
    texts = {items(content, seed, 1)[0].truth["text"] for content in CONDITIONS for seed in (1, 2)}
    assert len(texts) == 2 * len(CONDITIONS)


def test_an_item_is_a_few_seconds_of_sound_and_its_truth_is_what_was_said():
    (item,) = items("noisy", count=1)
    audio = item.payload["audio"]
    assert audio.dtype == np.int16
    assert item.payload["rate"] == RATE_HZ
    assert 2 < audio.size / RATE_HZ < 9
    assert item.truth["keywords"].splitlines() == keywords_in(item.truth["text"])


def test_gaps_are_as_quiet_as_the_room():
    level = {}
    for content in ("quiet", "noisy"):
        starts = [item.payload["audio"][: RATE_HZ // 2].astype(float) for item in items(content, count=4)]
        level[content] = np.sqrt(np.mean(np.concatenate(starts) ** 2))
    assert level["noisy"] > 5 * level["quiet"]


def test_fast_people_take_less_time_for_the_same_sentence():
    text = "anna will send the report by friday"
    (slow, fast) = (speak(text, "en-us", CONDITIONS[content].speed[0], 50).size for content in ("quiet", "fast"))
    assert fast < 0.8 * slow


def test_speech_lies_over_the_noise_by_as_many_decibels_as_asked_for():
    conditions = replace(CONDITIONS["noisy"], snr_db=(10.0, 10.0), gap_s=(0.0, 0.0))
    room = Room(np.random.default_rng(1), conditions)
    audio = record(np.random.default_rng(2), "we decided to send the report", room, conditions).astype(float)
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(2500 * np.sqrt(1.1), rel=0.05)


def test_voice_that_espeak_does_not_know_is_an_error():
    with pytest.raises(RuntimeError, match="'nobody'"):
        speak("hello", "nobody", 150, 50)


def test_espeak_that_is_not_there_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="apt-get install espeak-ng"):
        speak("hello", "en-us", 150, 50)


def test_unknown_content_is_refused_by_name():
    with pytest.raises(ValueError, match="no content 'night'"):
        next(Microphone("night", 1).samples())


def test_seed_below_zero_is_refused():
    with pytest.raises(ValueError, match="seed is -1"):
        next(Microphone("quiet", -1).samples())


def test_every_content_of_the_pipeline_can_be_heard(bundle):
    pipeline = parse_pipeline((bundle / "pipeline.yaml").read_text(encoding="utf-8"))
    assert {content.name for content in pipeline.contents} == set(CONDITIONS)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100])
def test_tone_is_the_same_tone_at_another_rate(rate_hz):
    time_s = np.arange(rate_hz) / rate_hz
    out = resampled(np.sin(2 * np.pi * 440 * time_s), rate_hz, RATE_HZ)
    assert out.size == RATE_HZ
    expected = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert np.abs(out - expected)[800:-800].max() < 0.02


def test_what_half_the_rate_cannot_hold_is_cut_off():
    tone = np.sin(2 * np.pi * 6000 * np.arange(RATE_HZ) / RATE_HZ)
    assert np.abs(resampled(tone, RATE_HZ, 8_000)[400:-400]).max() < 0.02


@pytest.mark.parametrize("size", [0, 1, 2, 511])
def test_few_samples_can_be_resampled(size):
    assert resampled(np.ones(size), RATE_HZ, 8_000).size == round(size / 2)


def test_pink_noise_has_less_power_the_higher_it_is():
    power = np.abs(np.fft.rfft(pink_noise(np.random.default_rng(1), RATE_HZ))) ** 2
    assert power[100:1000].mean() > 4 * power[4000:].mean()


def test_silence_stays_silence_at_any_level():
    assert not at_level(np.zeros(10), 100.0).any()

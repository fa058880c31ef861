"""Sound as numbers: rates and noise. Waves are one-dimensional arrays."""

from __future__ import annotations

import numpy as np

#: What the microphone gives and the recogniser hears.
RATE_HZ = 16_000


def samples(wave: np.ndarray) -> np.ndarray:
    """A wave as samples of 16 bits."""
    return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)


def resampled(wave: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """The wave at another rate, by its spectrum: what the new rate can't hold is cut off. O(n log n)."""
    if from_hz == to_hz:
        return wave
    size = round(wave.size * to_hz / from_hz)
    # Padded to a length that is fast to transform; the padding keeps the two ends apart as well.
    unit = from_hz // np.gcd(from_hz, to_hz)
    padded = -(-(wave.size + unit) // (unit * 64)) * unit * 64
    spectrum = np.fft.rfft(wave, padded)
    length = padded * to_hz // from_hz
    kept = np.zeros(length // 2 + 1, dtype=complex)
    common = min(kept.size, spectrum.size) - 1
    kept[:common] = spectrum[:common]
    return np.asarray(np.fft.irfft(kept, length)[:size] * (length / padded))


def pink_noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise whose power falls by 3 dB an octave above 50 Hz."""
    padded = 1 << (size - 1).bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(padded))
    frequency_hz = np.arange(spectrum.size) * (RATE_HZ / padded)
    return np.asarray(np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency_hz, 50.0)), padded)[:size])

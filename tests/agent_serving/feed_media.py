"""Pictures, videos and sounds that tests make for themselves."""

from __future__ import annotations

import wave
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 64, 48


def grey_level(image) -> int:
    return round(float(np.mean(image)))


def picture(path: Path, level: int = 100) -> Path:
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    return path


def video(path: Path, levels: list[int], frames_per_s: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), frames_per_s, (WIDTH, HEIGHT))
    for level in levels:
        writer.write(np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    writer.release()
    return path


def tone(path: Path, seconds: float, rate_hz: int = 8000, channels: int = 1, level: float = 0.5) -> Path:
    count = round(seconds * rate_hz)
    samples = np.full((count, channels), round(level * 32767), "<i2")
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(channels)
        recording.setsampwidth(2)
        recording.setframerate(rate_hz)
        recording.writeframes(samples.tobytes())
    return path

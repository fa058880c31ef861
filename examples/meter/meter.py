"""The source: a meter that counts up, filmed by a camera that shakes."""

import cv2
import numpy as np
from segments import COUNT, HEIGHT, WIDTH, draw

from circinus.operator import Sample, Source

FRAME = (120, 320)

# For each content: how dark a lit segment is, how strong noise and blur are, how bright the dim side is, and how often
# a reflection covers a part of the display.
LIGHT = {"noon": (70, 30, 0.8, 0.8, 0.0), "dusk": (60, 40, 0.8, 0.5, 0.8)}


class Meter(Source):
    def samples(self):
        ink, noise, blur, dim, glare = LIGHT[self.content]
        rng = np.random.default_rng([self.seed, *self.content.encode()])
        light = np.linspace(dim, 1.0, FRAME[1], dtype=np.float32)
        reading, left = int(rng.integers(10**COUNT)), 0
        while True:
            if left == 0:  # it counts on after 10 to 24 frames
                reading, left = (reading + 1) % 10**COUNT, int(rng.integers(10, 25))
            left -= 1
            digits = f"{reading:0{COUNT}d}"
            display = 190 - ink * draw(digits)
            if rng.random() < glare:
                cv2.circle(display, (int(rng.integers(WIDTH * COUNT)), HEIGHT // 2), 26, 190, -1)
            x, y = rng.integers(40, 70), rng.integers(15, 36)
            frame = np.full(FRAME, 40, np.float32)
            frame[y : y + HEIGHT, x : x + WIDTH * COUNT] = display
            frame = np.rint(frame * light + noise * rng.standard_normal(FRAME, np.float32))
            frame = cv2.GaussianBlur(np.clip(frame, 0, 255).astype(np.uint8), (0, 0), blur)
            yield Sample(payload={"image": frame}, truth={"digits": digits})

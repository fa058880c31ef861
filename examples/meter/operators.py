"""The operators: find the display, smooth it, read its digits, hold them over a few frames."""

from collections import Counter, deque

import cv2
import numpy as np
from segments import COUNT, HEIGHT, LIT, PLACES, WIDTH, draw

from circinus.operator import Operator

cv2.setNumThreads(1)  # a replica has the cores that the plan gives it, not the machine's


class Find(Operator):
    """Cuts the display, the one bright thing, out of the frame; scale: how large it is from there on."""

    def process(self, inputs):
        image = inputs["source"]["image"]
        _, bright = cv2.threshold(cv2.blur(image, (9, 9)), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        x, y, width, height = cv2.boundingRect(bright)
        size = (round(WIDTH * COUNT * self.knobs["scale"]), round(HEIGHT * self.knobs["scale"]))
        return {"display": cv2.resize(image[y : y + height, x : x + width], size, interpolation=cv2.INTER_AREA)}


class Smooth(Operator):
    """Takes noise off, and detail with it; blur: pixels, 1 for none."""

    def process(self, inputs):
        size = self.knobs["blur"]
        return {"display": cv2.GaussianBlur(inputs["find"]["display"], (size, size), 0)}


class Read(Operator):
    """Reads each cell; method: by how dark each segment's place is, or by the most similar of ten templates."""

    def setup(self):
        self.templates = {}

    def process(self, inputs):
        display = inputs["smooth"]["display"]
        scale = display.shape[0] / HEIGHT
        read = self.by_template if self.knobs["method"] == "template" else self.by_segment
        edges = [round(WIDTH * scale * at) for at in range(COUNT + 1)]
        return {"digits": "".join(read(display[:, a:b], scale) for a, b in zip(edges, edges[1:]))}

    def by_segment(self, cell, scale):
        middle, _ = cv2.threshold(cell, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        lit = ""
        for segment, place in PLACES.items():
            left, top, right, bottom = (round(scale * edge) for edge in place)
            if cell[top:bottom, left:right].mean() < middle:
                lit += segment
        return str(LIT.index(lit)) if lit in LIT else "?"

    def by_template(self, cell, scale):
        if scale not in self.templates:  # made once; they depend on the scale alone
            size = (round(WIDTH * scale), round(HEIGHT * scale))
            whole = [(255 - 255 * draw([digit])).astype(np.uint8) for digit in range(10)]
            self.templates[scale] = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in whole]
        room = cv2.copyMakeBorder(cell, 4, 4, 4, 4, cv2.BORDER_REPLICATE)
        likeness = [cv2.matchTemplate(room, one, cv2.TM_CCOEFF_NORMED).max() for one in self.templates[scale]]
        return str(int(np.argmax(likeness)))


class Hold(Operator):
    """At each place the digit that the last frames agree on most; frames: how many. Steadier, and late by some."""

    def setup(self):
        self.reset()

    def reset(self):
        self.last = deque(maxlen=self.knobs["frames"])

    def process(self, inputs):
        self.last.append(inputs["read"]["digits"])
        return {"digits": "".join(Counter(place).most_common(1)[0][0] for place in zip(*self.last))}

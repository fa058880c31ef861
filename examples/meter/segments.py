"""Seven-segment digits: what the source draws and the operators read."""

import numpy as np

COUNT, WIDTH, HEIGHT = 5, 40, 64  # digits of the display, and the pixels of one digit's cell

# The segments that are lit for 0 to 9.
LIT = ["abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg"]

# Left, top, right and bottom of each segment in its cell.
PLACES = {
    "a": (11, 6, 29, 11),
    "b": (28, 10, 33, 30),
    "c": (28, 34, 33, 54),
    "d": (11, 53, 29, 58),
    "e": (7, 34, 12, 54),
    "f": (7, 10, 12, 30),
    "g": (11, 30, 29, 35),
}


def draw(digits):
    """Cells side by side, 1 where a segment is lit and 0 elsewhere."""
    mask = np.zeros((HEIGHT, WIDTH * len(digits)), np.float32)
    for at, digit in enumerate(digits):
        for segment in LIT[int(digit)]:
            left, top, right, bottom = PLACES[segment]
            mask[top:bottom, WIDTH * at + left : WIDTH * at + right] = 1
    return mask

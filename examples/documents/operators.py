"""The steps from a photograph of a page to its text: rectify, encode, denoise, read."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from engines import open_engine

from circinus.operator import Operator, Payload

#: The page's size at scale 1, in pixels; all of it is read at this size times the scale.
CANONICAL_WIDTH, CANONICAL_HEIGHT = 560, 310

#: Edges of pages and falls of light are looked for in images so many times smaller: noise averages out in them.
_SHRINK = 4

#: A quadrilateral smaller than this part of the frame is no page.
_SMALLEST_PAGE_RATIO = 0.25

#: This part of the way from a corner to the page's middle is cut off.
_RIM_RATIO = 0.03

#: As wide as no stroke of a letter is.
_LETTER_PX = 24

#: Sharpening: letters are set off from what is around them so wide (a Gaussian's sigma), and so many times as much.
_AROUND_PX, _SET_OFF_RATIO = 4.0, 2.0

#: Frames larger than this are refused.
MAX_PIXELS = 40_000_000


def grey_image(payload: Payload) -> np.ndarray:
    """The payload's ``image``: an array of bytes (height, width), or the bytes of an encoded one.

    Raises:
        ValueError: there is none, or it is no grey image.
    """
    image = payload.get("image")
    if isinstance(image, bytes):
        decoded = cv2.imdecode(np.frombuffer(image, dtype=np.uint8), cv2.IMREAD_GRAYSCALE) if image else None
        if decoded is None:
            raise ValueError(f"{len(image)} bytes of image can't be decoded")
        image = decoded
    if not isinstance(image, np.ndarray) or image.ndim != 2 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError("the payload has no grey image: its field image must be an array (height, width) of uint8")
    if image.size > MAX_PIXELS:
        raise ValueError(f"the image has {image.size} pixels; at most {MAX_PIXELS} are read")
    return image


def find_page(frame: np.ndarray) -> np.ndarray | None:
    """The page's corners in the frame, (4, 2), clockwise from the top left; None if no page stands out."""
    small = _shrunk(frame)
    # Light multiplies what the page and the desk reflect: the step between them is the same everywhere in logarithms.
    level = np.log(cv2.GaussianBlur(small, (0, 0), 1.2).astype(np.float32) + 4.0)
    spread = ((level - level.min()) * (255 / max(float(np.ptp(level)), 1e-6))).astype(np.uint8)
    edges = cv2.dilate(cv2.Canny(spread, 40, 100), np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    best, best_area = None, _SMALLEST_PAGE_RATIO * small.size
    for contour in contours:
        hull = cv2.convexHull(contour)
        corners = cv2.approxPolyDP(hull, 0.03 * cv2.arcLength(hull, closed=True), closed=True)
        area = cv2.contourArea(corners)
        if len(corners) == 4 and area > best_area:
            best, best_area = corners.reshape(4, 2), area
    if best is None:
        return None
    return _clockwise(best.astype(np.float32) * _SHRINK)


def _shrunk(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    size = (max(1, round(width / _SHRINK)), max(1, round(height / _SHRINK)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _clockwise(corners: np.ndarray) -> np.ndarray:
    total, difference = corners.sum(axis=1), corners[:, 0] - corners[:, 1]
    order = [total.argmin(), difference.argmax(), total.argmax(), difference.argmin()]
    return corners[order].astype(np.float32)


class Rectify(Operator):
    """Cuts the page out of the frame, straight, at ``scale`` times its canonical size. In and out: ``image``."""

    def setup(self) -> None:
        """Takes the knob ``scale``."""
        cv2.setNumThreads(self.context.threads)
        scale = float(self.knobs["scale"])
        if not 0.1 <= scale <= 2.0:
            raise ValueError(f"scale is {scale}; it must be within 0.1..2")
        self._size = (round(CANONICAL_WIDTH * scale), round(CANONICAL_HEIGHT * scale))

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """A frame's page; the frame as it is if there is no page to be seen."""
        (payload,) = inputs.values()
        frame = grey_image(payload)
        corners = find_page(frame)
        if corners is None:
            return {"image": cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)}
        width, height = self._size
        straight = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
        # What is found is the outer rim of the page's edge; a strip of desk would be read as letters.
        inner = corners + (corners.mean(axis=0) - corners) * _RIM_RATIO
        lift = cv2.getPerspectiveTransform(inner, straight)
        return {"image": cv2.warpPerspective(frame, lift, self._size, flags=cv2.INTER_LINEAR)}


class Encode(Operator):
    """Makes JPEG of an image, for the way to another device. In: ``image`` (pixels); out: ``image`` (bytes)."""

    def setup(self) -> None:
        """Takes the knob ``quality``."""
        cv2.setNumThreads(self.context.threads)
        self._quality = int(self.knobs["quality"])
        if not 1 <= self._quality <= 100:
            raise ValueError(f"quality is {self._quality}; it must be within 1..100")

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """The image in JPEG."""
        (payload,) = inputs.values()
        encoded, data = cv2.imencode(".jpg", grey_image(payload), [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not encoded:
            raise RuntimeError("the image can't be encoded")
        return {"image": data.tobytes()}


class Denoise(Operator):
    """Takes off a page what hinders its reading. In: ``image`` (pixels or JPEG); out: ``image``.

    ``filter`` none hands on what it is given, JPEG as JPEG; flatten gives pixels, paper white wherever light falls
    and little noise; sharpen gives pixels, blur taken back and noise made stronger.
    """

    FILTERS = ("none", "flatten", "sharpen")

    def setup(self) -> None:
        """Takes the knob ``filter``."""
        cv2.setNumThreads(self.context.threads)
        self._filter = str(self.knobs["filter"])
        if self._filter not in self.FILTERS:
            raise ValueError(f"filter is {self._filter!r}; there are {', '.join(self.FILTERS)}")

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """The page, cleaned if so asked."""
        (payload,) = inputs.values()
        if self._filter == "none":
            return {"image": payload["image"]}
        change = flatten if self._filter == "flatten" else sharpen
        return {"image": change(grey_image(payload))}


def flatten(image: np.ndarray) -> np.ndarray:
    """The image divided by what its paper would look like without print, then smoothed.

    Paper becomes white and ink as dark as it is in good light, so that one threshold does for the page, which is
    all that Tesseract has. Sizes are in pixels of a page at scale 1.
    """
    height, width = image.shape
    scale = height / CANONICAL_HEIGHT
    small = _shrunk(image)
    # Closing takes off what is dark and thinner than the kernel, letters, and keeps a shadow's edge where it is.
    across = max(3, round(_LETTER_PX * scale / _SHRINK) | 1)
    paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across)))
    paper = cv2.GaussianBlur(paper, (0, 0), max(0.5, _LETTER_PX * scale / 4 / _SHRINK))
    paper = cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(cv2.divide(image, paper, scale=255), (0, 0), max(0.3, scale))


def sharpen(image: np.ndarray) -> np.ndarray:
    """The image with what it has of detail made stronger (an unsharp mask)."""
    around = cv2.GaussianBlur(image, (0, 0), max(0.3, _AROUND_PX * image.shape[0] / CANONICAL_HEIGHT))
    return np.asarray(cv2.addWeighted(image, 1 + _SET_OFF_RATIO, around, -_SET_OFF_RATIO, 0))


class Read(Operator):
    """Reads a page. In: ``image`` (pixels or JPEG); out: ``text``, lines parted by newlines."""

    def setup(self) -> None:
        """Loads the engine that the knob ``engine`` names, and none other."""
        cv2.setNumThreads(self.context.threads)
        self._engine = open_engine(str(self.knobs["engine"]), self.context)

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """The page's text."""
        (payload,) = inputs.values()
        return {"text": self._engine.read(grey_image(payload))}

    def close(self) -> None:
        """Lets go of the engine."""
        self._engine.close()

"""From a frame to crops with scores: decode, detect, crop, classify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from boxes import no_boxes
from calibration import FRAME_HEIGHT, FRAME_WIDTH
from vehicles import CLASSES

from circinus.operator import Operator, Payload

#: Crops are squares of so many pixels; the models take no other.
CROP_PX = 32

#: The models in the folder models/, from the cheapest to the dearest.
MODELS = ("tiny", "small", "large")

#: A square around a box is so much wider than the box's longer side.
_CROP_MARGIN_RATIO = 1.15

_MODEL_FOLDER = Path(__file__).parent / "models"


class Decode(Operator):
    """Decodes one frame of ``every``, ``width`` pixels wide. In: ``image`` (JPEG), ``frame``.

    Out: ``image`` (height, width, 3), ``frame``, ``skipped``. A frame that is skipped has an image without pixels.
    """

    _REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))

    def setup(self) -> None:
        """Takes the knobs ``width`` and ``every``."""
        cv2.setNumThreads(self.context.threads)
        width, self._every = int(self.knobs["width"]), int(self.knobs["every"])
        if not 64 <= width <= FRAME_WIDTH:
            raise ValueError(f"width is {width}; it must be within 64..{FRAME_WIDTH}")
        if self._every < 1:
            raise ValueError(f"every is {self._every}; it must be at least 1")
        self._size = (width, round(width * FRAME_HEIGHT / FRAME_WIDTH))
        # The decoder shrinks by powers of two in passing, which costs less than pixels that are then thrown away.
        fitting = [flag for factor, flag in self._REDUCED if width * factor <= FRAME_WIDTH]
        self._flag = fitting[0] if fitting else cv2.IMREAD_COLOR

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """A frame's pixels, unless it is one of those to skip.

        Raises:
            ValueError: the image can't be decoded.
        """
        (payload,) = inputs.values()
        frame, data = int(payload["frame"]), payload["image"]
        if frame % self._every:
            return {"image": np.zeros((0, 0, 3), np.uint8), "frame": frame, "skipped": True}
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), self._flag) if data else None
        if decoded is None:
            raise ValueError(f"{len(data)} bytes of image can't be decoded")
        if decoded.shape[1::-1] != self._size:
            decoded = cv2.resize(decoded, self._size, interpolation=cv2.INTER_AREA)
        return {"image": decoded, "frame": frame, "skipped": False}


class Detect(Operator):
    """Finds what moves before a background that it learns. In: ``image``, ``frame``, ``skipped``.

    Out: ``boxes`` (N, 4) in pixels of the whole frame, ``frame``, ``skipped``.
    """

    def setup(self) -> None:
        """Takes the knobs ``method`` and ``clean``."""
        cv2.setNumThreads(self.context.threads)
        self._method, clean = str(self.knobs["method"]), str(self.knobs["clean"])
        if self._method not in METHODS:
            raise ValueError(f"method is {self._method!r}; there are {', '.join(METHODS)}")
        if clean not in CLEANINGS:
            raise ValueError(f"clean is {clean!r}; there are {', '.join(CLEANINGS)}")
        self._thin_px = CLEANINGS[clean]
        self.reset()

    def reset(self) -> None:
        """Forgets the background."""
        self._background = METHODS[self._method]()

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """A frame's moving things; none if it is skipped."""
        (payload,) = inputs.values()
        frame, skipped = int(payload["frame"]), bool(payload["skipped"])
        if skipped:
            return {"boxes": no_boxes(), "frame": frame, "skipped": True}
        image = payload["image"]
        # At full size there is noise in each pixel; smaller images have lost it in shrinking.
        smooth = image if image.shape[1] < FRAME_WIDTH else cv2.blur(image, (3, 3))
        boxes = moving_boxes(self._background.moving(smooth), self._thin_px)
        return {"boxes": boxes, "frame": frame, "skipped": False}


class Background:
    """What a street looks like when nothing moves on it, learnt from the frames so far.

    OpenCV's models give 255 for what moves and 127 for shadows.
    """

    def __init__(self) -> None:
        self._frames = 0

    def moving(self, image: np.ndarray) -> np.ndarray:
        """255 where the image differs from what is known, else 0."""
        self._frames += 1
        mask = self._apply(image, max(_LEAST_RATE, 1 / (self._frames + 3)))
        return np.asarray(cv2.threshold(mask, 200, 255, cv2.THRESH_BINARY)[1])

    def _apply(self, image: np.ndarray, rate: float) -> np.ndarray:
        raise NotImplementedError


class Mixture(Background):
    """A mixture of Gaussians for each pixel (Zivkovic 2004)."""

    def __init__(self) -> None:
        super().__init__()
        self._model = cv2.createBackgroundSubtractorMOG2(_HISTORY, 16.0, True)
        # What was seen in one frame must not be background in the next, not even while rates are high.
        self._model.setBackgroundRatio(0.75)

    def _apply(self, image: np.ndarray, rate: float) -> np.ndarray:
        return np.asarray(self._model.apply(image, learningRate=rate))


class Neighbours(Background):
    """Past samples of each pixel (Zivkovic and van der Heijden 2006). The dearest."""

    def __init__(self) -> None:
        super().__init__()
        self._model = cv2.createBackgroundSubtractorKNN(_HISTORY, 300.0, True)

    def _apply(self, image: np.ndarray, rate: float) -> np.ndarray:
        # It draws by chance which samples to replace, from a generator that the whole process shares.
        cv2.setRNGSeed(self._frames)
        if self._frames == 1:
            for _ in range(4):  # without a few samples of it, nothing is background
                self._model.apply(image, learningRate=0.5)
        return np.asarray(self._model.apply(image, learningRate=rate))


METHODS: dict[str, type[Background]] = {"mog2": Mixture, "knn": Neighbours}

#: What is less wide is taken off, in pixels of the whole frame: rain is thin, and so is what is far.
CLEANINGS = {"light": 3, "strong": 9}

#: How much of a new frame goes into what was learnt once there are enough; frames that the models bear in mind.
_LEAST_RATE, _HISTORY = 0.04, 200

#: In pixels of the whole frame: what is smaller is noise. And so many things are looked at in a frame, the largest.
_LEAST_AREA = 45
_MOST_BOXES = 40

#: Ends of a thing that are thinner than this, of where it is thickest, are cut off: beams, shadows.
_THICK_COLUMN_RATIO, _THICK_ROW_RATIO = 0.3, 0.15


def moving_boxes(mask: np.ndarray, thin_px: float) -> np.ndarray:
    """Boxes around what a mask shows, largest first, after what is thin is taken off and gaps are closed."""
    scale = FRAME_WIDTH / mask.shape[1]
    thin = round(thin_px / scale) | 1
    if thin > 1:
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, thin), np.uint8))
    # An even kernel would shift what it closes.
    across, down = round(11 / scale) | 1, round(3 / scale) | 1
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((down, across), np.uint8))
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    numbers = np.argsort(-stats[:, cv2.CC_STAT_AREA], kind="stable")
    enough = stats[numbers, cv2.CC_STAT_AREA] * scale * scale >= _LEAST_AREA
    boxes = []
    for number in numbers[enough & (numbers > 0)][:_MOST_BOXES]:
        left, top, width, height = stats[number, :4]
        body = parts[top : top + height, left : left + width] == number
        columns, rows = _thick(body.sum(axis=0), _THICK_COLUMN_RATIO), _thick(body.sum(axis=1), _THICK_ROW_RATIO)
        boxes.append((left + columns[0], top + rows[0], left + columns[1], top + rows[1]))
    return np.asarray(boxes, np.float32).reshape(-1, 4) * np.float32(scale)


def _thick(profile: np.ndarray, ratio: float) -> tuple[int, int]:
    """From where to where a profile reaches a share of its greatest value."""
    thick = np.flatnonzero(profile >= ratio * profile.max())
    return int(thick[0]), int(thick[-1]) + 1


class Crop(Operator):
    """Cuts the boxes out of the frame. In: decode's ``image``, detect's ``boxes``; out: ``crops`` (N, 32, 32, 3)."""

    def setup(self) -> None:
        """Has no knobs."""
        cv2.setNumThreads(self.context.threads)

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """One frame's crops, in the order of the boxes."""
        return {"crops": cut_crops(inputs["decode"]["image"], inputs["detect"]["boxes"])}


def cut_crops(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A square around each box, (N, CROP_PX, CROP_PX, 3); what lies outside of the frame is as its rim is."""
    crops = np.zeros((len(boxes), CROP_PX, CROP_PX, 3), np.uint8)
    if len(boxes) == 0 or image.size == 0:
        return crops[:0]
    scale = image.shape[1] / FRAME_WIDTH
    for crop, (left, top, right, bottom) in zip(crops, boxes * scale, strict=True):
        side = max(3.0, _CROP_MARGIN_RATIO * max(right - left, bottom - top))
        x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
        size = round(side)
        x0, y0, x1, y1 = max(0, x), max(0, y), min(image.shape[1], x + size), min(image.shape[0], y + size)
        rims = (y0 - y, y + size - y1, x0 - x, x + size - x1)
        square = image[y0:y1, x0:x1]
        if any(rims):
            square = cv2.copyMakeBorder(square, *rims, cv2.BORDER_REPLICATE)
        way = cv2.INTER_AREA if size > CROP_PX else cv2.INTER_LINEAR
        cv2.resize(square, (CROP_PX, CROP_PX), dst=crop, interpolation=way)
    return crops


class Classify(Operator):
    """Says what the crops show. In: ``crops``; out: ``scores`` (N, classes and none), each row a distribution."""

    def setup(self) -> None:
        """Loads the model that the knob ``model`` names."""
        import onnxruntime

        model = str(self.knobs["model"])
        if model not in MODELS:
            raise ValueError(f"model is {model!r}; there are {', '.join(MODELS)}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.context.threads
        options.inter_op_num_threads = 1
        path = _MODEL_FOLDER / f"{model}.onnx"
        self._session = onnxruntime.InferenceSession(str(path), options, providers=list(self.context.providers))

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """One frame's crops, in order."""
        (payload,) = inputs.values()
        crops = payload["crops"]
        if len(crops) == 0:
            return {"scores": np.zeros((0, len(CLASSES) + 1), np.float32)}
        return {"scores": self._session.run(["scores"], {"crops": crops})[0]}

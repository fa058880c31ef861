"""Engines that read a page: Tesseract, fast and soon confused; RapidOCR, slow and hard to confuse; one, then the other.

Only what is asked for is loaded: a process with RapidOCR in it is more than twice as large.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import cv2
import numpy as np
from tesseract import Tesseract

from circinus.operator import OperatorContext

#: The provider that runs RapidOCR's networks on an NVIDIA accelerator.
CUDA_PROVIDER = "CUDAExecutionProvider"

ENGINES = ("tesseract", "cascade", "rapidocr")

#: The longer side of what RapidOCR's detector sees. More took longer and found no more, not even of small print.
_DETECTOR_SIDE_PX = 320

#: Boxes whose middles are nearer than this part of a box's height stand on one line.
_SAME_LINE_RATIO = 0.6

#: A page of whose words Tesseract is less sure than this, of 100, is read again.
_TRUSTED_CONFIDENCE = 75


class Engine(Protocol):
    """Reads grey images."""

    def read(self, image: np.ndarray) -> str:
        """The text of an image (height, width) of bytes, lines parted by newlines."""

    def close(self) -> None:
        """Lets go of what the engine holds."""


class RapidReader:
    """RapidOCR with the models that its wheel ships: PP-OCR's detector of lines and its recogniser.

    Raises:
        RuntimeError: the context names the CUDA provider, but onnxruntime can't use it here.
    """

    def __init__(self, context: OperatorContext) -> None:
        from rapidocr import RapidOCR  # half a second and 100 MB that a replica of the other engine is spared

        cuda = CUDA_PROVIDER in context.providers
        parameters: dict[str, Any] = {
            "Global.use_cls": False,  # pages come the right way up
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": context.threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "EngineConfig.onnxruntime.use_cuda": cuda,
            "Det.limit_type": "max",
            "Det.limit_side_len": _DETECTOR_SIDE_PX,
            # A batch is padded to its widest line: on a CPU that costs more than it saves.
            "Rec.rec_batch_num": 6 if cuda else 1,
        }
        self._engine: Any = RapidOCR(params=parameters)  # what a call gives depends on what is asked for
        self._load()
        if cuda:
            self._require_cuda()

    def _load(self) -> None:
        """Reads one line, since models are loaded by the first use: a replica is ready when it is fast."""
        page = np.full((128, 320), 255, dtype=np.uint8)
        cv2.putText(page, "ready", (40, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 0, 3)
        self.read(page)

    def _require_cuda(self) -> None:
        # It falls back to the CPU with a warning: then nothing that was planned for an accelerator holds.
        for model in (self._engine.text_det, self._engine.text_rec):
            used = model.session.session.get_providers() if model is not None else []
            if CUDA_PROVIDER not in used:
                raise RuntimeError(f"onnxruntime can't use {CUDA_PROVIDER} here, only {', '.join(used) or 'nothing'}")

    def read(self, image: np.ndarray) -> str:
        """The text of an image (height, width) of bytes, lines parted by newlines."""
        result = self._engine(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
        if result.txts is None or result.boxes is None:
            return ""
        return in_reading_order(result.boxes, result.txts)

    def close(self) -> None:
        """Lets go of the models."""
        del self._engine


class Cascade:
    """Tesseract for every page, then another engine for those of whose words Tesseract is not sure."""

    def __init__(self, first: Tesseract, second: Engine) -> None:
        self._first = first
        self._second = second

    def read(self, image: np.ndarray) -> str:
        """The text of an image (height, width) of bytes, lines parted by newlines."""
        text, confidence = self._first.read_with_confidence(image)
        return text if confidence >= _TRUSTED_CONFIDENCE else self._second.read(image)

    def close(self) -> None:
        """Lets go of both engines."""
        self._first.close()
        self._second.close()


def in_reading_order(boxes: Iterable[np.ndarray], texts: Iterable[str]) -> str:
    """Pieces of text joined: down the page, and from left to right on a line.

    ``boxes`` hold the corners of each piece, (4, 2), clockwise from the top left.
    """
    pieces = sorted(
        (float(box[:, 1].mean()), float(box[:, 0].min()), float(np.ptp(box[:, 1])), text)
        for box, text in zip(boxes, texts, strict=True)
    )
    lines: list[list[tuple[float, str]]] = []
    line_y = 0.0
    for y, x, height, text in pieces:
        if not lines or y - line_y > _SAME_LINE_RATIO * height:
            lines.append([])
            line_y = y
        lines[-1].append((x, text))
    return "\n".join(" ".join(text for _, text in sorted(line)) for line in lines)


def open_engine(name: str, context: OperatorContext) -> Engine:
    """The engine of this name, its models loaded.

    Raises:
        ValueError: there is none.
        RuntimeError: what it needs isn't installed.
    """
    match name:
        case "tesseract":
            return Tesseract()
        case "cascade":
            return Cascade(Tesseract(), RapidReader(context))
        case "rapidocr":
            return RapidReader(context)
        case _:
            raise ValueError(f"engine is {name!r}; there are {', '.join(ENGINES)}")

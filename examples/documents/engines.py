"""Engines that read a page: Tesseract, fast and soon confused; RapidOCR, slower and hard to confuse.

Each is loaded only if it is the one that is asked for: RapidOCR's models and run-time take five times Tesseract's memory.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import cv2
import numpy as np
from circinus.operator import OperatorContext
from tesseract import Tesseract

#: The provider that runs RapidOCR's networks on an NVIDIA accelerator.
CUDA_PROVIDER = "CUDAExecutionProvider"


class Engine(Protocol):
    """Reads grey images."""

    def read(self, image: np.ndarray) -> str:
        """The text of an image (height, width) of bytes, lines parted by newlines."""

    def close(self) -> None:
        """Lets go of what the engine holds."""


class RapidReader:
    """RapidOCR with the models that its wheel ships: PP-OCR's detector of lines and recogniser."""

    def __init__(self, side_px: int, context: OperatorContext) -> None:
        from rapidocr import RapidOCR

        parameters: dict[str, Any] = {
            "Global.use_cls": False,  # pages come the right way up
            "Global.log_level": "warning",
            "EngineConfig.onnxruntime.intra_op_num_threads": context.threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "EngineConfig.onnxruntime.use_cuda": CUDA_PROVIDER in context.providers,
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": ARENA,
            "Det.limit_side_len": side_px,
            "Det.limit_type": "max",
            "Rec.rec_batch_num": RECB,
        }
        self._engine = RapidOCR(params=parameters)

    def read(self, image: np.ndarray) -> str:
        result = self._engine(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
        if result.txts is None: return ""
        return lines_of(result.boxes, result.txts)
    def close(self): pass

ARENA=False; RECB=6

def lines_of(boxes, texts):
    heights=[abs(b[3][1]-b[0][1]) for b in boxes]
    rows=[]
    for b,t,h in sorted(zip(boxes,texts,heights),key=lambda x:(x[0][:,1].mean())):
        y=b[:,1].mean()
        if rows and abs(rows[-1][0]-y)<0.6*h: rows[-1][1].append((b[:,0].min(),t))
        else: rows.append([y,[(b[:,0].min(),t)]])
    return "\n".join(" ".join(t for _,t in sorted(r[1])) for r in rows)

def open_engine(name, context):
    if name == "tesseract": return Tesseract()
    kind, _, side = name.partition("-")
    return RapidReader(int(side or 480), context)

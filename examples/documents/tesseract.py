"""Tesseract through its C API: one resident engine instead of one process for each page.

The command line loads the model for every page, which costs more than reading it. Only what is needed of the C
API is bound here, by ctypes; the library comes from the system (Debian: tesseract-ocr, tesseract-ocr-eng).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from typing import Any

import numpy as np

#: PSM_SINGLE_BLOCK: one block of text, no analysis of the layout.
SINGLE_BLOCK = 6

#: What the image is said to be scanned at, so that no time is spent on guessing it.
_DOTS_PER_INCH = 100


def _library() -> Any:
    name = ctypes.util.find_library("tesseract")
    if name is None:
        raise RuntimeError("libtesseract isn't installed: apt-get install tesseract-ocr tesseract-ocr-eng")
    library = ctypes.CDLL(name)
    handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for function, result, arguments in (
        ("TessBaseAPICreate", handle, []),
        ("TessBaseAPIInit3", number, [handle, text, text]),
        ("TessBaseAPISetVariable", number, [handle, text, text]),
        ("TessBaseAPISetPageSegMode", None, [handle, number]),
        ("TessBaseAPISetImage", None, [handle, ctypes.c_void_p, number, number, number, number]),
        ("TessBaseAPISetSourceResolution", None, [handle, number]),
        ("TessBaseAPIGetUTF8Text", ctypes.c_void_p, [handle]),
        ("TessBaseAPIMeanTextConf", number, [handle]),
        ("TessDeleteText", None, [ctypes.c_void_p]),
        ("TessBaseAPIClear", None, [handle]),
        ("TessBaseAPIClearAdaptiveClassifier", None, [handle]),
        ("TessBaseAPIEnd", None, [handle]),
        ("TessBaseAPIDelete", None, [handle]),
    ):
        bound = getattr(library, function)
        bound.restype = result
        bound.argtypes = arguments
    return library


class Tesseract:
    """One engine. Not for use by several threads at once.

    Raises:
        RuntimeError: the library or its language data are not there.
    """

    def __init__(self, language: str = "eng", page_mode: int = SINGLE_BLOCK) -> None:
        # libgomp reads this once, when it is loaded: more threads only make small pages slower.
        os.environ.setdefault("OMP_THREAD_LIMIT", "1")
        self._library = _library()
        self._handle = self._library.TessBaseAPICreate()
        if self._library.TessBaseAPIInit3(self._handle, None, language.encode()) != 0:
            self._library.TessBaseAPIDelete(self._handle)
            self._handle = None
            raise RuntimeError(f"tesseract has no data for {language!r}: apt-get install tesseract-ocr-{language}")
        self._library.TessBaseAPISetVariable(self._handle, b"debug_file", b"/dev/null")
        # Lines read with little confidence would be read once more as white on black: a third of the time, no gain.
        self._library.TessBaseAPISetVariable(self._handle, b"tessedit_do_invert", b"0")
        self._library.TessBaseAPISetPageSegMode(self._handle, page_mode)

    def read(self, image: np.ndarray) -> str:
        """The text of a grey image (height, width) of bytes; lines end in a newline."""
        text, _ = self.read_with_confidence(image)
        return text

    def read_with_confidence(self, image: np.ndarray) -> tuple[str, int]:
        """The text of a grey image, and how sure the engine is of its words in the mean, 0 to 100."""
        if self._handle is None:
            raise RuntimeError("the engine is closed")
        pixels = np.ascontiguousarray(image, dtype=np.uint8)
        if pixels.ndim != 2:
            raise ValueError(f"the image has shape {pixels.shape}; a grey one has height and width alone")
        height, width = pixels.shape
        library, handle = self._library, self._handle
        library.TessBaseAPISetImage(handle, pixels.ctypes.data, width, height, 1, width)
        library.TessBaseAPISetSourceResolution(handle, _DOTS_PER_INCH)
        address = library.TessBaseAPIGetUTF8Text(handle)
        try:
            text = ctypes.string_at(address).decode() if address else ""
            return text, int(library.TessBaseAPIMeanTextConf(handle))
        finally:
            if address:
                library.TessDeleteText(address)
            # A page must not change how the next is read: the same item gives the same answer on any replica.
            library.TessBaseAPIClear(handle)
            library.TessBaseAPIClearAdaptiveClassifier(handle)

    def close(self) -> None:
        """Lets go of the engine; again is harmless."""
        if self._handle is not None:
            self._library.TessBaseAPIEnd(self._handle)
            self._library.TessBaseAPIDelete(self._handle)
            self._handle = None

"""Images, videos and cameras as items. Runs in a bundle's environment, which has OpenCV and numpy if it needs them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from circinus.model.pipeline import Feed
from circinus.operator import Payload
from edge_agent.feeds.access import Access, NotOpened

#: A file is a file: no play list in it may lead elsewhere.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")

_JPEG_QUALITY = 90
_JPEG_HEAD = b"\xff\xd8\xff"
#: Of a file with one image.
_MAX_IMAGE_BYTES = 64 * 1024 * 1024
#: Longest wait for a frame; then the agent is told that there is none yet.
_FRAME_WAIT_S = 0.5
#: A camera is asked no more often: a file that stands for one would be read at full speed.
_LEAST_PERIOD_S = 1 / 120
#: A camera that gives nothing for so long is opened anew.
_SILENT_S = 10.0


class Images:
    """Opens files of images and videos as a feed wants them."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        cv2.setNumThreads(1)

    def __call__(self, path: Path) -> Iterator[Payload]:
        """The items of a file: one of an image, a frame each of a video.

        Raises:
            NotOpened: it is neither.
        """
        if cv2.haveImageReader(str(path)):
            return iter([self._image(path)])
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        readable, frame = capture.read()
        if not readable:
            capture.release()
            raise NotOpened(f"{path}: neither an image nor a video that OpenCV can read")
        return self._frames(capture, frame)

    def _image(self, path: Path) -> Payload:
        with path.open("rb") as opened:
            data = opened.read(_MAX_IMAGE_BYTES + 1)
        if len(data) > _MAX_IMAGE_BYTES:
            raise NotOpened(f"{path}: an image of more than {_MAX_IMAGE_BYTES:,} bytes")
        if self._feed.form == "jpeg" and data.startswith(_JPEG_HEAD):
            return {self._feed.field: data}
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise NotOpened(f"{path}: an image that OpenCV can't read; it may be cut off")
        return self.payload(image)

    def payload(self, image: Any) -> Payload:
        """An image, in OpenCV's order of colours, as the pipeline's operators want it."""
        form = self._feed.form
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        if form == "jpeg":
            done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            if not done:
                raise NotOpened(f"an image of {image.shape} can't be written as JPEG")
            return {self._feed.field: data.tobytes()}
        if form == "grey":
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        elif form == "rgb":
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return {self._feed.field: np.ascontiguousarray(image)}

    def _frames(self, capture: Any, first: Any) -> Iterator[Payload]:
        try:
            frame, readable = first, True
            while readable:
                yield self.payload(frame)
                readable, frame = capture.read()
        finally:
            capture.release()


class CameraFeed:
    """The newest frame of a camera whenever one is asked for; those in between are thrown away.

    A thread takes frames at the camera's own pace, so that none is old; only one that is asked for is decoded.
    """

    def __init__(self, name: str, access: Access, images: Images) -> None:
        self.ended = False
        self.trouble = ""
        self._name = name
        self._access = access
        self._images = images
        self._changed = threading.Condition()
        self._capture: Any = None
        self._thread: threading.Thread | None = None
        self._grabbed = self._taken = 0
        self._grabbed_at_s = 0.0
        self._lost = False

    def next(self) -> Payload | None:
        """The newest frame that was not given yet.

        Raises:
            NotOpened: the camera can't be opened, or gives no more frames.
        """
        if self._thread is None:
            self._open()
        with self._changed:
            self._changed.wait_for(lambda: self._lost or self._grabbed > self._taken, _FRAME_WAIT_S)
            if self._lost:
                lost = True
            elif self._grabbed == self._taken:
                lost = time.monotonic() - self._grabbed_at_s > _SILENT_S
                if not lost:
                    return None
            else:
                self._taken = self._grabbed
                readable, frame = self._capture.retrieve()
                if readable:
                    return self._images.payload(frame)
                lost = True
        self.close()
        raise NotOpened(f"camera {self._name}: gives no more frames")

    def close(self) -> None:
        """Lets go of the camera."""
        thread, self._thread = self._thread, None
        with self._changed:
            self._lost = True
        if thread is not None:
            thread.join(timeout=_SILENT_S)

    def _open(self) -> None:
        name = self._access.camera(self._name)
        capture = cv2.VideoCapture(int(name)) if name.isdigit() else cv2.VideoCapture(name)
        if not capture.isOpened():
            capture.release()
            raise NotOpened(f"camera {name}: can't be opened; it is not there, or somebody else has it")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture, self._lost = capture, False
        self._grabbed_at_s = time.monotonic()
        # Not waited for at the end: a driver may never return.
        self._thread = threading.Thread(target=self._grab_all, args=(capture,), daemon=True)
        self._thread.start()

    def _grab_all(self, capture: Any) -> None:
        try:
            # The second: another one was opened since, because the driver did not return in time.
            while not self._lost and self._capture is capture:
                started_s = time.monotonic()
                with self._changed:
                    if not capture.grab():
                        self._lost = True
                    else:
                        self._grabbed += 1
                        self._grabbed_at_s = time.monotonic()
                    self._changed.notify_all()
                time.sleep(max(0.001, _LEAST_PERIOD_S - (time.monotonic() - started_s)))
        finally:
            capture.release()

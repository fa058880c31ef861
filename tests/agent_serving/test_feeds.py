"""What feeds make of files, folders, cameras and microphones, and what they say when they can't."""

from __future__ import annotations

import contextlib
import os
import sys
import time

import numpy as np
import pytest
from feed_media import HEIGHT, WIDTH, grey_level, picture, tone, video

from circinus.model.pipeline import Feed, FeedKind
from circinus.payload import decode
from edge_agent.feeds.access import Access, NotOpened
from edge_agent.feeds.feed import DirectoryFeed
from edge_agent.feeds.process import ENDED, WAITING, FeedProcess, open_feed
from edge_agent.feeds.sounds import MicrophoneFeed, Sounds

GREY = Feed(kind=FeedKind.IMAGE, field="image", form="grey", number_field="frame")
BYTES = Feed(kind=FeedKind.BYTES, field="data", form="bytes")


def sound(**changes):
    values = {
        "kind": FeedKind.AUDIO,
        "field": "audio",
        "form": "int16",
        "rate_hz": 8000,
        "chunk_ms": 500,
        "channels": 1,
    }
    return Feed(**(values | changes))


class Clock:
    def __init__(self):
        self.at_s = 100.0

    def now_s(self):
        return self.at_s

    def sleep(self, seconds):
        self.at_s += seconds


def feed_of(query_input, spec, folder, *cameras):
    return open_feed(query_input, spec, Access(folders=(str(folder),), cameras=cameras))


def process_of(query_input, spec, folder, *cameras):
    return FeedProcess(feed_of(query_input, spec, folder, *cameras), spec.number_field)


def all_of(feed):
    items = []
    while (item := feed.next()) is not None:
        items.append(item)
    return items


def test_an_image_file_is_one_item_in_the_colours_that_are_asked_for(tmp_path):
    path = picture(tmp_path / "page.png", 90)
    items = all_of(feed_of(f"file:{path}", GREY, tmp_path))
    assert [item["image"].shape for item in items] == [(HEIGHT, WIDTH)]
    (item,) = all_of(feed_of(f"file:{path}", Feed(kind=FeedKind.IMAGE, field="x", form="rgb"), tmp_path))
    assert item["x"].shape == (HEIGHT, WIDTH, 3)


def test_a_jpeg_stays_the_bytes_that_it_is(tmp_path):
    path = picture(tmp_path / "page.jpg")
    (item,) = all_of(feed_of(f"file:{path}", Feed(kind=FeedKind.IMAGE, field="image", form="jpeg"), tmp_path))
    assert item["image"] == path.read_bytes()


def test_a_video_is_its_frames_in_order_with_their_numbers_and_then_ends(tmp_path):
    path = video(tmp_path / "street.avi", [40, 120, 200])
    process = process_of(f"file:{path}", GREY, tmp_path)
    frames = [decode(process.emit(sequence).payload) for sequence in range(3)]
    assert [frame["frame"] for frame in frames] == [0, 1, 2]
    assert [grey_level(frame["image"]) for frame in frames] == pytest.approx([40, 120, 200], abs=4)
    assert process.emit(3).nothing == ENDED


def test_a_folders_files_come_in_order_of_name_and_new_ones_as_they_appear_each_once(tmp_path):
    clock = Clock()
    for name in ("b", "a", ".hidden"):
        write(tmp_path / name)
    feed = DirectoryFeed(
        str(tmp_path), Access(folders=(str(tmp_path),)), lambda path: iter([{"name": path.name}]), now_s=clock.now_s
    )
    assert [item["name"] for item in all_of(feed)] == ["a", "b"]
    write(tmp_path / "0-new")
    clock.sleep(1)
    assert [item["name"] for item in all_of(feed)] == ["0-new"]
    clock.sleep(1)
    assert all_of(feed) == []


def test_a_file_that_is_still_being_written_is_left_for_later(tmp_path):
    write(tmp_path / "whole")
    (tmp_path / "growing").write_bytes(b"ha")
    feed = feed_of(f"directory:{tmp_path}", BYTES, tmp_path)
    assert [item["data"] for item in all_of(feed)] == [b"whole"]


def test_a_bad_file_in_a_folder_is_passed_over_and_named(tmp_path):
    write(tmp_path / "bad.png")
    picture(tmp_path / "good.png")
    settle(tmp_path / "good.png")
    process = process_of(f"directory:{tmp_path}", GREY, tmp_path)
    emitted = process.emit(0)
    assert emitted.payload
    assert "bad.png: neither an image nor a video" in emitted.failure


def test_a_folder_that_vanishes_is_named_and_read_again_when_it_is_back(tmp_path):
    clock, folder = Clock(), tmp_path / "in"
    feed = DirectoryFeed(
        str(folder), Access(folders=(str(tmp_path),)), lambda path: iter([{"name": path.name}]), now_s=clock.now_s
    )
    process = FeedProcess(feed, now_s=clock.now_s)
    assert "in: No such file or directory" in process.emit(0).failure
    folder.mkdir()
    write(folder / "a")
    assert process.emit(1).failure, "the pause is kept"
    clock.sleep(60)
    emitted = process.emit(2)
    assert (decode(emitted.payload), emitted.failure) == ({"name": "a"}, "")


def test_sound_is_cut_into_chunks_at_the_rate_that_is_asked_for(tmp_path):
    path = tone(tmp_path / "talk.wav", 1.25, rate_hz=16000, channels=2, level=0.25)
    items = all_of(feed_of(f"file:{path}", sound(rate_field="rate"), tmp_path))
    assert [(len(item["audio"]), item["rate"]) for item in items] == [(4000, 8000), (4000, 8000), (2000, 8000)]
    assert items[0]["audio"].dtype == np.int16
    assert items[0]["audio"][100] == pytest.approx(0.25 * 32767, abs=2)
    (first, *_) = all_of(feed_of(f"file:{path}", sound(form="float32", channels=2), tmp_path))
    assert first["audio"].shape == (4000, 2)
    assert first["audio"][0, 0] == pytest.approx(0.25, abs=1e-3)


def test_a_microphone_keeps_its_own_pace_and_plays_again_from_the_start(tmp_path):
    clock = Clock()
    path = tone(tmp_path / "talk.wav", 1.0)
    access = Access(folders=(str(tmp_path),))
    feed = MicrophoneFeed(str(path), access, Sounds(sound()), 500, now_s=clock.now_s, sleep=clock.sleep)
    assert len(feed.next()["audio"]) == 4000
    assert clock.at_s == pytest.approx(100.5)
    # Asked late: the newest whole chunk, past the end of the file.
    clock.sleep(1.6)
    started_s = clock.at_s
    assert len(feed.next()["audio"]) == 4000
    assert clock.at_s == started_s
    assert len(feed.next()["audio"]) == 4000
    assert clock.at_s == pytest.approx(102.5)


def test_a_camera_gives_the_newest_frame_and_does_not_end(tmp_path):
    path = str(video(tmp_path / "camera.avi", [10, 20, 30, 40]))
    feed = feed_of(f"camera:{path}", GREY, tmp_path, path)
    levels = []
    for _ in range(40):
        # What stands for the camera here has four frames; then it is opened anew.
        with contextlib.suppress(NotOpened):
            item = feed.next()
            levels += [] if item is None else [grey_level(item["image"])]
        if len(levels) == 6:
            break
    feed.close()
    assert len(levels) == 6


@pytest.mark.parametrize(
    ("query_input", "reason"),
    [
        ("file:{inside}/missing.png", "missing.png: No such file or directory"),
        ("file:{inside}", "is no file"),
        ("file:{inside}/link", "not below a folder"),
        ("file:{inside}/../secret", "not below a folder"),
        ("file:/etc/hostname", "not below a folder"),
        ("file:hostname", "not below a folder"),
        ("directory:{inside}/folder-link", "not below a folder"),
        ("directory:{inside}/pipe", "is no folder"),
        ("file:{inside}/pipe", "is no file"),
        ("camera:0", "lets no query have it"),
    ],
)
def test_nothing_is_opened_that_the_owner_did_not_allow(tmp_path, query_input, reason):
    inside = tmp_path / "inside"
    inside.mkdir()
    write(tmp_path / "secret")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder-link").symlink_to(tmp_path)
    os.mkfifo(inside / "pipe")
    spec = GREY if query_input.startswith("camera") else BYTES
    emitted = process_of(query_input.format(inside=inside), spec, inside).emit(0)
    assert emitted.nothing == WAITING
    assert reason in emitted.failure


def test_an_environment_without_opencv_is_said_to_be_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "edge_agent.feeds.images", None)
    emitted = process_of(f"file:{tmp_path}/a.png", GREY, tmp_path).emit(0)
    assert "it needs opencv-python-headless and numpy" in emitted.failure


def test_a_link_in_a_folder_that_leads_outside_is_passed_over(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    write(tmp_path / "secret")
    (inside / "link").symlink_to(tmp_path / "secret")
    os.utime(inside / "link", (time.time() - 60,) * 2, follow_symlinks=False)
    emitted = process_of(f"directory:{inside}", BYTES, inside).emit(0)
    assert not emitted.payload
    assert "link: not below a folder" in emitted.failure


def write(path):
    path.write_bytes(path.name.encode())
    settle(path)


def settle(path):
    os.utime(path, (time.time() - 60,) * 2)

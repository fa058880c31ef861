"""Callers, subscribers and sinks at a device's front, through real processes; the client is Triton's, unmodified."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import grpc.aio
import pytest
from feed_media import picture, tone, video
from serving_fleet import Fleet, directive, replica_set, route, source

from circinus.errors import NotFound
from circinus.model.pipeline import Feed, FeedKind
from circinus.results import subscribe
from circinus.v1 import open_inference_pb2 as protocol
from circinus.v1 import open_inference_pb2_grpc
from edge_agent.feeds.access import Access

pytestmark = [pytest.mark.slow, pytest.mark.system]

SEEING = """
from circinus.operator import Operator

class Level(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        level = int(one["image"].mean() + 0.5)
        return {"level": level, "corner": one["image"][:2, :2].copy(), "frame": one.get("frame", -1)}

class Twice(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        if one["level"] == 255:
            raise ValueError("too bright")
        return {**one, "twice": 2 * one["level"], "note": f"level {one['level']}"}

class Loud(Operator):
    def process(self, inputs):
        (one,) = inputs.values()
        return {"samples": int(one["audio"].size), "rate": one["rate"]}
"""
GREY = Feed(kind=FeedKind.IMAGE, field="image", form="grey", number_field="frame")
SOUND = Feed(
    kind=FeedKind.AUDIO, field="audio", form="int16", rate_hz=8000, rate_field="rate", chunk_ms=100, channels=1
)
ANYWHERE = "127.0.0.1:0"

TRITON = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(sys.argv[1])

def tensor(name, array, datatype):
    made = triton.InferInput(name, array.shape, datatype)
    made.set_data_from_numpy(array)
    return made

def image(level):
    frame = tensor("frame", np.array([3], np.int64), "INT64")
    return [tensor("image", np.full((6, 8), level, np.uint8), "UINT8"), frame]

def status(call):
    try:
        call()
    except InferenceServerException as error:
        return [error.status(), error.message()]
"""


async def triton(address: str, code: str) -> dict:
    """What a program with Triton's client prints: one process can't hold the protocol's messages twice."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TRITON + code, address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


async def serve(fleet: Fleet, query_input: str, feed: Feed | None = None, access: Access | None = None, **changes):
    """A device with a pipeline of two operators; gives it."""
    (fleet.bundle / "seeing.py").write_text(SEEING)
    device = await fleet.add("camera", listen="", ingress=ANYWHERE, access=access or Access())
    spec = source(("twice",), input=query_input, feed=feed, scorer_entry_point="", **changes)
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(
                replica_set("level", "", entry_point="seeing:Level"),
                replica_set("twice", "", ("level",), entry_point="seeing:Twice"),
            ),
            routes=(route("level", ("source",), "camera"), route("twice", ("level",), "camera")),
            sources=(spec,),
        )
    )
    return device


async def first(count: int, address: str, query_id: str = "q1"):
    """The first results of a query from when its subscription stands."""
    found = []
    async for result in subscribe(address, query_id):
        found.append(result)
        if len(found) == count:
            break
    return found


async def test_tritons_client_is_served_and_told_what_is_wrong(fleet: Fleet) -> None:
    device = await serve(fleet, "push:", GREY, deadline_ms=20_000.0)
    said = await triton(
        device.ingress_address,
        """
import queue
done = queue.Queue()
whole = client.infer("q1", image(50), request_id="mine")
wanted = [triton.InferRequestedOutput("twice.twice"), triton.InferRequestedOutput("note")]
by_pipeline = client.infer("toy", image(60), outputs=wanted)
level = client.infer("q1/level", image(70))
metadata = client.get_model_metadata("q1", as_json=True)
large = client.infer("q1", [tensor("image", np.full((2160, 3840), 9, np.uint8), "UINT8"), image(1)[1]])
client.start_stream(lambda result, error: done.put((result, error)))
for number in range(4):
    client.async_stream_infer("q1", image(number), request_id=str(number))
answers = [done.get(timeout=20)[0] for _ in range(4)]
client.stop_stream()
float_image = [tensor("image", np.zeros((6, 8), np.float32), "FP32"), image(1)[1]]
flat_image = [tensor("image", np.zeros(6, np.uint8), "UINT8"), image(1)[1]]
mask = tensor("mask", np.zeros(1, np.uint8), "UINT8")
print(json.dumps({
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "models": [client.is_model_ready(name) for name in ("q1", "toy", "q1/twice", "q2")],
    "name": client.get_server_metadata().name,
    "id": whole.get_response().id,
    "ending": whole.get_response().parameters["ending"].string_param,
    "twice": whole.as_numpy("twice").tolist(),
    "note": whole.as_numpy("note").tolist()[0].decode(),
    "corner": whole.as_numpy("corner").tolist(),
    "outputs": [one.name for one in by_pipeline.get_response().outputs],
    "named": by_pipeline.as_numpy("twice.twice").tolist(),
    "level": level.as_numpy("level").tolist(),
    "large": large.as_numpy("twice").tolist(),
    "inputs": metadata["inputs"],
    "answers": metadata["outputs"],
    "stream": sorted([one.get_response().id, int(one.as_numpy("twice")[0])] for one in answers),
    "wrong": {
        "unknown": status(lambda: client.infer("q9", image(1))),
        "elsewhere": status(lambda: client.infer("q1/crop", image(1))),
        "type": status(lambda: client.infer("q1", float_image)),
        "shape": status(lambda: client.infer("q1", flat_image)),
        "missing": status(lambda: client.infer("q1", image(1)[:1])),
        "stranger": status(lambda: client.infer("q1", [*image(1), mask])),
        "output": status(lambda: client.infer("q1", image(1), outputs=[triton.InferRequestedOutput("box")])),
        "raised": status(lambda: client.infer("q1", image(255))),
        "deadline": status(lambda: client.infer("q1/level", image(1), timeout=1)),
        "version": status(lambda: client.infer("q1", image(1), model_version="7")),
    },
}))
""",
    )
    assert (said["live"], said["ready"], said["models"]) == (True, True, [True, True, True, False])
    assert (said["name"], said["id"], said["ending"]) == ("circinus", "mine", "answered")
    assert (said["twice"], said["note"], said["corner"]) == ([100], "level 50", [[50, 50], [50, 50]])
    assert (said["outputs"], said["named"]) == (["twice.twice", "note"], [120])
    assert (said["level"], said["large"]) == ([70], [18])
    assert said["inputs"] == [
        {"name": "frame", "datatype": "INT64", "shape": ["1"]},
        {"name": "image", "datatype": "UINT8", "shape": ["-1", "-1"]},
    ]
    assert {"name": "twice", "datatype": "INT64", "shape": ["1"]} in said["answers"]
    assert said["stream"] == [["0", 0], ["1", 2], ["2", 4], ["3", 6]]
    expected = {
        "unknown": ("NOT_FOUND", "there are: q1, q1/level, q1/twice"),
        "elsewhere": ("NOT_FOUND", "no model 'q1/crop' on this device"),
        "type": ("INVALID_ARGUMENT", "input 'image': is FP32; it must be UINT8"),
        "shape": ("INVALID_ARGUMENT", "input 'image': has shape [6]; it must have 2 dimensions"),
        "missing": ("INVALID_ARGUMENT", "inputs: missing: frame"),
        "stranger": ("INVALID_ARGUMENT", "input 'mask': there is no such input"),
        "output": ("INVALID_ARGUMENT", "output 'box': there is no such field"),
        "raised": ("FAILED_PRECONDITION", "operator_raised at twice: ValueError: too bright"),
        "deadline": ("DEADLINE_EXCEEDED", ""),
        "version": ("NOT_FOUND", "no version '7'"),
    }
    for name, (status, text) in expected.items():
        assert said["wrong"][name][0] == f"StatusCode.{status}", (name, said["wrong"][name])
        assert text in said["wrong"][name][1], name
    total = fleet.total(1)
    # Who asked one operator is none of the query's, and nothing that callers send has a score.
    assert (total.emitted, total.answered, list(total.scores_ratio)) == (9, 8, [])


async def test_callers_above_the_planned_rate_are_told_that_they_are_shed(fleet: Fleet) -> None:
    device = await serve(fleet, "push:", GREY, rate_per_s=0.1)
    frame = protocol.ModelInferRequest.InferInputTensor(name="frame", datatype="INT64", shape=[1])
    frame.contents.int64_contents.append(1)
    image = protocol.ModelInferRequest.InferInputTensor(name="image", datatype="UINT8", shape=[2, 2])
    image.contents.uint_contents.extend([1, 2, 3, 4])
    request = protocol.ModelInferRequest(model_name="q1", inputs=[image, frame])
    async with grpc.aio.insecure_channel(device.ingress_address) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        replies = await asyncio.gather(*(stub.ModelInfer(request) for _ in range(20)), return_exceptions=True)
    codes = [one.code() for one in replies if isinstance(one, grpc.aio.AioRpcError)]
    assert 0 < len(codes) < 20
    assert set(codes) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert [one.outputs[0].name for one in replies if not isinstance(one, grpc.aio.AioRpcError)]
    assert fleet.total(1).emitted == 20


async def test_a_video_is_served_frame_by_frame_to_a_subscriber_and_a_sink(fleet: Fleet, tmp_path: Path) -> None:
    path = video(tmp_path / "street.avi", [40, 80, 120, 160, 200])
    (tmp_path / "out").mkdir()
    device = await serve(
        fleet,
        f"file:{path}",
        GREY,
        Access(folders=(str(tmp_path),), sink_folders=(str(tmp_path / "out"),)),
        sink=f"file:{tmp_path}/out/results.jsonl",
    )
    total = await fleet.until_answered(1, 5)
    assert (total.emitted, list(total.scores_ratio)) == (5, [])
    lines: list[str] = []
    sink = tmp_path / "out" / "results.jsonl"
    await fleet.until(lambda: sink.exists() and len(sink.read_text().splitlines()) == 5)
    lines = sink.read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert [one["outputs"]["twice"]["frame"] for one in answers] == [0, 1, 2, 3, 4]
    assert [one["outputs"]["twice"]["twice"] for one in answers] == pytest.approx([80, 160, 240, 320, 400], abs=8)
    assert answers[0]["outputs"]["twice"]["corner"] == {"dtype": "uint8", "shape": [2, 2]}
    assert {one["ending"] for one in answers} == {"answered"}
    assert device.status().reason == ""


async def test_a_subscriber_gets_each_answer_once_and_the_end_of_its_query(fleet: Fleet, tmp_path: Path) -> None:
    camera = str(video(tmp_path / "camera.avi", [10, 20, 30, 40]))
    device = await serve(fleet, f"camera:{camera}", GREY, Access(cameras=(camera,)))
    found = await first(6, device.ingress_address)
    assert len({result.request_id for result in found}) == 6
    assert {result.ending for result in found} == {"answered"}
    frames = [result.outputs["twice"].fields["frame"].integer for result in found]
    assert frames == list(range(frames[0], frames[0] + 6))
    with pytest.raises(NotFound, match="there are: q1"):
        await first(1, device.ingress_address, "q7")
    listening = asyncio.create_task(first(10_000, device.ingress_address))
    await device.apply(directive("camera", 2))
    await device.activate(directive("camera", 2).generation)
    async with asyncio.timeout(20):
        await asyncio.wait((listening,))
    # It ended by itself, or its query was gone before it stood.
    assert isinstance(listening.exception(), NotFound | None)


async def test_files_of_a_folder_are_served_as_they_appear_and_what_is_wrong_is_reported(
    fleet: Fleet, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    device = await serve(fleet, f"directory:{folder}", GREY, Access(folders=(str(tmp_path),)))
    await fleet.until(lambda: "No such file or directory" in device.status().reason)
    assert device.status().phase in ("active", "drained")
    listening = asyncio.create_task(first(2, device.ingress_address))
    made = tmp_path / "made"
    made.mkdir()
    picture(made / "b.png", 30)
    picture(made / "a.png", 20)
    made.rename(folder)
    answers = await asyncio.wait_for(listening, 20)
    assert [one.outputs["twice"].fields["twice"].integer for one in answers] == [40, 60]
    await fleet.until(lambda: not device.status().reason)


async def test_a_microphone_file_is_heard_in_chunks(fleet: Fleet, tmp_path: Path) -> None:
    (fleet.bundle / "seeing.py").write_text(SEEING)
    path = tone(tmp_path / "talk.wav", 1.0, rate_hz=16000)
    device = await fleet.add("camera", listen="", ingress=ANYWHERE, access=Access(folders=(str(tmp_path),)))
    spec = source(("loud",), 10.0, input=f"microphone:{path}", feed=SOUND, scorer_entry_point="")
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(replica_set("loud", "", entry_point="seeing:Loud"),),
            routes=(route("loud", ("source",), "camera"),),
            sources=(spec,),
        )
    )
    (answer,) = await first(1, device.ingress_address)
    fields = answer.outputs["loud"].fields
    assert (fields["samples"].integer, fields["rate"].integer) == (800, 8000)

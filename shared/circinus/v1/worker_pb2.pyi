from circinus.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkerRequest(_message.Message):
    __slots__ = ("run", "emit", "score", "stop", "score_rest", "shadow", "files")
    RUN_FIELD_NUMBER: _ClassVar[int]
    EMIT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SCORE_REST_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    run: RunBatch
    emit: EmitNext
    score: ScoreAnswer
    stop: Stop
    score_rest: ScoreRest
    shadow: ShadowItem
    files: int
    def __init__(self, run: _Optional[_Union[RunBatch, _Mapping]] = ..., emit: _Optional[_Union[EmitNext, _Mapping]] = ..., score: _Optional[_Union[ScoreAnswer, _Mapping]] = ..., stop: _Optional[_Union[Stop, _Mapping]] = ..., score_rest: _Optional[_Union[ScoreRest, _Mapping]] = ..., shadow: _Optional[_Union[ShadowItem, _Mapping]] = ..., files: _Optional[int] = ...) -> None: ...

class WorkerReply(_message.Message):
    __slots__ = ("ready", "result", "emitted", "scored", "failed", "shadowed", "files")
    READY_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SHADOWED_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    ready: WorkerReady
    result: BatchResult
    emitted: Emitted
    scored: Scored
    failed: WorkerFailed
    shadowed: ShadowScore
    files: int
    def __init__(self, ready: _Optional[_Union[WorkerReady, _Mapping]] = ..., result: _Optional[_Union[BatchResult, _Mapping]] = ..., emitted: _Optional[_Union[Emitted, _Mapping]] = ..., scored: _Optional[_Union[Scored, _Mapping]] = ..., failed: _Optional[_Union[WorkerFailed, _Mapping]] = ..., shadowed: _Optional[_Union[ShadowScore, _Mapping]] = ..., files: _Optional[int] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("file", "offset", "size_bytes")
    FILE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    file: int
    offset: int
    size_bytes: int
    def __init__(self, file: _Optional[int] = ..., offset: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class LocalPayload(_message.Message):
    __slots__ = ("inline", "segment")
    INLINE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    inline: bytes
    segment: Segment
    def __init__(self, inline: _Optional[bytes] = ..., segment: _Optional[_Union[Segment, _Mapping]] = ...) -> None: ...

class LocalParts(_message.Message):
    __slots__ = ("parts",)
    PARTS_FIELD_NUMBER: _ClassVar[int]
    parts: _containers.RepeatedCompositeFieldContainer[LocalPayload]
    def __init__(self, parts: _Optional[_Iterable[_Union[LocalPayload, _Mapping]]] = ...) -> None: ...

class Sharing(_message.Message):
    __slots__ = ("from_bytes", "most_bytes")
    FROM_BYTES_FIELD_NUMBER: _ClassVar[int]
    MOST_BYTES_FIELD_NUMBER: _ClassVar[int]
    from_bytes: int
    most_bytes: int
    def __init__(self, from_bytes: _Optional[int] = ..., most_bytes: _Optional[int] = ...) -> None: ...

class Stop(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkerReady(_message.Message):
    __slots__ = ("pid", "memory_bytes")
    PID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    pid: int
    memory_bytes: int
    def __init__(self, pid: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class WorkerFailed(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class WorkItem(_message.Message):
    __slots__ = ("request_id", "inputs", "segments", "gathered", "split_by", "whole")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    class SegmentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Segment
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Segment, _Mapping]] = ...) -> None: ...
    class GatheredEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: LocalParts
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[LocalParts, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    GATHERED_FIELD_NUMBER: _ClassVar[int]
    SPLIT_BY_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    inputs: _containers.ScalarMap[str, bytes]
    segments: _containers.MessageMap[str, Segment]
    gathered: _containers.MessageMap[str, LocalParts]
    split_by: str
    whole: bool
    def __init__(self, request_id: _Optional[str] = ..., inputs: _Optional[_Mapping[str, bytes]] = ..., segments: _Optional[_Mapping[str, Segment]] = ..., gathered: _Optional[_Mapping[str, LocalParts]] = ..., split_by: _Optional[str] = ..., whole: _Optional[bool] = ...) -> None: ...

class RunBatch(_message.Message):
    __slots__ = ("items", "pace_ratio", "sharing")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    PACE_RATIO_FIELD_NUMBER: _ClassVar[int]
    SHARING_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[WorkItem]
    pace_ratio: float
    sharing: Sharing
    def __init__(self, items: _Optional[_Iterable[_Union[WorkItem, _Mapping]]] = ..., pace_ratio: _Optional[float] = ..., sharing: _Optional[_Union[Sharing, _Mapping]] = ...) -> None: ...

class WorkResult(_message.Message):
    __slots__ = ("request_id", "payload", "error", "segment", "parts")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    payload: bytes
    error: str
    segment: Segment
    parts: _containers.RepeatedCompositeFieldContainer[LocalPayload]
    def __init__(self, request_id: _Optional[str] = ..., payload: _Optional[bytes] = ..., error: _Optional[str] = ..., segment: _Optional[_Union[Segment, _Mapping]] = ..., parts: _Optional[_Iterable[_Union[LocalPayload, _Mapping]]] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("results", "wall_ms", "cpu_ms", "memory_bytes")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    WALL_MS_FIELD_NUMBER: _ClassVar[int]
    CPU_MS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[WorkResult]
    wall_ms: float
    cpu_ms: float
    memory_bytes: int
    def __init__(self, results: _Optional[_Iterable[_Union[WorkResult, _Mapping]]] = ..., wall_ms: _Optional[float] = ..., cpu_ms: _Optional[float] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class EmitNext(_message.Message):
    __slots__ = ("sequence", "sharing")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SHARING_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    sharing: Sharing
    def __init__(self, sequence: _Optional[int] = ..., sharing: _Optional[_Union[Sharing, _Mapping]] = ...) -> None: ...

class Emitted(_message.Message):
    __slots__ = ("sequence", "payload", "nothing", "failure", "segment")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    NOTHING_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    payload: bytes
    nothing: str
    failure: str
    segment: Segment
    def __init__(self, sequence: _Optional[int] = ..., payload: _Optional[bytes] = ..., nothing: _Optional[str] = ..., failure: _Optional[str] = ..., segment: _Optional[_Union[Segment, _Mapping]] = ...) -> None: ...

class ScoreAnswer(_message.Message):
    __slots__ = ("sequence", "outputs", "segments", "query_id", "readers")
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    class SegmentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Segment
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Segment, _Mapping]] = ...) -> None: ...
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    READERS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    outputs: _containers.ScalarMap[str, bytes]
    segments: _containers.MessageMap[str, Segment]
    query_id: str
    readers: int
    def __init__(self, sequence: _Optional[int] = ..., outputs: _Optional[_Mapping[str, bytes]] = ..., segments: _Optional[_Mapping[str, Segment]] = ..., query_id: _Optional[str] = ..., readers: _Optional[int] = ...) -> None: ...

class ScoreRest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Scored(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ScoredItem]
    def __init__(self, items: _Optional[_Iterable[_Union[ScoredItem, _Mapping]]] = ...) -> None: ...

class ScoredItem(_message.Message):
    __slots__ = ("sequence", "score_ratio", "error", "query_id")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SCORE_RATIO_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    score_ratio: float
    error: str
    query_id: str
    def __init__(self, sequence: _Optional[int] = ..., score_ratio: _Optional[float] = ..., error: _Optional[str] = ..., query_id: _Optional[str] = ...) -> None: ...

class WorkerConfig(_message.Message):
    __slots__ = ("socket_path", "bundle_path", "entry_point", "scorer_entry_point", "operator_id", "knobs", "pace_ratio", "content", "seed", "providers", "memory_limit_bytes", "threads", "clip", "input", "feed", "folders", "cameras", "files_fd")
    class KnobsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _types_pb2.KnobValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_types_pb2.KnobValue, _Mapping]] = ...) -> None: ...
    SOCKET_PATH_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_PATH_FIELD_NUMBER: _ClassVar[int]
    ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    SCORER_ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    KNOBS_FIELD_NUMBER: _ClassVar[int]
    PACE_RATIO_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    FOLDERS_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_FIELD_NUMBER: _ClassVar[int]
    FILES_FD_FIELD_NUMBER: _ClassVar[int]
    socket_path: str
    bundle_path: str
    entry_point: str
    scorer_entry_point: str
    operator_id: str
    knobs: _containers.MessageMap[str, _types_pb2.KnobValue]
    pace_ratio: float
    content: str
    seed: int
    providers: _containers.RepeatedScalarFieldContainer[str]
    memory_limit_bytes: int
    threads: int
    clip: int
    input: str
    feed: _types_pb2.Feed
    folders: _containers.RepeatedScalarFieldContainer[str]
    cameras: _containers.RepeatedScalarFieldContainer[str]
    files_fd: int
    def __init__(self, socket_path: _Optional[str] = ..., bundle_path: _Optional[str] = ..., entry_point: _Optional[str] = ..., scorer_entry_point: _Optional[str] = ..., operator_id: _Optional[str] = ..., knobs: _Optional[_Mapping[str, _types_pb2.KnobValue]] = ..., pace_ratio: _Optional[float] = ..., content: _Optional[str] = ..., seed: _Optional[int] = ..., providers: _Optional[_Iterable[str]] = ..., memory_limit_bytes: _Optional[int] = ..., threads: _Optional[int] = ..., clip: _Optional[int] = ..., input: _Optional[str] = ..., feed: _Optional[_Union[_types_pb2.Feed, _Mapping]] = ..., folders: _Optional[_Iterable[str]] = ..., cameras: _Optional[_Iterable[str]] = ..., files_fd: _Optional[int] = ...) -> None: ...

class ShadowItem(_message.Message):
    __slots__ = ("item", "outputs")
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    ITEM_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    item: bytes
    outputs: _containers.ScalarMap[str, bytes]
    def __init__(self, item: _Optional[bytes] = ..., outputs: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class ShadowScore(_message.Message):
    __slots__ = ("score_ratio", "error")
    SCORE_RATIO_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    score_ratio: float
    error: str
    def __init__(self, score_ratio: _Optional[float] = ..., error: _Optional[str] = ...) -> None: ...

from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OutcomeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_KIND_UNSPECIFIED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_ANSWERED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_DROPPED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_FAILED: _ClassVar[OutcomeKind]
OUTCOME_KIND_UNSPECIFIED: OutcomeKind
OUTCOME_KIND_ANSWERED: OutcomeKind
OUTCOME_KIND_DROPPED: OutcomeKind
OUTCOME_KIND_FAILED: OutcomeKind

class PeerFrame(_message.Message):
    __slots__ = ("hello", "items", "outcomes", "credits", "chunks", "padding")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    hello: PeerHello
    items: _containers.RepeatedCompositeFieldContainer[ItemMessage]
    outcomes: _containers.RepeatedCompositeFieldContainer[OutcomeMessage]
    credits: _containers.RepeatedCompositeFieldContainer[CreditReturn]
    chunks: _containers.RepeatedCompositeFieldContainer[Chunk]
    padding: bytes
    def __init__(self, hello: _Optional[_Union[PeerHello, _Mapping]] = ..., items: _Optional[_Iterable[_Union[ItemMessage, _Mapping]]] = ..., outcomes: _Optional[_Iterable[_Union[OutcomeMessage, _Mapping]]] = ..., credits: _Optional[_Iterable[_Union[CreditReturn, _Mapping]]] = ..., chunks: _Optional[_Iterable[_Union[Chunk, _Mapping]]] = ..., padding: _Optional[bytes] = ...) -> None: ...

class PeerHello(_message.Message):
    __slots__ = ("device_id", "window_bytes", "window_items")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_ITEMS_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    window_bytes: int
    window_items: int
    def __init__(self, device_id: _Optional[str] = ..., window_bytes: _Optional[int] = ..., window_items: _Optional[int] = ...) -> None: ...

class CreditReturn(_message.Message):
    __slots__ = ("query_id", "bytes", "items")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    bytes: int
    items: int
    def __init__(self, query_id: _Optional[str] = ..., bytes: _Optional[int] = ..., items: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("stream", "data", "abandoned")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FIELD_NUMBER: _ClassVar[int]
    stream: int
    data: bytes
    abandoned: bool
    def __init__(self, stream: _Optional[int] = ..., data: _Optional[bytes] = ..., abandoned: _Optional[bool] = ...) -> None: ...

class ItemMessage(_message.Message):
    __slots__ = ("request_id", "query_id", "epoch", "generation", "operator_id", "input_name", "remaining_ms", "payload", "excess", "part", "parts", "size_bytes", "stream", "trace")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_NAME_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    EXCESS_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    query_id: str
    epoch: int
    generation: int
    operator_id: str
    input_name: str
    remaining_ms: float
    payload: bytes
    excess: bool
    part: int
    parts: int
    size_bytes: int
    stream: int
    trace: bytes
    def __init__(self, request_id: _Optional[str] = ..., query_id: _Optional[str] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ..., operator_id: _Optional[str] = ..., input_name: _Optional[str] = ..., remaining_ms: _Optional[float] = ..., payload: _Optional[bytes] = ..., excess: _Optional[bool] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ..., size_bytes: _Optional[int] = ..., stream: _Optional[int] = ..., trace: _Optional[bytes] = ...) -> None: ...

class OutcomeMessage(_message.Message):
    __slots__ = ("request_id", "query_id", "generation", "kind", "cause", "detail", "operator_id", "payload", "size_bytes", "stream", "part", "parts", "trace")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    query_id: str
    generation: int
    kind: OutcomeKind
    cause: str
    detail: str
    operator_id: str
    payload: bytes
    size_bytes: int
    stream: int
    part: int
    parts: int
    trace: bytes
    def __init__(self, request_id: _Optional[str] = ..., query_id: _Optional[str] = ..., generation: _Optional[int] = ..., kind: _Optional[_Union[OutcomeKind, str]] = ..., cause: _Optional[str] = ..., detail: _Optional[str] = ..., operator_id: _Optional[str] = ..., payload: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., stream: _Optional[int] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ..., trace: _Optional[bytes] = ...) -> None: ...

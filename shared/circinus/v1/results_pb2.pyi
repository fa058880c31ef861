import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Ending(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENDING_UNSPECIFIED: _ClassVar[Ending]
    ENDING_ANSWERED: _ClassVar[Ending]
    ENDING_LATE: _ClassVar[Ending]
    ENDING_DROPPED: _ClassVar[Ending]
    ENDING_FAILED: _ClassVar[Ending]
ENDING_UNSPECIFIED: Ending
ENDING_ANSWERED: Ending
ENDING_LATE: Ending
ENDING_DROPPED: Ending
ENDING_FAILED: Ending

class SubscribeRequest(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    def __init__(self, query_id: _Optional[str] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("result", "lost")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    result: Result
    lost: int
    def __init__(self, result: _Optional[_Union[Result, _Mapping]] = ..., lost: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("request_id", "sequence", "query_id", "generation", "ending", "cause", "detail", "latency_ms", "outputs", "ended_at", "outputs_left_out")
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    sequence: int
    query_id: str
    generation: int
    ending: Ending
    cause: str
    detail: str
    latency_ms: float
    outputs: _containers.ScalarMap[str, bytes]
    ended_at: _timestamp_pb2.Timestamp
    outputs_left_out: bool
    def __init__(self, request_id: _Optional[str] = ..., sequence: _Optional[int] = ..., query_id: _Optional[str] = ..., generation: _Optional[int] = ..., ending: _Optional[_Union[Ending, str]] = ..., cause: _Optional[str] = ..., detail: _Optional[str] = ..., latency_ms: _Optional[float] = ..., outputs: _Optional[_Mapping[str, bytes]] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outputs_left_out: _Optional[bool] = ...) -> None: ...

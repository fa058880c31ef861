from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
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

class ExchangeRequest(_message.Message):
    __slots__ = ("hello", "item", "outcome")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    hello: PeerHello
    item: ItemMessage
    outcome: OutcomeMessage
    def __init__(self, hello: _Optional[_Union[PeerHello, _Mapping]] = ..., item: _Optional[_Union[ItemMessage, _Mapping]] = ..., outcome: _Optional[_Union[OutcomeMessage, _Mapping]] = ...) -> None: ...

class ExchangeResponse(_message.Message):
    __slots__ = ("hello", "item", "outcome")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    hello: PeerHello
    item: ItemMessage
    outcome: OutcomeMessage
    def __init__(self, hello: _Optional[_Union[PeerHello, _Mapping]] = ..., item: _Optional[_Union[ItemMessage, _Mapping]] = ..., outcome: _Optional[_Union[OutcomeMessage, _Mapping]] = ...) -> None: ...

class PeerHello(_message.Message):
    __slots__ = ("device_id",)
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    def __init__(self, device_id: _Optional[str] = ...) -> None: ...

class ItemMessage(_message.Message):
    __slots__ = ("request_id", "query_id", "epoch", "generation", "operator_id", "input_name", "remaining_ms", "payload", "excess", "part", "parts")
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
    def __init__(self, request_id: _Optional[str] = ..., query_id: _Optional[str] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ..., operator_id: _Optional[str] = ..., input_name: _Optional[str] = ..., remaining_ms: _Optional[float] = ..., payload: _Optional[bytes] = ..., excess: _Optional[bool] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ...) -> None: ...

class OutcomeMessage(_message.Message):
    __slots__ = ("request_id", "query_id", "generation", "kind", "cause", "detail", "operator_id", "payload")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    query_id: str
    generation: int
    kind: OutcomeKind
    cause: str
    detail: str
    operator_id: str
    payload: bytes
    def __init__(self, request_id: _Optional[str] = ..., query_id: _Optional[str] = ..., generation: _Optional[int] = ..., kind: _Optional[_Union[OutcomeKind, str]] = ..., cause: _Optional[str] = ..., detail: _Optional[str] = ..., operator_id: _Optional[str] = ..., payload: _Optional[bytes] = ...) -> None: ...

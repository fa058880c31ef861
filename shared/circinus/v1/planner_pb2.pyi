import datetime

from circinus.v1 import control_pb2 as _control_pb2
from circinus.v1 import types_pb2 as _types_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class QueryPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUERY_PHASE_UNSPECIFIED: _ClassVar[QueryPhase]
    QUERY_PHASE_PENDING: _ClassVar[QueryPhase]
    QUERY_PHASE_PROFILING: _ClassVar[QueryPhase]
    QUERY_PHASE_PLACED: _ClassVar[QueryPhase]
    QUERY_PHASE_UNPLACED: _ClassVar[QueryPhase]

class SearchPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_PHASE_UNSPECIFIED: _ClassVar[SearchPhase]
    SEARCH_PHASE_UNKNOWN: _ClassVar[SearchPhase]
    SEARCH_PHASE_PROVISIONAL: _ClassVar[SearchPhase]
    SEARCH_PHASE_CERTIFIED: _ClassVar[SearchPhase]
    SEARCH_PHASE_REFUSED: _ClassVar[SearchPhase]

class PlanChange(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLAN_CHANGE_UNSPECIFIED: _ClassVar[PlanChange]
    PLAN_CHANGE_PLACED: _ClassVar[PlanChange]
    PLAN_CHANGE_UNPLACED: _ClassVar[PlanChange]
    PLAN_CHANGE_MOVED: _ClassVar[PlanChange]
    PLAN_CHANGE_RECONFIGURED: _ClassVar[PlanChange]
    PLAN_CHANGE_RESIZED: _ClassVar[PlanChange]
    PLAN_CHANGE_UNCHANGED: _ClassVar[PlanChange]
    PLAN_CHANGE_WAITING: _ClassVar[PlanChange]

class SloField(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLO_FIELD_UNSPECIFIED: _ClassVar[SloField]
    SLO_FIELD_LATENCY_MS: _ClassVar[SloField]
    SLO_FIELD_PERCENTILE: _ClassVar[SloField]
    SLO_FIELD_ACCURACY: _ClassVar[SloField]
    SLO_FIELD_COST_PER_H: _ClassVar[SloField]
QUERY_PHASE_UNSPECIFIED: QueryPhase
QUERY_PHASE_PENDING: QueryPhase
QUERY_PHASE_PROFILING: QueryPhase
QUERY_PHASE_PLACED: QueryPhase
QUERY_PHASE_UNPLACED: QueryPhase
SEARCH_PHASE_UNSPECIFIED: SearchPhase
SEARCH_PHASE_UNKNOWN: SearchPhase
SEARCH_PHASE_PROVISIONAL: SearchPhase
SEARCH_PHASE_CERTIFIED: SearchPhase
SEARCH_PHASE_REFUSED: SearchPhase
PLAN_CHANGE_UNSPECIFIED: PlanChange
PLAN_CHANGE_PLACED: PlanChange
PLAN_CHANGE_UNPLACED: PlanChange
PLAN_CHANGE_MOVED: PlanChange
PLAN_CHANGE_RECONFIGURED: PlanChange
PLAN_CHANGE_RESIZED: PlanChange
PLAN_CHANGE_UNCHANGED: PlanChange
PLAN_CHANGE_WAITING: PlanChange
SLO_FIELD_UNSPECIFIED: SloField
SLO_FIELD_LATENCY_MS: SloField
SLO_FIELD_PERCENTILE: SloField
SLO_FIELD_ACCURACY: SloField
SLO_FIELD_COST_PER_H: SloField

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("planner_version", "epoch", "generation", "activity", "devices_connected", "devices_known", "queries_placed", "queries_unplaced", "queries_pending", "started_at", "findings", "now", "devices_cordoned", "devices_draining")
    PLANNER_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    DEVICES_CONNECTED_FIELD_NUMBER: _ClassVar[int]
    DEVICES_KNOWN_FIELD_NUMBER: _ClassVar[int]
    QUERIES_PLACED_FIELD_NUMBER: _ClassVar[int]
    QUERIES_UNPLACED_FIELD_NUMBER: _ClassVar[int]
    QUERIES_PENDING_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    DEVICES_CORDONED_FIELD_NUMBER: _ClassVar[int]
    DEVICES_DRAINING_FIELD_NUMBER: _ClassVar[int]
    planner_version: str
    epoch: int
    generation: int
    activity: str
    devices_connected: int
    devices_known: int
    queries_placed: int
    queries_unplaced: int
    queries_pending: int
    started_at: _timestamp_pb2.Timestamp
    findings: _containers.RepeatedCompositeFieldContainer[DriftFinding]
    now: _timestamp_pb2.Timestamp
    devices_cordoned: int
    devices_draining: int
    def __init__(self, planner_version: _Optional[str] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ..., activity: _Optional[str] = ..., devices_connected: _Optional[int] = ..., devices_known: _Optional[int] = ..., queries_placed: _Optional[int] = ..., queries_unplaced: _Optional[int] = ..., queries_pending: _Optional[int] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[DriftFinding, _Mapping]]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., devices_cordoned: _Optional[int] = ..., devices_draining: _Optional[int] = ...) -> None: ...

class DriftFinding(_message.Message):
    __slots__ = ("kind", "subject", "stated", "before", "after", "found_at", "began_before_s", "evidence", "returned", "query_ids")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    STATED_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    FOUND_AT_FIELD_NUMBER: _ClassVar[int]
    BEGAN_BEFORE_S_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    QUERY_IDS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    subject: str
    stated: float
    before: float
    after: float
    found_at: _timestamp_pb2.Timestamp
    began_before_s: float
    evidence: float
    returned: bool
    query_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kind: _Optional[str] = ..., subject: _Optional[str] = ..., stated: _Optional[float] = ..., before: _Optional[float] = ..., after: _Optional[float] = ..., found_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., began_before_s: _Optional[float] = ..., evidence: _Optional[float] = ..., returned: _Optional[bool] = ..., query_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DeviceState(_message.Message):
    __slots__ = ("fingerprint", "connected", "accepted_generation", "active_generation", "generation_phase", "reason", "last_seen_at", "pids", "troubles", "cordoned", "draining", "labels", "why", "since", "leaving")
    class PidsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_GENERATION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    TROUBLES_FIELD_NUMBER: _ClassVar[int]
    CORDONED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    fingerprint: _types_pb2.Fingerprint
    connected: bool
    accepted_generation: int
    active_generation: int
    generation_phase: str
    reason: str
    last_seen_at: _timestamp_pb2.Timestamp
    pids: _containers.ScalarMap[str, int]
    troubles: _containers.RepeatedScalarFieldContainer[str]
    cordoned: bool
    draining: bool
    labels: _containers.ScalarMap[str, str]
    why: str
    since: _timestamp_pb2.Timestamp
    leaving: bool
    def __init__(self, fingerprint: _Optional[_Union[_types_pb2.Fingerprint, _Mapping]] = ..., connected: _Optional[bool] = ..., accepted_generation: _Optional[int] = ..., active_generation: _Optional[int] = ..., generation_phase: _Optional[str] = ..., reason: _Optional[str] = ..., last_seen_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pids: _Optional[_Mapping[str, int]] = ..., troubles: _Optional[_Iterable[str]] = ..., cordoned: _Optional[bool] = ..., draining: _Optional[bool] = ..., labels: _Optional[_Mapping[str, str]] = ..., why: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., leaving: _Optional[bool] = ...) -> None: ...

class ListDevicesRequest(_message.Message):
    __slots__ = ("selector", "page_size", "page_token", "device_id")
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    selector: str
    page_size: int
    page_token: str
    device_id: str
    def __init__(self, selector: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., device_id: _Optional[str] = ...) -> None: ...

class ListDevicesResponse(_message.Message):
    __slots__ = ("devices", "next_page_token")
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[DeviceState]
    next_page_token: str
    def __init__(self, devices: _Optional[_Iterable[_Union[DeviceState, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CordonDeviceRequest(_message.Message):
    __slots__ = ("device_id", "lift", "why")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    LIFT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    lift: bool
    why: str
    def __init__(self, device_id: _Optional[str] = ..., lift: _Optional[bool] = ..., why: _Optional[str] = ...) -> None: ...

class CordonDeviceResponse(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: DeviceState
    def __init__(self, device: _Optional[_Union[DeviceState, _Mapping]] = ...) -> None: ...

class Staying(_message.Message):
    __slots__ = ("query_id", "operator_id", "reason")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    operator_id: str
    reason: str
    def __init__(self, query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DrainProgress(_message.Message):
    __slots__ = ("device_id", "moving", "staying", "ended", "waits_for")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    MOVING_FIELD_NUMBER: _ClassVar[int]
    STAYING_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    moving: _containers.RepeatedScalarFieldContainer[str]
    staying: _containers.RepeatedCompositeFieldContainer[Staying]
    ended: bool
    waits_for: str
    def __init__(self, device_id: _Optional[str] = ..., moving: _Optional[_Iterable[str]] = ..., staying: _Optional[_Iterable[_Union[Staying, _Mapping]]] = ..., ended: _Optional[bool] = ..., waits_for: _Optional[str] = ...) -> None: ...

class DrainDeviceRequest(_message.Message):
    __slots__ = ("device_id", "why", "wait")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    why: str
    wait: bool
    def __init__(self, device_id: _Optional[str] = ..., why: _Optional[str] = ..., wait: _Optional[bool] = ...) -> None: ...

class DrainDeviceResponse(_message.Message):
    __slots__ = ("progress",)
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    progress: DrainProgress
    def __init__(self, progress: _Optional[_Union[DrainProgress, _Mapping]] = ...) -> None: ...

class LabelDeviceRequest(_message.Message):
    __slots__ = ("device_id", "set", "remove", "reset")
    class SetEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    set: _containers.ScalarMap[str, str]
    remove: _containers.RepeatedScalarFieldContainer[str]
    reset: bool
    def __init__(self, device_id: _Optional[str] = ..., set: _Optional[_Mapping[str, str]] = ..., remove: _Optional[_Iterable[str]] = ..., reset: _Optional[bool] = ...) -> None: ...

class LabelDeviceResponse(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: DeviceState
    def __init__(self, device: _Optional[_Union[DeviceState, _Mapping]] = ...) -> None: ...

class LeaveDeviceRequest(_message.Message):
    __slots__ = ("device_id", "why", "force", "wait")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    why: str
    force: bool
    wait: bool
    def __init__(self, device_id: _Optional[str] = ..., why: _Optional[str] = ..., force: _Optional[bool] = ..., wait: _Optional[bool] = ...) -> None: ...

class LeaveDeviceResponse(_message.Message):
    __slots__ = ("progress", "gone")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    progress: DrainProgress
    gone: bool
    def __init__(self, progress: _Optional[_Union[DrainProgress, _Mapping]] = ..., gone: _Optional[bool] = ...) -> None: ...

class PlannerEvent(_message.Message):
    __slots__ = ("cursor", "at", "kind", "name", "fields", "warning")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    cursor: int
    at: _timestamp_pb2.Timestamp
    kind: str
    name: str
    fields: _containers.ScalarMap[str, str]
    warning: bool
    def __init__(self, cursor: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[str] = ..., name: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ..., warning: _Optional[bool] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("after", "limit", "kinds", "follow")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    after: int
    limit: int
    kinds: _containers.RepeatedScalarFieldContainer[str]
    follow: bool
    def __init__(self, after: _Optional[int] = ..., limit: _Optional[int] = ..., kinds: _Optional[_Iterable[str]] = ..., follow: _Optional[bool] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("events", "missed")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[PlannerEvent]
    missed: bool
    def __init__(self, events: _Optional[_Iterable[_Union[PlannerEvent, _Mapping]]] = ..., missed: _Optional[bool] = ...) -> None: ...

class UploadBlobRequest(_message.Message):
    __slots__ = ("digest", "total_bytes", "chunk")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    digest: str
    total_bytes: int
    chunk: bytes
    def __init__(self, digest: _Optional[str] = ..., total_bytes: _Optional[int] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadBlobResponse(_message.Message):
    __slots__ = ("existed",)
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    existed: bool
    def __init__(self, existed: _Optional[bool] = ...) -> None: ...

class ContentRef(_message.Message):
    __slots__ = ("name", "digest", "samples")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    samples: int
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., samples: _Optional[int] = ...) -> None: ...

class AddPipelineRequest(_message.Message):
    __slots__ = ("spec_yaml", "bundle_digest", "contents")
    SPEC_YAML_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    spec_yaml: str
    bundle_digest: str
    contents: _containers.RepeatedCompositeFieldContainer[ContentRef]
    def __init__(self, spec_yaml: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., contents: _Optional[_Iterable[_Union[ContentRef, _Mapping]]] = ...) -> None: ...

class AddPipelineResponse(_message.Message):
    __slots__ = ("pipeline_id",)
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    pipeline_id: str
    def __init__(self, pipeline_id: _Optional[str] = ...) -> None: ...

class PipelineState(_message.Message):
    __slots__ = ("id", "bundle_digest", "environment_digest", "contents", "operator_ids", "configurations", "queries", "inputs", "spec_digest")
    ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_IDS_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATIONS_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SPEC_DIGEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    bundle_digest: str
    environment_digest: str
    contents: _containers.RepeatedCompositeFieldContainer[ContentRef]
    operator_ids: _containers.RepeatedScalarFieldContainer[str]
    configurations: int
    queries: int
    inputs: _containers.RepeatedCompositeFieldContainer[OperatorInputs]
    spec_digest: str
    def __init__(self, id: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., environment_digest: _Optional[str] = ..., contents: _Optional[_Iterable[_Union[ContentRef, _Mapping]]] = ..., operator_ids: _Optional[_Iterable[str]] = ..., configurations: _Optional[int] = ..., queries: _Optional[int] = ..., inputs: _Optional[_Iterable[_Union[OperatorInputs, _Mapping]]] = ..., spec_digest: _Optional[str] = ...) -> None: ...

class OperatorInputs(_message.Message):
    __slots__ = ("operator_id", "inputs")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, operator_id: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ...) -> None: ...

class ListPipelinesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPipelinesResponse(_message.Message):
    __slots__ = ("pipelines",)
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    pipelines: _containers.RepeatedCompositeFieldContainer[PipelineState]
    def __init__(self, pipelines: _Optional[_Iterable[_Union[PipelineState, _Mapping]]] = ...) -> None: ...

class RemovePipelineRequest(_message.Message):
    __slots__ = ("pipeline_id",)
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    pipeline_id: str
    def __init__(self, pipeline_id: _Optional[str] = ...) -> None: ...

class RemovePipelineResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SubmitQueriesRequest(_message.Message):
    __slots__ = ("queries",)
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    queries: _containers.RepeatedCompositeFieldContainer[_types_pb2.Query]
    def __init__(self, queries: _Optional[_Iterable[_Union[_types_pb2.Query, _Mapping]]] = ...) -> None: ...

class SubmitQueriesResponse(_message.Message):
    __slots__ = ("query_ids",)
    QUERY_IDS_FIELD_NUMBER: _ClassVar[int]
    query_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, query_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchStep(_message.Message):
    __slots__ = ("at", "phase", "configuration", "accuracy_ratio", "cost_per_h", "samples_done", "elapsed_s")
    AT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_RATIO_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_DONE_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    phase: SearchPhase
    configuration: _types_pb2.Configuration
    accuracy_ratio: _types_pb2.Interval
    cost_per_h: float
    samples_done: int
    elapsed_s: float
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., phase: _Optional[_Union[SearchPhase, str]] = ..., configuration: _Optional[_Union[_types_pb2.Configuration, _Mapping]] = ..., accuracy_ratio: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., cost_per_h: _Optional[float] = ..., samples_done: _Optional[int] = ..., elapsed_s: _Optional[float] = ...) -> None: ...

class SearchState(_message.Message):
    __slots__ = ("phase", "finished", "configuration", "probability_ratio", "accuracy_ratio", "agreement", "cost_per_h", "samples_done", "operator_s", "profile_cost", "candidates_left", "eta_s", "stopped", "history")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_RATIO_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_RATIO_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_DONE_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_S_FIELD_NUMBER: _ClassVar[int]
    PROFILE_COST_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_LEFT_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    phase: SearchPhase
    finished: bool
    configuration: _types_pb2.Configuration
    probability_ratio: float
    accuracy_ratio: _types_pb2.Interval
    agreement: bool
    cost_per_h: float
    samples_done: int
    operator_s: float
    profile_cost: float
    candidates_left: int
    eta_s: float
    stopped: str
    history: _containers.RepeatedCompositeFieldContainer[SearchStep]
    def __init__(self, phase: _Optional[_Union[SearchPhase, str]] = ..., finished: _Optional[bool] = ..., configuration: _Optional[_Union[_types_pb2.Configuration, _Mapping]] = ..., probability_ratio: _Optional[float] = ..., accuracy_ratio: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., agreement: _Optional[bool] = ..., cost_per_h: _Optional[float] = ..., samples_done: _Optional[int] = ..., operator_s: _Optional[float] = ..., profile_cost: _Optional[float] = ..., candidates_left: _Optional[int] = ..., eta_s: _Optional[float] = ..., stopped: _Optional[str] = ..., history: _Optional[_Iterable[_Union[SearchStep, _Mapping]]] = ...) -> None: ...

class QueryState(_message.Message):
    __slots__ = ("query", "phase", "reason", "plan", "generation", "serving", "search", "findings", "stand_by")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    STAND_BY_FIELD_NUMBER: _ClassVar[int]
    query: _types_pb2.Query
    phase: QueryPhase
    reason: str
    plan: _types_pb2.Plan
    generation: int
    serving: bool
    search: SearchState
    findings: _containers.RepeatedCompositeFieldContainer[DriftFinding]
    stand_by: StandByState
    def __init__(self, query: _Optional[_Union[_types_pb2.Query, _Mapping]] = ..., phase: _Optional[_Union[QueryPhase, str]] = ..., reason: _Optional[str] = ..., plan: _Optional[_Union[_types_pb2.Plan, _Mapping]] = ..., generation: _Optional[int] = ..., serving: _Optional[bool] = ..., search: _Optional[_Union[SearchState, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[DriftFinding, _Mapping]]] = ..., stand_by: _Optional[_Union[StandByState, _Mapping]] = ...) -> None: ...

class ListQueriesRequest(_message.Message):
    __slots__ = ("query_id", "selector", "page_size", "page_token")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    selector: str
    page_size: int
    page_token: str
    def __init__(self, query_id: _Optional[str] = ..., selector: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListQueriesResponse(_message.Message):
    __slots__ = ("queries", "next_page_token")
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    queries: _containers.RepeatedCompositeFieldContainer[QueryState]
    next_page_token: str
    def __init__(self, queries: _Optional[_Iterable[_Union[QueryState, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchQueryRequest(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    def __init__(self, query_id: _Optional[str] = ...) -> None: ...

class WatchQueryResponse(_message.Message):
    __slots__ = ("query",)
    QUERY_FIELD_NUMBER: _ClassVar[int]
    query: QueryState
    def __init__(self, query: _Optional[_Union[QueryState, _Mapping]] = ...) -> None: ...

class RemoveQueryRequest(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    def __init__(self, query_id: _Optional[str] = ...) -> None: ...

class RemoveQueryResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Unplaced(_message.Message):
    __slots__ = ("query_id", "reason")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    reason: str
    def __init__(self, query_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class MachineUse(_message.Message):
    __slots__ = ("device_id", "machines", "cores", "cost_per_h")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    MACHINES_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    machines: int
    cores: float
    cost_per_h: float
    def __init__(self, device_id: _Optional[str] = ..., machines: _Optional[int] = ..., cores: _Optional[float] = ..., cost_per_h: _Optional[float] = ...) -> None: ...

class SelectionSummary(_message.Message):
    __slots__ = ("plans", "unplaced", "goodput_per_s", "goodput_bound_per_s", "gap_ratio", "cost_per_h", "cost_bound_per_h", "cost_gap_ratio", "solver_status", "solver_s", "pending", "machines", "traffic_cost_per_h", "provisional_per_s", "stand_bys")
    PLANS_FIELD_NUMBER: _ClassVar[int]
    UNPLACED_FIELD_NUMBER: _ClassVar[int]
    GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    GOODPUT_BOUND_PER_S_FIELD_NUMBER: _ClassVar[int]
    GAP_RATIO_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    COST_BOUND_PER_H_FIELD_NUMBER: _ClassVar[int]
    COST_GAP_RATIO_FIELD_NUMBER: _ClassVar[int]
    SOLVER_STATUS_FIELD_NUMBER: _ClassVar[int]
    SOLVER_S_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    MACHINES_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_PER_S_FIELD_NUMBER: _ClassVar[int]
    STAND_BYS_FIELD_NUMBER: _ClassVar[int]
    plans: _containers.RepeatedCompositeFieldContainer[_types_pb2.Plan]
    unplaced: _containers.RepeatedCompositeFieldContainer[Unplaced]
    goodput_per_s: float
    goodput_bound_per_s: float
    gap_ratio: float
    cost_per_h: float
    cost_bound_per_h: float
    cost_gap_ratio: float
    solver_status: str
    solver_s: float
    pending: _containers.RepeatedCompositeFieldContainer[Unplaced]
    machines: _containers.RepeatedCompositeFieldContainer[MachineUse]
    traffic_cost_per_h: float
    provisional_per_s: float
    stand_bys: _containers.RepeatedCompositeFieldContainer[StandByState]
    def __init__(self, plans: _Optional[_Iterable[_Union[_types_pb2.Plan, _Mapping]]] = ..., unplaced: _Optional[_Iterable[_Union[Unplaced, _Mapping]]] = ..., goodput_per_s: _Optional[float] = ..., goodput_bound_per_s: _Optional[float] = ..., gap_ratio: _Optional[float] = ..., cost_per_h: _Optional[float] = ..., cost_bound_per_h: _Optional[float] = ..., cost_gap_ratio: _Optional[float] = ..., solver_status: _Optional[str] = ..., solver_s: _Optional[float] = ..., pending: _Optional[_Iterable[_Union[Unplaced, _Mapping]]] = ..., machines: _Optional[_Iterable[_Union[MachineUse, _Mapping]]] = ..., traffic_cost_per_h: _Optional[float] = ..., provisional_per_s: _Optional[float] = ..., stand_bys: _Optional[_Iterable[_Union[StandByState, _Mapping]]] = ...) -> None: ...

class StandByState(_message.Message):
    __slots__ = ("query_id", "stand_by", "reason", "episodes")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    STAND_BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    stand_by: _types_pb2.StandBy
    reason: str
    episodes: _containers.RepeatedCompositeFieldContainer[_control_pb2.StandByEpisode]
    def __init__(self, query_id: _Optional[str] = ..., stand_by: _Optional[_Union[_types_pb2.StandBy, _Mapping]] = ..., reason: _Optional[str] = ..., episodes: _Optional[_Iterable[_Union[_control_pb2.StandByEpisode, _Mapping]]] = ...) -> None: ...

class PlanSelectionRequest(_message.Message):
    __slots__ = ("extra_queries", "rivals_of", "without_queries")
    EXTRA_QUERIES_FIELD_NUMBER: _ClassVar[int]
    RIVALS_OF_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_QUERIES_FIELD_NUMBER: _ClassVar[int]
    extra_queries: _containers.RepeatedCompositeFieldContainer[_types_pb2.Query]
    rivals_of: int
    without_queries: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, extra_queries: _Optional[_Iterable[_Union[_types_pb2.Query, _Mapping]]] = ..., rivals_of: _Optional[int] = ..., without_queries: _Optional[_Iterable[str]] = ...) -> None: ...

class PlanSelectionResponse(_message.Message):
    __slots__ = ("selection", "diff", "details")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    selection: SelectionSummary
    diff: PlanDiff
    details: _containers.RepeatedCompositeFieldContainer[PlanDetail]
    def __init__(self, selection: _Optional[_Union[SelectionSummary, _Mapping]] = ..., diff: _Optional[_Union[PlanDiff, _Mapping]] = ..., details: _Optional[_Iterable[_Union[PlanDetail, _Mapping]]] = ...) -> None: ...

class PlannedOperator(_message.Message):
    __slots__ = ("operator_id", "device_id", "service_p95_ms", "wait_ms", "cost_per_h", "samples", "measured_at", "why")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_P95_MS_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    device_id: str
    service_p95_ms: _types_pb2.Interval
    wait_ms: float
    cost_per_h: float
    samples: int
    measured_at: _timestamp_pb2.Timestamp
    why: str
    def __init__(self, operator_id: _Optional[str] = ..., device_id: _Optional[str] = ..., service_p95_ms: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., wait_ms: _Optional[float] = ..., cost_per_h: _Optional[float] = ..., samples: _Optional[int] = ..., measured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., why: _Optional[str] = ...) -> None: ...

class PlanDetail(_message.Message):
    __slots__ = ("query_id", "rate_per_s", "operators", "traffic_per_h", "why", "rivals")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_PER_H_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    RIVALS_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    rate_per_s: float
    operators: _containers.RepeatedCompositeFieldContainer[PlannedOperator]
    traffic_per_h: float
    why: str
    rivals: _containers.RepeatedCompositeFieldContainer[ExplainedRival]
    def __init__(self, query_id: _Optional[str] = ..., rate_per_s: _Optional[float] = ..., operators: _Optional[_Iterable[_Union[PlannedOperator, _Mapping]]] = ..., traffic_per_h: _Optional[float] = ..., why: _Optional[str] = ..., rivals: _Optional[_Iterable[_Union[ExplainedRival, _Mapping]]] = ...) -> None: ...

class QueryDiff(_message.Message):
    __slots__ = ("query_id", "change", "before", "after", "cost_before_per_h", "cost_after_per_h", "reason")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    COST_BEFORE_PER_H_FIELD_NUMBER: _ClassVar[int]
    COST_AFTER_PER_H_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    change: PlanChange
    before: _types_pb2.Plan
    after: _types_pb2.Plan
    cost_before_per_h: float
    cost_after_per_h: float
    reason: str
    def __init__(self, query_id: _Optional[str] = ..., change: _Optional[_Union[PlanChange, str]] = ..., before: _Optional[_Union[_types_pb2.Plan, _Mapping]] = ..., after: _Optional[_Union[_types_pb2.Plan, _Mapping]] = ..., cost_before_per_h: _Optional[float] = ..., cost_after_per_h: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class DeviceDiff(_message.Message):
    __slots__ = ("device_id", "start", "stop", "keep", "cores_before", "cores_after", "cost_before_per_h", "cost_after_per_h")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    CORES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    CORES_AFTER_FIELD_NUMBER: _ClassVar[int]
    COST_BEFORE_PER_H_FIELD_NUMBER: _ClassVar[int]
    COST_AFTER_PER_H_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    start: int
    stop: int
    keep: int
    cores_before: float
    cores_after: float
    cost_before_per_h: float
    cost_after_per_h: float
    def __init__(self, device_id: _Optional[str] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ..., keep: _Optional[int] = ..., cores_before: _Optional[float] = ..., cores_after: _Optional[float] = ..., cost_before_per_h: _Optional[float] = ..., cost_after_per_h: _Optional[float] = ...) -> None: ...

class SelectionFigures(_message.Message):
    __slots__ = ("plans", "unplaced", "goodput_per_s", "goodput_bound_per_s", "gap_ratio", "provisional_per_s", "cost_per_h", "cost_bound_per_h", "cost_gap_ratio", "solver_status")
    PLANS_FIELD_NUMBER: _ClassVar[int]
    UNPLACED_FIELD_NUMBER: _ClassVar[int]
    GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    GOODPUT_BOUND_PER_S_FIELD_NUMBER: _ClassVar[int]
    GAP_RATIO_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_PER_S_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    COST_BOUND_PER_H_FIELD_NUMBER: _ClassVar[int]
    COST_GAP_RATIO_FIELD_NUMBER: _ClassVar[int]
    SOLVER_STATUS_FIELD_NUMBER: _ClassVar[int]
    plans: int
    unplaced: int
    goodput_per_s: float
    goodput_bound_per_s: float
    gap_ratio: float
    provisional_per_s: float
    cost_per_h: float
    cost_bound_per_h: float
    cost_gap_ratio: float
    solver_status: str
    def __init__(self, plans: _Optional[int] = ..., unplaced: _Optional[int] = ..., goodput_per_s: _Optional[float] = ..., goodput_bound_per_s: _Optional[float] = ..., gap_ratio: _Optional[float] = ..., provisional_per_s: _Optional[float] = ..., cost_per_h: _Optional[float] = ..., cost_bound_per_h: _Optional[float] = ..., cost_gap_ratio: _Optional[float] = ..., solver_status: _Optional[str] = ...) -> None: ...

class PlanDiff(_message.Message):
    __slots__ = ("before", "after", "queries", "devices")
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    before: SelectionFigures
    after: SelectionFigures
    queries: _containers.RepeatedCompositeFieldContainer[QueryDiff]
    devices: _containers.RepeatedCompositeFieldContainer[DeviceDiff]
    def __init__(self, before: _Optional[_Union[SelectionFigures, _Mapping]] = ..., after: _Optional[_Union[SelectionFigures, _Mapping]] = ..., queries: _Optional[_Iterable[_Union[QueryDiff, _Mapping]]] = ..., devices: _Optional[_Iterable[_Union[DeviceDiff, _Mapping]]] = ...) -> None: ...

class AddDevices(_message.Message):
    __slots__ = ("count", "like", "site")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LIKE_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    count: int
    like: str
    site: str
    def __init__(self, count: _Optional[int] = ..., like: _Optional[str] = ..., site: _Optional[str] = ...) -> None: ...

class RemoveDevice(_message.Message):
    __slots__ = ("device_id", "count")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    count: int
    def __init__(self, device_id: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class CordonDevice(_message.Message):
    __slots__ = ("device_id",)
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    def __init__(self, device_id: _Optional[str] = ...) -> None: ...

class NewFigure(_message.Message):
    __slots__ = ("value", "factor")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    value: float
    factor: bool
    def __init__(self, value: _Optional[float] = ..., factor: _Optional[bool] = ...) -> None: ...

class SetRate(_message.Message):
    __slots__ = ("query_id", "rate_per_s")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    rate_per_s: NewFigure
    def __init__(self, query_id: _Optional[str] = ..., rate_per_s: _Optional[_Union[NewFigure, _Mapping]] = ...) -> None: ...

class SetWeight(_message.Message):
    __slots__ = ("query_id", "weight")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    weight: NewFigure
    def __init__(self, query_id: _Optional[str] = ..., weight: _Optional[_Union[NewFigure, _Mapping]] = ...) -> None: ...

class SetPrice(_message.Message):
    __slots__ = ("device_id", "price_per_h")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_H_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    price_per_h: NewFigure
    def __init__(self, device_id: _Optional[str] = ..., price_per_h: _Optional[_Union[NewFigure, _Mapping]] = ...) -> None: ...

class SetSlo(_message.Message):
    __slots__ = ("query_id", "field", "value")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    field: SloField
    value: float
    def __init__(self, query_id: _Optional[str] = ..., field: _Optional[_Union[SloField, str]] = ..., value: _Optional[float] = ...) -> None: ...

class WhatIfChange(_message.Message):
    __slots__ = ("add_devices", "remove_device", "cordon_device", "set_rate", "set_price", "set_slo", "set_weight")
    ADD_DEVICES_FIELD_NUMBER: _ClassVar[int]
    REMOVE_DEVICE_FIELD_NUMBER: _ClassVar[int]
    CORDON_DEVICE_FIELD_NUMBER: _ClassVar[int]
    SET_RATE_FIELD_NUMBER: _ClassVar[int]
    SET_PRICE_FIELD_NUMBER: _ClassVar[int]
    SET_SLO_FIELD_NUMBER: _ClassVar[int]
    SET_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    add_devices: AddDevices
    remove_device: RemoveDevice
    cordon_device: CordonDevice
    set_rate: SetRate
    set_price: SetPrice
    set_slo: SetSlo
    set_weight: SetWeight
    def __init__(self, add_devices: _Optional[_Union[AddDevices, _Mapping]] = ..., remove_device: _Optional[_Union[RemoveDevice, _Mapping]] = ..., cordon_device: _Optional[_Union[CordonDevice, _Mapping]] = ..., set_rate: _Optional[_Union[SetRate, _Mapping]] = ..., set_price: _Optional[_Union[SetPrice, _Mapping]] = ..., set_slo: _Optional[_Union[SetSlo, _Mapping]] = ..., set_weight: _Optional[_Union[SetWeight, _Mapping]] = ...) -> None: ...

class WhatIfRequest(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[WhatIfChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[WhatIfChange, _Mapping]]] = ...) -> None: ...

class WhatIfResponse(_message.Message):
    __slots__ = ("told", "diff")
    TOLD_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    told: _containers.RepeatedScalarFieldContainer[str]
    diff: PlanDiff
    def __init__(self, told: _Optional[_Iterable[str]] = ..., diff: _Optional[_Union[PlanDiff, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    def __init__(self, query_id: _Optional[str] = ...) -> None: ...

class ExplainedLimit(_message.Message):
    __slots__ = ("kind", "subject", "bound", "text")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    subject: _containers.RepeatedScalarFieldContainer[str]
    bound: float
    text: str
    def __init__(self, kind: _Optional[str] = ..., subject: _Optional[_Iterable[str]] = ..., bound: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class ExplainedRelaxation(_message.Message):
    __slots__ = ("limit", "bound", "amount", "text", "exact")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    limit: ExplainedLimit
    bound: float
    amount: float
    text: str
    exact: bool
    def __init__(self, limit: _Optional[_Union[ExplainedLimit, _Mapping]] = ..., bound: _Optional[float] = ..., amount: _Optional[float] = ..., text: _Optional[str] = ..., exact: _Optional[bool] = ...) -> None: ...

class ExplainedOperator(_message.Message):
    __slots__ = ("operator", "machine", "replicas", "cores", "batch", "share_ratio")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SHARE_RATIO_FIELD_NUMBER: _ClassVar[int]
    operator: str
    machine: str
    replicas: int
    cores: float
    batch: int
    share_ratio: float
    def __init__(self, operator: _Optional[str] = ..., machine: _Optional[str] = ..., replicas: _Optional[int] = ..., cores: _Optional[float] = ..., batch: _Optional[int] = ..., share_ratio: _Optional[float] = ...) -> None: ...

class ExplainedPlan(_message.Message):
    __slots__ = ("configuration", "operators", "latency_ms", "accuracy", "cost_per_h")
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    configuration: _types_pb2.Configuration
    operators: _containers.RepeatedCompositeFieldContainer[ExplainedOperator]
    latency_ms: float
    accuracy: float
    cost_per_h: float
    def __init__(self, configuration: _Optional[_Union[_types_pb2.Configuration, _Mapping]] = ..., operators: _Optional[_Iterable[_Union[ExplainedOperator, _Mapping]]] = ..., latency_ms: _Optional[float] = ..., accuracy: _Optional[float] = ..., cost_per_h: _Optional[float] = ...) -> None: ...

class ExplainedMargin(_message.Message):
    __slots__ = ("limit", "value", "slack", "tight", "cheaper_at", "saves_per_h")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SLACK_FIELD_NUMBER: _ClassVar[int]
    TIGHT_FIELD_NUMBER: _ClassVar[int]
    CHEAPER_AT_FIELD_NUMBER: _ClassVar[int]
    SAVES_PER_H_FIELD_NUMBER: _ClassVar[int]
    limit: ExplainedLimit
    value: float
    slack: float
    tight: bool
    cheaper_at: ExplainedRelaxation
    saves_per_h: float
    def __init__(self, limit: _Optional[_Union[ExplainedLimit, _Mapping]] = ..., value: _Optional[float] = ..., slack: _Optional[float] = ..., tight: _Optional[bool] = ..., cheaper_at: _Optional[_Union[ExplainedRelaxation, _Mapping]] = ..., saves_per_h: _Optional[float] = ...) -> None: ...

class ExplainedBinding(_message.Message):
    __slots__ = ("relaxation", "saves_per_h")
    RELAXATION_FIELD_NUMBER: _ClassVar[int]
    SAVES_PER_H_FIELD_NUMBER: _ClassVar[int]
    relaxation: ExplainedRelaxation
    saves_per_h: float
    def __init__(self, relaxation: _Optional[_Union[ExplainedRelaxation, _Mapping]] = ..., saves_per_h: _Optional[float] = ...) -> None: ...

class ExplainedRival(_message.Message):
    __slots__ = ("plan", "adds_per_h", "reason", "wins_if", "change_ratio", "relaxation")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ADDS_PER_H_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WINS_IF_FIELD_NUMBER: _ClassVar[int]
    CHANGE_RATIO_FIELD_NUMBER: _ClassVar[int]
    RELAXATION_FIELD_NUMBER: _ClassVar[int]
    plan: ExplainedPlan
    adds_per_h: float
    reason: str
    wins_if: str
    change_ratio: float
    relaxation: ExplainedRelaxation
    def __init__(self, plan: _Optional[_Union[ExplainedPlan, _Mapping]] = ..., adds_per_h: _Optional[float] = ..., reason: _Optional[str] = ..., wins_if: _Optional[str] = ..., change_ratio: _Optional[float] = ..., relaxation: _Optional[_Union[ExplainedRelaxation, _Mapping]] = ...) -> None: ...

class ExplainedConflict(_message.Message):
    __slots__ = ("reason", "limits", "relaxations", "together", "alone", "displaces", "exact")
    REASON_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    RELAXATIONS_FIELD_NUMBER: _ClassVar[int]
    TOGETHER_FIELD_NUMBER: _ClassVar[int]
    ALONE_FIELD_NUMBER: _ClassVar[int]
    DISPLACES_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    limits: _containers.RepeatedCompositeFieldContainer[ExplainedLimit]
    relaxations: _containers.RepeatedCompositeFieldContainer[ExplainedRelaxation]
    together: _containers.RepeatedCompositeFieldContainer[ExplainedRelaxation]
    alone: bool
    displaces: _containers.RepeatedScalarFieldContainer[str]
    exact: bool
    def __init__(self, reason: _Optional[str] = ..., limits: _Optional[_Iterable[_Union[ExplainedLimit, _Mapping]]] = ..., relaxations: _Optional[_Iterable[_Union[ExplainedRelaxation, _Mapping]]] = ..., together: _Optional[_Iterable[_Union[ExplainedRelaxation, _Mapping]]] = ..., alone: _Optional[bool] = ..., displaces: _Optional[_Iterable[str]] = ..., exact: _Optional[bool] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("version", "query", "placed", "why", "exact", "plan", "margins", "binding", "rivals", "conflict")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    MARGINS_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    RIVALS_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    version: int
    query: str
    placed: bool
    why: str
    exact: bool
    plan: ExplainedPlan
    margins: _containers.RepeatedCompositeFieldContainer[ExplainedMargin]
    binding: _containers.RepeatedCompositeFieldContainer[ExplainedBinding]
    rivals: _containers.RepeatedCompositeFieldContainer[ExplainedRival]
    conflict: ExplainedConflict
    def __init__(self, version: _Optional[int] = ..., query: _Optional[str] = ..., placed: _Optional[bool] = ..., why: _Optional[str] = ..., exact: _Optional[bool] = ..., plan: _Optional[_Union[ExplainedPlan, _Mapping]] = ..., margins: _Optional[_Iterable[_Union[ExplainedMargin, _Mapping]]] = ..., binding: _Optional[_Iterable[_Union[ExplainedBinding, _Mapping]]] = ..., rivals: _Optional[_Iterable[_Union[ExplainedRival, _Mapping]]] = ..., conflict: _Optional[_Union[ExplainedConflict, _Mapping]] = ...) -> None: ...

class ExportRecordRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExportRecordResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class WatchProgressRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchProgressResponse(_message.Message):
    __slots__ = ("activity", "profiles", "generation", "settled", "message")
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    activity: str
    profiles: _containers.RepeatedCompositeFieldContainer[ProfileTask]
    generation: int
    settled: bool
    message: str
    def __init__(self, activity: _Optional[str] = ..., profiles: _Optional[_Iterable[_Union[ProfileTask, _Mapping]]] = ..., generation: _Optional[int] = ..., settled: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class ProfileTask(_message.Message):
    __slots__ = ("id", "device_id", "pipeline_id", "content", "accuracy", "samples_done", "samples_total", "elapsed_s", "eta_s")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_DONE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    id: str
    device_id: str
    pipeline_id: str
    content: str
    accuracy: bool
    samples_done: int
    samples_total: int
    elapsed_s: float
    eta_s: float
    def __init__(self, id: _Optional[str] = ..., device_id: _Optional[str] = ..., pipeline_id: _Optional[str] = ..., content: _Optional[str] = ..., accuracy: _Optional[bool] = ..., samples_done: _Optional[int] = ..., samples_total: _Optional[int] = ..., elapsed_s: _Optional[float] = ..., eta_s: _Optional[float] = ...) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ("since", "page_size", "page_token")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class LedgerEntry(_message.Message):
    __slots__ = ("query_id", "generation", "duration_s", "emitted", "answered", "late", "dropped", "failed", "causes", "latency_p50_ms", "latency_p95_ms", "accuracy_ratio", "scored", "item_goodput_per_s", "plan", "predicted_accuracy_ratio", "planned_item_goodput_per_s", "operators", "stand_by_answered", "stand_bys", "gaps", "latency_p99_ms", "agreement_ratio", "agreement_items", "bytes_sent")
    class CausesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P50_MS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P95_MS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_RATIO_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    ITEM_GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_ACCURACY_RATIO_FIELD_NUMBER: _ClassVar[int]
    PLANNED_ITEM_GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    STAND_BY_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    STAND_BYS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P99_MS_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_RATIO_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_ITEMS_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    generation: int
    duration_s: float
    emitted: int
    answered: int
    late: int
    dropped: int
    failed: int
    causes: _containers.ScalarMap[str, int]
    latency_p50_ms: float
    latency_p95_ms: float
    accuracy_ratio: float
    scored: int
    item_goodput_per_s: float
    plan: _types_pb2.Plan
    predicted_accuracy_ratio: _types_pb2.Interval
    planned_item_goodput_per_s: float
    operators: _containers.RepeatedCompositeFieldContainer[_types_pb2.OperatorWindow]
    stand_by_answered: int
    stand_bys: _containers.RepeatedCompositeFieldContainer[_control_pb2.StandByEpisode]
    gaps: _containers.RepeatedCompositeFieldContainer[_control_pb2.TelemetryGap]
    latency_p99_ms: float
    agreement_ratio: float
    agreement_items: int
    bytes_sent: int
    def __init__(self, query_id: _Optional[str] = ..., generation: _Optional[int] = ..., duration_s: _Optional[float] = ..., emitted: _Optional[int] = ..., answered: _Optional[int] = ..., late: _Optional[int] = ..., dropped: _Optional[int] = ..., failed: _Optional[int] = ..., causes: _Optional[_Mapping[str, int]] = ..., latency_p50_ms: _Optional[float] = ..., latency_p95_ms: _Optional[float] = ..., accuracy_ratio: _Optional[float] = ..., scored: _Optional[int] = ..., item_goodput_per_s: _Optional[float] = ..., plan: _Optional[_Union[_types_pb2.Plan, _Mapping]] = ..., predicted_accuracy_ratio: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., planned_item_goodput_per_s: _Optional[float] = ..., operators: _Optional[_Iterable[_Union[_types_pb2.OperatorWindow, _Mapping]]] = ..., stand_by_answered: _Optional[int] = ..., stand_bys: _Optional[_Iterable[_Union[_control_pb2.StandByEpisode, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[_control_pb2.TelemetryGap, _Mapping]]] = ..., latency_p99_ms: _Optional[float] = ..., agreement_ratio: _Optional[float] = ..., agreement_items: _Optional[int] = ..., bytes_sent: _Optional[int] = ...) -> None: ...

class GetLedgerResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LedgerEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[LedgerEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class OperatorPromise(_message.Message):
    __slots__ = ("operator_id", "device_id", "replicas", "cores", "share_ratio", "rate_per_s", "service_ms", "queue_ms", "output_bytes", "corrected_ratio")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    SHARE_RATIO_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    SERVICE_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_RATIO_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    device_id: str
    replicas: int
    cores: float
    share_ratio: float
    rate_per_s: float
    service_ms: _types_pb2.Interval
    queue_ms: float
    output_bytes: float
    corrected_ratio: float
    def __init__(self, operator_id: _Optional[str] = ..., device_id: _Optional[str] = ..., replicas: _Optional[int] = ..., cores: _Optional[float] = ..., share_ratio: _Optional[float] = ..., rate_per_s: _Optional[float] = ..., service_ms: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., queue_ms: _Optional[float] = ..., output_bytes: _Optional[float] = ..., corrected_ratio: _Optional[float] = ...) -> None: ...

class Promise(_message.Message):
    __slots__ = ("pipeline_id", "content", "rate_per_s", "slo", "plan", "latency_ms", "latency_p50_ms", "spread_ratio", "sampling_ratio", "freedom", "operators", "accuracy_error_ratio")
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    SLO_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P50_MS_FIELD_NUMBER: _ClassVar[int]
    SPREAD_RATIO_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_RATIO_FIELD_NUMBER: _ClassVar[int]
    FREEDOM_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_ERROR_RATIO_FIELD_NUMBER: _ClassVar[int]
    pipeline_id: str
    content: str
    rate_per_s: float
    slo: _types_pb2.Slo
    plan: _types_pb2.Plan
    latency_ms: float
    latency_p50_ms: float
    spread_ratio: float
    sampling_ratio: float
    freedom: float
    operators: _containers.RepeatedCompositeFieldContainer[OperatorPromise]
    accuracy_error_ratio: float
    def __init__(self, pipeline_id: _Optional[str] = ..., content: _Optional[str] = ..., rate_per_s: _Optional[float] = ..., slo: _Optional[_Union[_types_pb2.Slo, _Mapping]] = ..., plan: _Optional[_Union[_types_pb2.Plan, _Mapping]] = ..., latency_ms: _Optional[float] = ..., latency_p50_ms: _Optional[float] = ..., spread_ratio: _Optional[float] = ..., sampling_ratio: _Optional[float] = ..., freedom: _Optional[float] = ..., operators: _Optional[_Iterable[_Union[OperatorPromise, _Mapping]]] = ..., accuracy_error_ratio: _Optional[float] = ...) -> None: ...

class OperatorSeen(_message.Message):
    __slots__ = ("operator_id", "device_id", "items", "service_ms", "queue_ms", "cpu_ms_sum", "output_bytes", "memory_bytes", "dropped_by_cause", "failures")
    class DroppedByCauseEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    CPU_MS_SUM_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BY_CAUSE_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    device_id: str
    items: int
    service_ms: _types_pb2.Sketch
    queue_ms: _types_pb2.Sketch
    cpu_ms_sum: float
    output_bytes: int
    memory_bytes: int
    dropped_by_cause: _containers.ScalarMap[str, int]
    failures: int
    def __init__(self, operator_id: _Optional[str] = ..., device_id: _Optional[str] = ..., items: _Optional[int] = ..., service_ms: _Optional[_Union[_types_pb2.Sketch, _Mapping]] = ..., queue_ms: _Optional[_Union[_types_pb2.Sketch, _Mapping]] = ..., cpu_ms_sum: _Optional[float] = ..., output_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., dropped_by_cause: _Optional[_Mapping[str, int]] = ..., failures: _Optional[int] = ...) -> None: ...

class Seen(_message.Message):
    __slots__ = ("duration_s", "emitted", "answered", "late", "dropped", "failed", "latency_ms", "score_sum", "scored", "shadow_score_sum", "shadow_score_square_sum", "shadow_scored", "bytes_sent", "operators", "windows", "windows_left_out", "first_at_s")
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    SCORE_SUM_FIELD_NUMBER: _ClassVar[int]
    SCORED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SCORE_SUM_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SCORE_SQUARE_SUM_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SCORED_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    FIRST_AT_S_FIELD_NUMBER: _ClassVar[int]
    duration_s: float
    emitted: int
    answered: int
    late: int
    dropped: int
    failed: int
    latency_ms: _types_pb2.Sketch
    score_sum: float
    scored: int
    shadow_score_sum: float
    shadow_score_square_sum: float
    shadow_scored: int
    bytes_sent: int
    operators: _containers.RepeatedCompositeFieldContainer[OperatorSeen]
    windows: int
    windows_left_out: int
    first_at_s: float
    def __init__(self, duration_s: _Optional[float] = ..., emitted: _Optional[int] = ..., answered: _Optional[int] = ..., late: _Optional[int] = ..., dropped: _Optional[int] = ..., failed: _Optional[int] = ..., latency_ms: _Optional[_Union[_types_pb2.Sketch, _Mapping]] = ..., score_sum: _Optional[float] = ..., scored: _Optional[int] = ..., shadow_score_sum: _Optional[float] = ..., shadow_score_square_sum: _Optional[float] = ..., shadow_scored: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., operators: _Optional[_Iterable[_Union[OperatorSeen, _Mapping]]] = ..., windows: _Optional[int] = ..., windows_left_out: _Optional[int] = ..., first_at_s: _Optional[float] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("query_id", "generation", "created_at", "promise", "seen", "open", "latency_ms", "latency_seen_ms", "throughput_seen_per_s", "slo_probability_ratio", "slo_met")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    THROUGHPUT_SEEN_PER_S_FIELD_NUMBER: _ClassVar[int]
    SLO_PROBABILITY_RATIO_FIELD_NUMBER: _ClassVar[int]
    SLO_MET_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    generation: int
    created_at: _timestamp_pb2.Timestamp
    promise: Promise
    seen: Seen
    open: bool
    latency_ms: _types_pb2.Interval
    latency_seen_ms: float
    throughput_seen_per_s: float
    slo_probability_ratio: float
    slo_met: bool
    def __init__(self, query_id: _Optional[str] = ..., generation: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., promise: _Optional[_Union[Promise, _Mapping]] = ..., seen: _Optional[_Union[Seen, _Mapping]] = ..., open: _Optional[bool] = ..., latency_ms: _Optional[_Union[_types_pb2.Interval, _Mapping]] = ..., latency_seen_ms: _Optional[float] = ..., throughput_seen_per_s: _Optional[float] = ..., slo_probability_ratio: _Optional[float] = ..., slo_met: _Optional[bool] = ...) -> None: ...

class ReliabilityBin(_message.Message):
    __slots__ = ("low_ratio", "high_ratio", "count", "probability_mean_ratio", "met_ratio")
    LOW_RATIO_FIELD_NUMBER: _ClassVar[int]
    HIGH_RATIO_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_MEAN_RATIO_FIELD_NUMBER: _ClassVar[int]
    MET_RATIO_FIELD_NUMBER: _ClassVar[int]
    low_ratio: float
    high_ratio: float
    count: int
    probability_mean_ratio: float
    met_ratio: float
    def __init__(self, low_ratio: _Optional[float] = ..., high_ratio: _Optional[float] = ..., count: _Optional[int] = ..., probability_mean_ratio: _Optional[float] = ..., met_ratio: _Optional[float] = ...) -> None: ...

class ServiceCorrection(_message.Message):
    __slots__ = ("pipeline_id", "operator_id", "device_id", "ratio", "items")
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    pipeline_id: str
    operator_id: str
    device_id: str
    ratio: float
    items: int
    def __init__(self, pipeline_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., device_id: _Optional[str] = ..., ratio: _Optional[float] = ..., items: _Optional[int] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("accounts", "latency_error_median_ratio", "throughput_error_median_ratio", "coverage_ratio", "half_width_median_ratio", "brier", "reliability", "corrections", "operator_accounts", "service_error_median_ratio", "service_coverage_ratio")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_ERROR_MEDIAN_RATIO_FIELD_NUMBER: _ClassVar[int]
    THROUGHPUT_ERROR_MEDIAN_RATIO_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_RATIO_FIELD_NUMBER: _ClassVar[int]
    HALF_WIDTH_MEDIAN_RATIO_FIELD_NUMBER: _ClassVar[int]
    BRIER_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    CORRECTIONS_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_ERROR_MEDIAN_RATIO_FIELD_NUMBER: _ClassVar[int]
    SERVICE_COVERAGE_RATIO_FIELD_NUMBER: _ClassVar[int]
    accounts: int
    latency_error_median_ratio: float
    throughput_error_median_ratio: float
    coverage_ratio: float
    half_width_median_ratio: float
    brier: float
    reliability: _containers.RepeatedCompositeFieldContainer[ReliabilityBin]
    corrections: _containers.RepeatedCompositeFieldContainer[ServiceCorrection]
    operator_accounts: int
    service_error_median_ratio: float
    service_coverage_ratio: float
    def __init__(self, accounts: _Optional[int] = ..., latency_error_median_ratio: _Optional[float] = ..., throughput_error_median_ratio: _Optional[float] = ..., coverage_ratio: _Optional[float] = ..., half_width_median_ratio: _Optional[float] = ..., brier: _Optional[float] = ..., reliability: _Optional[_Iterable[_Union[ReliabilityBin, _Mapping]]] = ..., corrections: _Optional[_Iterable[_Union[ServiceCorrection, _Mapping]]] = ..., operator_accounts: _Optional[int] = ..., service_error_median_ratio: _Optional[float] = ..., service_coverage_ratio: _Optional[float] = ...) -> None: ...

class GetAccountsRequest(_message.Message):
    __slots__ = ("limit", "query_id")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    limit: int
    query_id: str
    def __init__(self, limit: _Optional[int] = ..., query_id: _Optional[str] = ...) -> None: ...

class GetAccountsResponse(_message.Message):
    __slots__ = ("accounts", "calibration")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    calibration: Calibration
    def __init__(self, accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ..., calibration: _Optional[_Union[Calibration, _Mapping]] = ...) -> None: ...

class LinesWanted(_message.Message):
    __slots__ = ("sort", "descending", "filter", "offset", "limit")
    SORT_FIELD_NUMBER: _ClassVar[int]
    DESCENDING_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    sort: str
    descending: bool
    filter: str
    offset: int
    limit: int
    def __init__(self, sort: _Optional[str] = ..., descending: _Optional[bool] = ..., filter: _Optional[str] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class DeviceLine(_message.Message):
    __slots__ = ("device_id", "site", "tier", "connected", "cordoned", "draining", "leaving", "cores", "cores_planned", "cores_seen", "memory_bytes", "memory_planned_bytes", "replicas", "runs", "price_per_h", "generation", "last_seen_at", "trouble")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    CORDONED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    CORES_PLANNED_FIELD_NUMBER: _ClassVar[int]
    CORES_SEEN_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_PLANNED_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_H_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_AT_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    site: str
    tier: str
    connected: bool
    cordoned: bool
    draining: bool
    leaving: bool
    cores: float
    cores_planned: float
    cores_seen: float
    memory_bytes: int
    memory_planned_bytes: int
    replicas: int
    runs: _containers.RepeatedScalarFieldContainer[str]
    price_per_h: float
    generation: int
    last_seen_at: _timestamp_pb2.Timestamp
    trouble: str
    def __init__(self, device_id: _Optional[str] = ..., site: _Optional[str] = ..., tier: _Optional[str] = ..., connected: _Optional[bool] = ..., cordoned: _Optional[bool] = ..., draining: _Optional[bool] = ..., leaving: _Optional[bool] = ..., cores: _Optional[float] = ..., cores_planned: _Optional[float] = ..., cores_seen: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., memory_planned_bytes: _Optional[int] = ..., replicas: _Optional[int] = ..., runs: _Optional[_Iterable[str]] = ..., price_per_h: _Optional[float] = ..., generation: _Optional[int] = ..., last_seen_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., trouble: _Optional[str] = ...) -> None: ...

class ListDeviceLinesRequest(_message.Message):
    __slots__ = ("wanted",)
    WANTED_FIELD_NUMBER: _ClassVar[int]
    wanted: LinesWanted
    def __init__(self, wanted: _Optional[_Union[LinesWanted, _Mapping]] = ...) -> None: ...

class ListDeviceLinesResponse(_message.Message):
    __slots__ = ("lines", "matching", "total")
    LINES_FIELD_NUMBER: _ClassVar[int]
    MATCHING_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[DeviceLine]
    matching: int
    total: int
    def __init__(self, lines: _Optional[_Iterable[_Union[DeviceLine, _Mapping]]] = ..., matching: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class QueryLine(_message.Message):
    __slots__ = ("query_id", "pipeline_id", "content", "source_device_id", "phase", "serving", "provisional", "reason", "rate_per_s", "weight", "planned_goodput_per_s", "goodput_per_s", "items", "attained_ratio", "wanted_ratio", "burn_ratio", "burn_hour_ratio", "latency_bound_ms", "latency_planned_ms", "latency_ms", "accuracy_bound_ratio", "accuracy_planned_ratio", "accuracy_ratio", "cost_per_h", "slo_probability_ratio", "devices", "generation", "budget_left_ratio", "burning")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PLANNED_GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ATTAINED_RATIO_FIELD_NUMBER: _ClassVar[int]
    WANTED_RATIO_FIELD_NUMBER: _ClassVar[int]
    BURN_RATIO_FIELD_NUMBER: _ClassVar[int]
    BURN_HOUR_RATIO_FIELD_NUMBER: _ClassVar[int]
    LATENCY_BOUND_MS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_PLANNED_MS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_BOUND_RATIO_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_PLANNED_RATIO_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_RATIO_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    SLO_PROBABILITY_RATIO_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    BUDGET_LEFT_RATIO_FIELD_NUMBER: _ClassVar[int]
    BURNING_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    pipeline_id: str
    content: str
    source_device_id: str
    phase: QueryPhase
    serving: bool
    provisional: bool
    reason: str
    rate_per_s: float
    weight: float
    planned_goodput_per_s: float
    goodput_per_s: float
    items: int
    attained_ratio: float
    wanted_ratio: float
    burn_ratio: float
    burn_hour_ratio: float
    latency_bound_ms: float
    latency_planned_ms: float
    latency_ms: float
    accuracy_bound_ratio: float
    accuracy_planned_ratio: float
    accuracy_ratio: float
    cost_per_h: float
    slo_probability_ratio: float
    devices: _containers.RepeatedScalarFieldContainer[str]
    generation: int
    budget_left_ratio: float
    burning: str
    def __init__(self, query_id: _Optional[str] = ..., pipeline_id: _Optional[str] = ..., content: _Optional[str] = ..., source_device_id: _Optional[str] = ..., phase: _Optional[_Union[QueryPhase, str]] = ..., serving: _Optional[bool] = ..., provisional: _Optional[bool] = ..., reason: _Optional[str] = ..., rate_per_s: _Optional[float] = ..., weight: _Optional[float] = ..., planned_goodput_per_s: _Optional[float] = ..., goodput_per_s: _Optional[float] = ..., items: _Optional[int] = ..., attained_ratio: _Optional[float] = ..., wanted_ratio: _Optional[float] = ..., burn_ratio: _Optional[float] = ..., burn_hour_ratio: _Optional[float] = ..., latency_bound_ms: _Optional[float] = ..., latency_planned_ms: _Optional[float] = ..., latency_ms: _Optional[float] = ..., accuracy_bound_ratio: _Optional[float] = ..., accuracy_planned_ratio: _Optional[float] = ..., accuracy_ratio: _Optional[float] = ..., cost_per_h: _Optional[float] = ..., slo_probability_ratio: _Optional[float] = ..., devices: _Optional[_Iterable[str]] = ..., generation: _Optional[int] = ..., budget_left_ratio: _Optional[float] = ..., burning: _Optional[str] = ...) -> None: ...

class ListQueryLinesRequest(_message.Message):
    __slots__ = ("wanted", "query_id")
    WANTED_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    wanted: LinesWanted
    query_id: str
    def __init__(self, wanted: _Optional[_Union[LinesWanted, _Mapping]] = ..., query_id: _Optional[str] = ...) -> None: ...

class ListQueryLinesResponse(_message.Message):
    __slots__ = ("lines", "matching", "total", "planned_goodput_per_s", "goodput_per_s", "cost_per_h", "burning")
    LINES_FIELD_NUMBER: _ClassVar[int]
    MATCHING_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PLANNED_GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    BURNING_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[QueryLine]
    matching: int
    total: int
    planned_goodput_per_s: float
    goodput_per_s: float
    cost_per_h: float
    burning: int
    def __init__(self, lines: _Optional[_Iterable[_Union[QueryLine, _Mapping]]] = ..., matching: _Optional[int] = ..., total: _Optional[int] = ..., planned_goodput_per_s: _Optional[float] = ..., goodput_per_s: _Optional[float] = ..., cost_per_h: _Optional[float] = ..., burning: _Optional[int] = ...) -> None: ...

class ReadLogsRequest(_message.Message):
    __slots__ = ("subject_id", "device_id", "since_s", "tail", "follow")
    SUBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_S_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    subject_id: str
    device_id: str
    since_s: float
    tail: int
    follow: bool
    def __init__(self, subject_id: _Optional[str] = ..., device_id: _Optional[str] = ..., since_s: _Optional[float] = ..., tail: _Optional[int] = ..., follow: _Optional[bool] = ...) -> None: ...

class ReadLogsResponse(_message.Message):
    __slots__ = ("device_id", "lines", "caught_up", "notes")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    lines: _containers.RepeatedCompositeFieldContainer[_control_pb2.LogLine]
    caught_up: bool
    notes: _containers.RepeatedCompositeFieldContainer[LookNote]
    def __init__(self, device_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[_control_pb2.LogLine, _Mapping]]] = ..., caught_up: _Optional[bool] = ..., notes: _Optional[_Iterable[_Union[LookNote, _Mapping]]] = ...) -> None: ...

class LookNote(_message.Message):
    __slots__ = ("device_id", "text", "ended")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    text: str
    ended: bool
    def __init__(self, device_id: _Optional[str] = ..., text: _Optional[str] = ..., ended: _Optional[bool] = ...) -> None: ...

class WatchItemsRequest(_message.Message):
    __slots__ = ("query_id", "operator_id", "device_id", "output", "count", "rate_per_s", "for_s")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    FOR_S_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    operator_id: str
    device_id: str
    output: bool
    count: int
    rate_per_s: float
    for_s: float
    def __init__(self, query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., device_id: _Optional[str] = ..., output: _Optional[bool] = ..., count: _Optional[int] = ..., rate_per_s: _Optional[float] = ..., for_s: _Optional[float] = ...) -> None: ...

class WatchItemsResponse(_message.Message):
    __slots__ = ("device_id", "items", "items_left_out", "notes")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    items: _containers.RepeatedCompositeFieldContainer[_control_pb2.TappedItem]
    items_left_out: int
    notes: _containers.RepeatedCompositeFieldContainer[LookNote]
    def __init__(self, device_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[_control_pb2.TappedItem, _Mapping]]] = ..., items_left_out: _Optional[int] = ..., notes: _Optional[_Iterable[_Union[LookNote, _Mapping]]] = ...) -> None: ...

class TapItemsRequest(_message.Message):
    __slots__ = ("query_id", "operator_id", "device_id", "output", "count", "rate_per_s", "for_s", "whole_bytes")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    FOR_S_FIELD_NUMBER: _ClassVar[int]
    WHOLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    operator_id: str
    device_id: str
    output: bool
    count: int
    rate_per_s: float
    for_s: float
    whole_bytes: int
    def __init__(self, query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., device_id: _Optional[str] = ..., output: _Optional[bool] = ..., count: _Optional[int] = ..., rate_per_s: _Optional[float] = ..., for_s: _Optional[float] = ..., whole_bytes: _Optional[int] = ...) -> None: ...

class TapItemsResponse(_message.Message):
    __slots__ = ("device_id", "items", "items_left_out", "notes", "pieces")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    items: _containers.RepeatedCompositeFieldContainer[_control_pb2.TappedItem]
    items_left_out: int
    notes: _containers.RepeatedCompositeFieldContainer[LookNote]
    pieces: _containers.RepeatedCompositeFieldContainer[_control_pb2.ItemPiece]
    def __init__(self, device_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[_control_pb2.TappedItem, _Mapping]]] = ..., items_left_out: _Optional[int] = ..., notes: _Optional[_Iterable[_Union[LookNote, _Mapping]]] = ..., pieces: _Optional[_Iterable[_Union[_control_pb2.ItemPiece, _Mapping]]] = ...) -> None: ...

class ApplyChangesRequest(_message.Message):
    __slots__ = ("pipelines", "queries", "labels", "remove_queries", "remove_pipelines", "validate_only")
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_QUERIES_FIELD_NUMBER: _ClassVar[int]
    REMOVE_PIPELINES_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    pipelines: _containers.RepeatedCompositeFieldContainer[AddPipelineRequest]
    queries: _containers.RepeatedCompositeFieldContainer[_types_pb2.Query]
    labels: _containers.RepeatedCompositeFieldContainer[LabelDeviceRequest]
    remove_queries: _containers.RepeatedScalarFieldContainer[str]
    remove_pipelines: _containers.RepeatedScalarFieldContainer[str]
    validate_only: bool
    def __init__(self, pipelines: _Optional[_Iterable[_Union[AddPipelineRequest, _Mapping]]] = ..., queries: _Optional[_Iterable[_Union[_types_pb2.Query, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[LabelDeviceRequest, _Mapping]]] = ..., remove_queries: _Optional[_Iterable[str]] = ..., remove_pipelines: _Optional[_Iterable[str]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class ApplyChangesResponse(_message.Message):
    __slots__ = ("begun_anew", "changed_ids")
    BEGUN_ANEW_FIELD_NUMBER: _ClassVar[int]
    CHANGED_IDS_FIELD_NUMBER: _ClassVar[int]
    begun_anew: _containers.RepeatedScalarFieldContainer[str]
    changed_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, begun_anew: _Optional[_Iterable[str]] = ..., changed_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetVersionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetVersionResponse(_message.Message):
    __slots__ = ("planner_version", "protocol", "planner_schema", "identity_schema", "agents", "epoch")
    PLANNER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PLANNER_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    planner_version: str
    protocol: str
    planner_schema: int
    identity_schema: int
    agents: _containers.RepeatedCompositeFieldContainer[AgentVersion]
    epoch: int
    def __init__(self, planner_version: _Optional[str] = ..., protocol: _Optional[str] = ..., planner_schema: _Optional[int] = ..., identity_schema: _Optional[int] = ..., agents: _Optional[_Iterable[_Union[AgentVersion, _Mapping]]] = ..., epoch: _Optional[int] = ...) -> None: ...

class AgentVersion(_message.Message):
    __slots__ = ("version", "devices", "connected")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    version: str
    devices: int
    connected: int
    def __init__(self, version: _Optional[str] = ..., devices: _Optional[int] = ..., connected: _Optional[int] = ...) -> None: ...

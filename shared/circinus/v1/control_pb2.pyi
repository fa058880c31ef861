import datetime

from circinus.v1 import types_pb2 as _types_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DirectiveVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTIVE_VERDICT_UNSPECIFIED: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_ACCEPTED: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_STALE_GENERATION: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_CONFLICTING_DIRECTIVE: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_BAD_DIGEST: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_WRONG_DEVICE: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_NOT_RUNNABLE: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_UNSIGNED: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_FORGED: _ClassVar[DirectiveVerdict]
    DIRECTIVE_VERDICT_AGAINST_POLICY: _ClassVar[DirectiveVerdict]

class GenerationPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GENERATION_PHASE_UNSPECIFIED: _ClassVar[GenerationPhase]
    GENERATION_PHASE_STARTING: _ClassVar[GenerationPhase]
    GENERATION_PHASE_READY: _ClassVar[GenerationPhase]
    GENERATION_PHASE_ACTIVE: _ClassVar[GenerationPhase]
    GENERATION_PHASE_DRAINED: _ClassVar[GenerationPhase]
    GENERATION_PHASE_FAILED: _ClassVar[GenerationPhase]
DIRECTIVE_VERDICT_UNSPECIFIED: DirectiveVerdict
DIRECTIVE_VERDICT_ACCEPTED: DirectiveVerdict
DIRECTIVE_VERDICT_STALE_GENERATION: DirectiveVerdict
DIRECTIVE_VERDICT_CONFLICTING_DIRECTIVE: DirectiveVerdict
DIRECTIVE_VERDICT_BAD_DIGEST: DirectiveVerdict
DIRECTIVE_VERDICT_WRONG_DEVICE: DirectiveVerdict
DIRECTIVE_VERDICT_NOT_RUNNABLE: DirectiveVerdict
DIRECTIVE_VERDICT_UNSIGNED: DirectiveVerdict
DIRECTIVE_VERDICT_FORGED: DirectiveVerdict
DIRECTIVE_VERDICT_AGAINST_POLICY: DirectiveVerdict
GENERATION_PHASE_UNSPECIFIED: GenerationPhase
GENERATION_PHASE_STARTING: GenerationPhase
GENERATION_PHASE_READY: GenerationPhase
GENERATION_PHASE_ACTIVE: GenerationPhase
GENERATION_PHASE_DRAINED: GenerationPhase
GENERATION_PHASE_FAILED: GenerationPhase

class ConnectRequest(_message.Message):
    __slots__ = ("hello", "heartbeat", "directive_answer", "generation_status", "telemetry", "profile_progress", "profile_report", "environment_status", "fingerprint", "look_chunk", "outbox_sequence")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DIRECTIVE_ANSWER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_STATUS_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    PROFILE_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PROFILE_REPORT_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_STATUS_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    LOOK_CHUNK_FIELD_NUMBER: _ClassVar[int]
    OUTBOX_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    directive_answer: DirectiveAnswer
    generation_status: GenerationStatus
    telemetry: Telemetry
    profile_progress: ProfileProgress
    profile_report: ProfileReport
    environment_status: EnvironmentStatus
    fingerprint: _types_pb2.Fingerprint
    look_chunk: LookChunk
    outbox_sequence: int
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., directive_answer: _Optional[_Union[DirectiveAnswer, _Mapping]] = ..., generation_status: _Optional[_Union[GenerationStatus, _Mapping]] = ..., telemetry: _Optional[_Union[Telemetry, _Mapping]] = ..., profile_progress: _Optional[_Union[ProfileProgress, _Mapping]] = ..., profile_report: _Optional[_Union[ProfileReport, _Mapping]] = ..., environment_status: _Optional[_Union[EnvironmentStatus, _Mapping]] = ..., fingerprint: _Optional[_Union[_types_pb2.Fingerprint, _Mapping]] = ..., look_chunk: _Optional[_Union[LookChunk, _Mapping]] = ..., outbox_sequence: _Optional[int] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("welcome", "directive", "activate", "retire", "profile", "cancel_profile", "prepare_environment", "signed_directive", "look", "look_credit", "end_look", "goodbye", "acknowledgement")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    ACTIVATE_FIELD_NUMBER: _ClassVar[int]
    RETIRE_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_PROFILE_FIELD_NUMBER: _ClassVar[int]
    PREPARE_ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNED_DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    LOOK_CREDIT_FIELD_NUMBER: _ClassVar[int]
    END_LOOK_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    directive: _types_pb2.Directive
    activate: ActivateRequest
    retire: RetireRequest
    profile: ProfileRequest
    cancel_profile: CancelProfileRequest
    prepare_environment: PrepareEnvironmentRequest
    signed_directive: SignedDirective
    look: LookRequest
    look_credit: LookCredit
    end_look: EndLook
    goodbye: Goodbye
    acknowledgement: Acknowledgement
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., directive: _Optional[_Union[_types_pb2.Directive, _Mapping]] = ..., activate: _Optional[_Union[ActivateRequest, _Mapping]] = ..., retire: _Optional[_Union[RetireRequest, _Mapping]] = ..., profile: _Optional[_Union[ProfileRequest, _Mapping]] = ..., cancel_profile: _Optional[_Union[CancelProfileRequest, _Mapping]] = ..., prepare_environment: _Optional[_Union[PrepareEnvironmentRequest, _Mapping]] = ..., signed_directive: _Optional[_Union[SignedDirective, _Mapping]] = ..., look: _Optional[_Union[LookRequest, _Mapping]] = ..., look_credit: _Optional[_Union[LookCredit, _Mapping]] = ..., end_look: _Optional[_Union[EndLook, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., acknowledgement: _Optional[_Union[Acknowledgement, _Mapping]] = ...) -> None: ...

class SignedDirective(_message.Message):
    __slots__ = ("body", "signature", "signer")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    signer: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., signer: _Optional[bytes] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("fingerprint", "session_id", "generation_status", "process_id")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_STATUS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    fingerprint: _types_pb2.Fingerprint
    session_id: str
    generation_status: GenerationStatus
    process_id: str
    def __init__(self, fingerprint: _Optional[_Union[_types_pb2.Fingerprint, _Mapping]] = ..., session_id: _Optional[str] = ..., generation_status: _Optional[_Union[GenerationStatus, _Mapping]] = ..., process_id: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("epoch", "heartbeat_period_s", "acknowledges")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_PERIOD_S_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    heartbeat_period_s: float
    acknowledges: bool
    def __init__(self, epoch: _Optional[int] = ..., heartbeat_period_s: _Optional[float] = ..., acknowledges: _Optional[bool] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("sequences",)
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    sequences: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sequences: _Optional[_Iterable[int]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class DirectiveAnswer(_message.Message):
    __slots__ = ("epoch", "generation", "verdict", "reason")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    generation: int
    verdict: DirectiveVerdict
    reason: str
    def __init__(self, epoch: _Optional[int] = ..., generation: _Optional[int] = ..., verdict: _Optional[_Union[DirectiveVerdict, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class GenerationStatus(_message.Message):
    __slots__ = ("epoch", "generation", "digest", "phase", "reason", "active_generation", "pids", "troubles")
    class PidsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ReplicaPids
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ReplicaPids, _Mapping]] = ...) -> None: ...
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_GENERATION_FIELD_NUMBER: _ClassVar[int]
    PIDS_FIELD_NUMBER: _ClassVar[int]
    TROUBLES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    generation: int
    digest: str
    phase: GenerationPhase
    reason: str
    active_generation: int
    pids: _containers.MessageMap[str, ReplicaPids]
    troubles: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, epoch: _Optional[int] = ..., generation: _Optional[int] = ..., digest: _Optional[str] = ..., phase: _Optional[_Union[GenerationPhase, str]] = ..., reason: _Optional[str] = ..., active_generation: _Optional[int] = ..., pids: _Optional[_Mapping[str, ReplicaPids]] = ..., troubles: _Optional[_Iterable[str]] = ...) -> None: ...

class ReplicaPids(_message.Message):
    __slots__ = ("pids",)
    PIDS_FIELD_NUMBER: _ClassVar[int]
    pids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, pids: _Optional[_Iterable[int]] = ...) -> None: ...

class ActivateRequest(_message.Message):
    __slots__ = ("epoch", "generation")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    generation: int
    def __init__(self, epoch: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class RetireRequest(_message.Message):
    __slots__ = ("epoch", "below_generation")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    BELOW_GENERATION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    below_generation: int
    def __init__(self, epoch: _Optional[int] = ..., below_generation: _Optional[int] = ...) -> None: ...

class Telemetry(_message.Message):
    __slots__ = ("sequence", "queries", "operators", "stand_bys", "gaps", "made_at", "age_s")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    STAND_BYS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    queries: _containers.RepeatedCompositeFieldContainer[_types_pb2.QueryWindow]
    operators: _containers.RepeatedCompositeFieldContainer[_types_pb2.OperatorWindow]
    stand_bys: _containers.RepeatedCompositeFieldContainer[StandByEpisode]
    gaps: _containers.RepeatedCompositeFieldContainer[TelemetryGap]
    made_at: _timestamp_pb2.Timestamp
    age_s: float
    def __init__(self, sequence: _Optional[int] = ..., queries: _Optional[_Iterable[_Union[_types_pb2.QueryWindow, _Mapping]]] = ..., operators: _Optional[_Iterable[_Union[_types_pb2.OperatorWindow, _Mapping]]] = ..., stand_bys: _Optional[_Iterable[_Union[StandByEpisode, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[TelemetryGap, _Mapping]]] = ..., made_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., age_s: _Optional[float] = ...) -> None: ...

class TelemetryGap(_message.Message):
    __slots__ = ("query_id", "generation", "cause", "start", "end", "messages", "emitted")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    generation: int
    cause: str
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    messages: int
    emitted: int
    def __init__(self, query_id: _Optional[str] = ..., generation: _Optional[int] = ..., cause: _Optional[str] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., messages: _Optional[int] = ..., emitted: _Optional[int] = ...) -> None: ...

class StandByEpisode(_message.Message):
    __slots__ = ("query_id", "generation", "start", "end", "reason")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    generation: int
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, query_id: _Optional[str] = ..., generation: _Optional[int] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class PrepareEnvironmentRequest(_message.Message):
    __slots__ = ("environment_digest", "bundle_digest")
    ENVIRONMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    environment_digest: str
    bundle_digest: str
    def __init__(self, environment_digest: _Optional[str] = ..., bundle_digest: _Optional[str] = ...) -> None: ...

class EnvironmentStatus(_message.Message):
    __slots__ = ("environment",)
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    environment: _types_pb2.Environment
    def __init__(self, environment: _Optional[_Union[_types_pb2.Environment, _Mapping]] = ...) -> None: ...

class ProfileRequest(_message.Message):
    __slots__ = ("id", "pipeline_id", "bundle_digest", "environment_digest", "content_digest", "configurations", "sample_indices", "score", "parallelism", "budget_s", "probe_memory", "times", "reference")
    ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONTENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATIONS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_INDICES_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PARALLELISM_FIELD_NUMBER: _ClassVar[int]
    BUDGET_S_FIELD_NUMBER: _ClassVar[int]
    PROBE_MEMORY_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    pipeline_id: str
    bundle_digest: str
    environment_digest: str
    content_digest: str
    configurations: _containers.RepeatedCompositeFieldContainer[_types_pb2.Configuration]
    sample_indices: _containers.RepeatedScalarFieldContainer[int]
    score: bool
    parallelism: int
    budget_s: float
    probe_memory: bool
    times: bool
    reference: _types_pb2.Configuration
    def __init__(self, id: _Optional[str] = ..., pipeline_id: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., environment_digest: _Optional[str] = ..., content_digest: _Optional[str] = ..., configurations: _Optional[_Iterable[_Union[_types_pb2.Configuration, _Mapping]]] = ..., sample_indices: _Optional[_Iterable[int]] = ..., score: _Optional[bool] = ..., parallelism: _Optional[int] = ..., budget_s: _Optional[float] = ..., probe_memory: _Optional[bool] = ..., times: _Optional[bool] = ..., reference: _Optional[_Union[_types_pb2.Configuration, _Mapping]] = ...) -> None: ...

class CancelProfileRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ProfileProgress(_message.Message):
    __slots__ = ("id", "samples_done", "samples_total", "operator_s")
    ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_DONE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_S_FIELD_NUMBER: _ClassVar[int]
    id: str
    samples_done: int
    samples_total: int
    operator_s: float
    def __init__(self, id: _Optional[str] = ..., samples_done: _Optional[int] = ..., samples_total: _Optional[int] = ..., operator_s: _Optional[float] = ...) -> None: ...

class OperatorSample(_message.Message):
    __slots__ = ("operator_id", "cpu_ms", "wall_ms", "output_bytes", "cached", "parts", "output_fingerprint", "hurried")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    CPU_MS_FIELD_NUMBER: _ClassVar[int]
    WALL_MS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    HURRIED_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    cpu_ms: float
    wall_ms: float
    output_bytes: int
    cached: bool
    parts: float
    output_fingerprint: int
    hurried: bool
    def __init__(self, operator_id: _Optional[str] = ..., cpu_ms: _Optional[float] = ..., wall_ms: _Optional[float] = ..., output_bytes: _Optional[int] = ..., cached: _Optional[bool] = ..., parts: _Optional[float] = ..., output_fingerprint: _Optional[int] = ..., hurried: _Optional[bool] = ...) -> None: ...

class SampleResult(_message.Message):
    __slots__ = ("sample_index", "score_ratio", "operators", "tally")
    class TallyEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SAMPLE_INDEX_FIELD_NUMBER: _ClassVar[int]
    SCORE_RATIO_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    TALLY_FIELD_NUMBER: _ClassVar[int]
    sample_index: int
    score_ratio: float
    operators: _containers.RepeatedCompositeFieldContainer[OperatorSample]
    tally: _containers.ScalarMap[str, float]
    def __init__(self, sample_index: _Optional[int] = ..., score_ratio: _Optional[float] = ..., operators: _Optional[_Iterable[_Union[OperatorSample, _Mapping]]] = ..., tally: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ConfigurationProfile(_message.Message):
    __slots__ = ("configuration", "samples", "memory_bytes", "source_bytes", "accelerator_memory_bytes")
    class MemoryBytesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AcceleratorMemoryBytesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ACCELERATOR_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    configuration: _types_pb2.Configuration
    samples: _containers.RepeatedCompositeFieldContainer[SampleResult]
    memory_bytes: _containers.ScalarMap[str, int]
    source_bytes: int
    accelerator_memory_bytes: _containers.ScalarMap[str, int]
    def __init__(self, configuration: _Optional[_Union[_types_pb2.Configuration, _Mapping]] = ..., samples: _Optional[_Iterable[_Union[SampleResult, _Mapping]]] = ..., memory_bytes: _Optional[_Mapping[str, int]] = ..., source_bytes: _Optional[int] = ..., accelerator_memory_bytes: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ProfileReport(_message.Message):
    __slots__ = ("id", "configurations", "done", "error", "operator_s")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATIONS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_S_FIELD_NUMBER: _ClassVar[int]
    id: str
    configurations: _containers.RepeatedCompositeFieldContainer[ConfigurationProfile]
    done: bool
    error: str
    operator_s: float
    def __init__(self, id: _Optional[str] = ..., configurations: _Optional[_Iterable[_Union[ConfigurationProfile, _Mapping]]] = ..., done: _Optional[bool] = ..., error: _Optional[str] = ..., operator_s: _Optional[float] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("why",)
    WHY_FIELD_NUMBER: _ClassVar[int]
    why: str
    def __init__(self, why: _Optional[str] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ("device_id",)
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    def __init__(self, device_id: _Optional[str] = ...) -> None: ...

class LeaveResponse(_message.Message):
    __slots__ = ("waits_for", "staying", "gone")
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    STAYING_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    waits_for: str
    staying: _containers.RepeatedScalarFieldContainer[str]
    gone: bool
    def __init__(self, waits_for: _Optional[str] = ..., staying: _Optional[_Iterable[str]] = ..., gone: _Optional[bool] = ...) -> None: ...

class FetchBlobRequest(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class FetchBlobResponse(_message.Message):
    __slots__ = ("chunk", "total_bytes")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    total_bytes: int
    def __init__(self, chunk: _Optional[bytes] = ..., total_bytes: _Optional[int] = ...) -> None: ...

class LookRequest(_message.Message):
    __slots__ = ("id", "credit", "logs", "tap")
    ID_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    TAP_FIELD_NUMBER: _ClassVar[int]
    id: str
    credit: int
    logs: LogsWanted
    tap: TapWanted
    def __init__(self, id: _Optional[str] = ..., credit: _Optional[int] = ..., logs: _Optional[_Union[LogsWanted, _Mapping]] = ..., tap: _Optional[_Union[TapWanted, _Mapping]] = ...) -> None: ...

class LogsWanted(_message.Message):
    __slots__ = ("query_id", "operator_id", "since_s", "tail", "follow", "agent")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_S_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    operator_id: str
    since_s: float
    tail: int
    follow: bool
    agent: bool
    def __init__(self, query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., since_s: _Optional[float] = ..., tail: _Optional[int] = ..., follow: _Optional[bool] = ..., agent: _Optional[bool] = ...) -> None: ...

class TapWanted(_message.Message):
    __slots__ = ("query_id", "operator_id", "output", "count", "rate_per_s", "for_s", "values", "whole_bytes")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    FOR_S_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    WHOLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    operator_id: str
    output: bool
    count: int
    rate_per_s: float
    for_s: float
    values: bool
    whole_bytes: int
    def __init__(self, query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., output: _Optional[bool] = ..., count: _Optional[int] = ..., rate_per_s: _Optional[float] = ..., for_s: _Optional[float] = ..., values: _Optional[bool] = ..., whole_bytes: _Optional[int] = ...) -> None: ...

class LookCredit(_message.Message):
    __slots__ = ("id", "chunks")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    id: str
    chunks: int
    def __init__(self, id: _Optional[str] = ..., chunks: _Optional[int] = ...) -> None: ...

class EndLook(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class LookChunk(_message.Message):
    __slots__ = ("id", "lines", "items", "pieces", "items_left_out", "caught_up", "ended", "why", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    ITEMS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    lines: _containers.RepeatedCompositeFieldContainer[LogLine]
    items: _containers.RepeatedCompositeFieldContainer[TappedItem]
    pieces: _containers.RepeatedCompositeFieldContainer[ItemPiece]
    items_left_out: int
    caught_up: bool
    ended: bool
    why: str
    error: str
    def __init__(self, id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ..., items: _Optional[_Iterable[_Union[TappedItem, _Mapping]]] = ..., pieces: _Optional[_Iterable[_Union[ItemPiece, _Mapping]]] = ..., items_left_out: _Optional[int] = ..., caught_up: _Optional[bool] = ..., ended: _Optional[bool] = ..., why: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("at", "query_id", "operator_id", "replica", "pid", "text", "cut", "left_out")
    AT_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    query_id: str
    operator_id: str
    replica: int
    pid: int
    text: str
    cut: bool
    left_out: int
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., replica: _Optional[int] = ..., pid: _Optional[int] = ..., text: _Optional[str] = ..., cut: _Optional[bool] = ..., left_out: _Optional[int] = ...) -> None: ...

class TappedItem(_message.Message):
    __slots__ = ("number", "at", "request_id", "query_id", "operator_id", "output", "generation", "remaining_ms", "size_bytes", "part", "parts", "payloads", "withheld")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    number: int
    at: _timestamp_pb2.Timestamp
    request_id: str
    query_id: str
    operator_id: str
    output: bool
    generation: int
    remaining_ms: float
    size_bytes: int
    part: int
    parts: int
    payloads: _containers.RepeatedCompositeFieldContainer[TappedPayload]
    withheld: str
    def __init__(self, number: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ..., query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., output: _Optional[bool] = ..., generation: _Optional[int] = ..., remaining_ms: _Optional[float] = ..., size_bytes: _Optional[int] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ..., payloads: _Optional[_Iterable[_Union[TappedPayload, _Mapping]]] = ..., withheld: _Optional[str] = ...) -> None: ...

class TappedPayload(_message.Message):
    __slots__ = ("name", "size_bytes", "fields", "fields_left_out")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    fields: _containers.RepeatedCompositeFieldContainer[TappedField]
    fields_left_out: int
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., fields: _Optional[_Iterable[_Union[TappedField, _Mapping]]] = ..., fields_left_out: _Optional[int] = ...) -> None: ...

class TappedField(_message.Message):
    __slots__ = ("name", "type", "shape", "size_bytes", "preview", "cut", "whole_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    WHOLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    size_bytes: int
    preview: str
    cut: bool
    whole_bytes: int
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., size_bytes: _Optional[int] = ..., preview: _Optional[str] = ..., cut: _Optional[bool] = ..., whole_bytes: _Optional[int] = ...) -> None: ...

class ItemPiece(_message.Message):
    __slots__ = ("number", "payload", "field", "data")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    number: int
    payload: str
    field: str
    data: bytes
    def __init__(self, number: _Optional[int] = ..., payload: _Optional[str] = ..., field: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_EDGE: _ClassVar[Tier]
    TIER_CLOUD: _ClassVar[Tier]

class Guarantee(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GUARANTEE_UNSPECIFIED: _ClassVar[Guarantee]
    GUARANTEE_POOL: _ClassVar[Guarantee]
    GUARANTEE_POPULATION: _ClassVar[Guarantee]

class Certainty(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CERTAINTY_UNSPECIFIED: _ClassVar[Certainty]
    CERTAINTY_PROVISIONAL: _ClassVar[Certainty]
    CERTAINTY_CERTIFIED: _ClassVar[Certainty]

class FeedKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEED_KIND_UNSPECIFIED: _ClassVar[FeedKind]
    FEED_KIND_IMAGE: _ClassVar[FeedKind]
    FEED_KIND_AUDIO: _ClassVar[FeedKind]
    FEED_KIND_BYTES: _ClassVar[FeedKind]
TIER_UNSPECIFIED: Tier
TIER_EDGE: Tier
TIER_CLOUD: Tier
GUARANTEE_UNSPECIFIED: Guarantee
GUARANTEE_POOL: Guarantee
GUARANTEE_POPULATION: Guarantee
CERTAINTY_UNSPECIFIED: Certainty
CERTAINTY_PROVISIONAL: Certainty
CERTAINTY_CERTIFIED: Certainty
FEED_KIND_UNSPECIFIED: FeedKind
FEED_KIND_IMAGE: FeedKind
FEED_KIND_AUDIO: FeedKind
FEED_KIND_BYTES: FeedKind

class KnobValue(_message.Message):
    __slots__ = ("text", "integer", "real", "flag")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    text: str
    integer: int
    real: float
    flag: bool
    def __init__(self, text: _Optional[str] = ..., integer: _Optional[int] = ..., real: _Optional[float] = ..., flag: _Optional[bool] = ...) -> None: ...

class Configuration(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: KnobValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[KnobValue, _Mapping]] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.MessageMap[str, KnobValue]
    def __init__(self, values: _Optional[_Mapping[str, KnobValue]] = ...) -> None: ...

class Field(_message.Message):
    __slots__ = ("tensor", "data", "text", "real", "integer", "flag")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    tensor: Tensor
    data: bytes
    text: str
    real: float
    integer: int
    flag: bool
    def __init__(self, tensor: _Optional[_Union[Tensor, _Mapping]] = ..., data: _Optional[bytes] = ..., text: _Optional[str] = ..., real: _Optional[float] = ..., integer: _Optional[int] = ..., flag: _Optional[bool] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("dtype", "shape", "raw", "pad")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    PAD_FIELD_NUMBER: _ClassVar[int]
    dtype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    raw: bytes
    pad: bytes
    def __init__(self, dtype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., raw: _Optional[bytes] = ..., pad: _Optional[bytes] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("fields",)
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Field
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Field, _Mapping]] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.MessageMap[str, Field]
    def __init__(self, fields: _Optional[_Mapping[str, Field]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("payload", "truth")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    payload: Payload
    truth: Payload
    def __init__(self, payload: _Optional[_Union[Payload, _Mapping]] = ..., truth: _Optional[_Union[Payload, _Mapping]] = ...) -> None: ...

class Sample(_message.Message):
    __slots__ = ("items", "warmup")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    warmup: int
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., warmup: _Optional[int] = ...) -> None: ...

class SampleSet(_message.Message):
    __slots__ = ("pipeline_id", "content", "samples", "reference")
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    pipeline_id: str
    content: str
    samples: _containers.RepeatedCompositeFieldContainer[Sample]
    reference: str
    def __init__(self, pipeline_id: _Optional[str] = ..., content: _Optional[str] = ..., samples: _Optional[_Iterable[_Union[Sample, _Mapping]]] = ..., reference: _Optional[str] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("peer_device_id", "bandwidth_bit_per_s", "rtt_ms", "price_per_gb", "emulated")
    PEER_DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_BIT_PER_S_FIELD_NUMBER: _ClassVar[int]
    RTT_MS_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_GB_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    peer_device_id: str
    bandwidth_bit_per_s: int
    rtt_ms: float
    price_per_gb: float
    emulated: bool
    def __init__(self, peer_device_id: _Optional[str] = ..., bandwidth_bit_per_s: _Optional[int] = ..., rtt_ms: _Optional[float] = ..., price_per_gb: _Optional[float] = ..., emulated: _Optional[bool] = ...) -> None: ...

class Accelerator(_message.Message):
    __slots__ = ("kind", "model", "provider", "slots", "memory_bytes", "emulated", "unified", "part_id")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    UNIFIED_FIELD_NUMBER: _ClassVar[int]
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    kind: str
    model: str
    provider: str
    slots: int
    memory_bytes: int
    emulated: bool
    unified: bool
    part_id: str
    def __init__(self, kind: _Optional[str] = ..., model: _Optional[str] = ..., provider: _Optional[str] = ..., slots: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., emulated: _Optional[bool] = ..., unified: _Optional[bool] = ..., part_id: _Optional[str] = ...) -> None: ...

class Environment(_message.Message):
    __slots__ = ("digest", "ready", "reason")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    digest: str
    ready: bool
    reason: str
    def __init__(self, digest: _Optional[str] = ..., ready: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class Cpu(_message.Message):
    __slots__ = ("model", "logical_cores", "max_frequency_mhz", "flags")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LOGICAL_CORES_FIELD_NUMBER: _ClassVar[int]
    MAX_FREQUENCY_MHZ_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    model: str
    logical_cores: int
    max_frequency_mhz: float
    flags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., logical_cores: _Optional[int] = ..., max_frequency_mhz: _Optional[float] = ..., flags: _Optional[_Iterable[str]] = ...) -> None: ...

class SpeedScore(_message.Message):
    __slots__ = ("score", "integer_score", "float_score", "memory_score")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    INTEGER_SCORE_FIELD_NUMBER: _ClassVar[int]
    FLOAT_SCORE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_SCORE_FIELD_NUMBER: _ClassVar[int]
    score: float
    integer_score: float
    float_score: float
    memory_score: float
    def __init__(self, score: _Optional[float] = ..., integer_score: _Optional[float] = ..., float_score: _Optional[float] = ..., memory_score: _Optional[float] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("hottest_celsius", "throttled", "supply", "battery_ratio")
    HOTTEST_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_FIELD_NUMBER: _ClassVar[int]
    SUPPLY_FIELD_NUMBER: _ClassVar[int]
    BATTERY_RATIO_FIELD_NUMBER: _ClassVar[int]
    hottest_celsius: float
    throttled: bool
    supply: str
    battery_ratio: float
    def __init__(self, hottest_celsius: _Optional[float] = ..., throttled: _Optional[bool] = ..., supply: _Optional[str] = ..., battery_ratio: _Optional[float] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("cgroup_cores", "cgroup_memory_bytes", "affinity_cores")
    CGROUP_CORES_FIELD_NUMBER: _ClassVar[int]
    CGROUP_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    AFFINITY_CORES_FIELD_NUMBER: _ClassVar[int]
    cgroup_cores: float
    cgroup_memory_bytes: int
    affinity_cores: int
    def __init__(self, cgroup_cores: _Optional[float] = ..., cgroup_memory_bytes: _Optional[int] = ..., affinity_cores: _Optional[int] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("allowed_pipelines", "max_cores", "max_memory_bytes", "data_stays", "tap", "hides_logs")
    ALLOWED_PIPELINES_FIELD_NUMBER: _ClassVar[int]
    MAX_CORES_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_STAYS_FIELD_NUMBER: _ClassVar[int]
    TAP_FIELD_NUMBER: _ClassVar[int]
    HIDES_LOGS_FIELD_NUMBER: _ClassVar[int]
    allowed_pipelines: _containers.RepeatedScalarFieldContainer[str]
    max_cores: float
    max_memory_bytes: int
    data_stays: _containers.RepeatedScalarFieldContainer[str]
    tap: str
    hides_logs: bool
    def __init__(self, allowed_pipelines: _Optional[_Iterable[str]] = ..., max_cores: _Optional[float] = ..., max_memory_bytes: _Optional[int] = ..., data_stays: _Optional[_Iterable[str]] = ..., tap: _Optional[str] = ..., hides_logs: _Optional[bool] = ...) -> None: ...

class Fingerprint(_message.Message):
    __slots__ = ("device_id", "tier", "site", "device_class", "cpu", "cores", "memory_bytes", "disk_free_bytes", "accelerators", "links", "price_per_h", "speed_ratio", "environments", "data_address", "agent_version", "labels", "speed", "condition", "planner_rtt_ms", "planner_bandwidth_bit_per_s", "disk_total_bytes", "limits", "measured_peers", "unknown", "overridden", "platform", "policy", "isolation")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class IsolationEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_CLASS_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ACCELERATORS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_H_FIELD_NUMBER: _ClassVar[int]
    SPEED_RATIO_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    DATA_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    PLANNER_RTT_MS_FIELD_NUMBER: _ClassVar[int]
    PLANNER_BANDWIDTH_BIT_PER_S_FIELD_NUMBER: _ClassVar[int]
    DISK_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    MEASURED_PEERS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    OVERRIDDEN_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    tier: Tier
    site: str
    device_class: str
    cpu: Cpu
    cores: float
    memory_bytes: int
    disk_free_bytes: int
    accelerators: _containers.RepeatedCompositeFieldContainer[Accelerator]
    links: _containers.RepeatedCompositeFieldContainer[Link]
    price_per_h: float
    speed_ratio: float
    environments: _containers.RepeatedCompositeFieldContainer[Environment]
    data_address: str
    agent_version: str
    labels: _containers.ScalarMap[str, str]
    speed: SpeedScore
    condition: Condition
    planner_rtt_ms: float
    planner_bandwidth_bit_per_s: int
    disk_total_bytes: int
    limits: Limits
    measured_peers: _containers.RepeatedScalarFieldContainer[str]
    unknown: _containers.RepeatedScalarFieldContainer[str]
    overridden: _containers.RepeatedScalarFieldContainer[str]
    platform: str
    policy: Policy
    isolation: _containers.ScalarMap[str, str]
    def __init__(self, device_id: _Optional[str] = ..., tier: _Optional[_Union[Tier, str]] = ..., site: _Optional[str] = ..., device_class: _Optional[str] = ..., cpu: _Optional[_Union[Cpu, _Mapping]] = ..., cores: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., accelerators: _Optional[_Iterable[_Union[Accelerator, _Mapping]]] = ..., links: _Optional[_Iterable[_Union[Link, _Mapping]]] = ..., price_per_h: _Optional[float] = ..., speed_ratio: _Optional[float] = ..., environments: _Optional[_Iterable[_Union[Environment, _Mapping]]] = ..., data_address: _Optional[str] = ..., agent_version: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., speed: _Optional[_Union[SpeedScore, _Mapping]] = ..., condition: _Optional[_Union[Condition, _Mapping]] = ..., planner_rtt_ms: _Optional[float] = ..., planner_bandwidth_bit_per_s: _Optional[int] = ..., disk_total_bytes: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., measured_peers: _Optional[_Iterable[str]] = ..., unknown: _Optional[_Iterable[str]] = ..., overridden: _Optional[_Iterable[str]] = ..., platform: _Optional[str] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., isolation: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Slo(_message.Message):
    __slots__ = ("latency_ms", "percentile_ratio", "accuracy_ratio", "cost_per_h", "accuracy_margin_ratio")
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    PERCENTILE_RATIO_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_RATIO_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_MARGIN_RATIO_FIELD_NUMBER: _ClassVar[int]
    latency_ms: float
    percentile_ratio: float
    accuracy_ratio: float
    cost_per_h: float
    accuracy_margin_ratio: float
    def __init__(self, latency_ms: _Optional[float] = ..., percentile_ratio: _Optional[float] = ..., accuracy_ratio: _Optional[float] = ..., cost_per_h: _Optional[float] = ..., accuracy_margin_ratio: _Optional[float] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("samples", "seconds", "cost")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    samples: int
    seconds: float
    cost: float
    def __init__(self, samples: _Optional[int] = ..., seconds: _Optional[float] = ..., cost: _Optional[float] = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("id", "pipeline_id", "content", "source_device_id", "rate_per_s", "weight", "slo", "guarantee", "budget", "input", "stand_by", "sink", "selector")
    ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    SLO_FIELD_NUMBER: _ClassVar[int]
    GUARANTEE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    STAND_BY_FIELD_NUMBER: _ClassVar[int]
    SINK_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    id: str
    pipeline_id: str
    content: str
    source_device_id: str
    rate_per_s: float
    weight: float
    slo: Slo
    guarantee: Guarantee
    budget: Budget
    input: str
    stand_by: bool
    sink: str
    selector: str
    def __init__(self, id: _Optional[str] = ..., pipeline_id: _Optional[str] = ..., content: _Optional[str] = ..., source_device_id: _Optional[str] = ..., rate_per_s: _Optional[float] = ..., weight: _Optional[float] = ..., slo: _Optional[_Union[Slo, _Mapping]] = ..., guarantee: _Optional[_Union[Guarantee, str]] = ..., budget: _Optional[_Union[Budget, _Mapping]] = ..., input: _Optional[str] = ..., stand_by: _Optional[bool] = ..., sink: _Optional[str] = ..., selector: _Optional[str] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("device_id", "share_ratio")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_RATIO_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    share_ratio: float
    def __init__(self, device_id: _Optional[str] = ..., share_ratio: _Optional[float] = ...) -> None: ...

class OperatorPlan(_message.Message):
    __slots__ = ("operator_id", "device_id", "replicas", "share_ratio", "cores", "accelerator_slots", "accelerator_memory_bytes", "memory_bytes", "batch", "service_ms")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    SHARE_RATIO_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    ACCELERATOR_SLOTS_FIELD_NUMBER: _ClassVar[int]
    ACCELERATOR_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SERVICE_MS_FIELD_NUMBER: _ClassVar[int]
    operator_id: str
    device_id: str
    replicas: int
    share_ratio: float
    cores: float
    accelerator_slots: int
    accelerator_memory_bytes: int
    memory_bytes: int
    batch: int
    service_ms: float
    def __init__(self, operator_id: _Optional[str] = ..., device_id: _Optional[str] = ..., replicas: _Optional[int] = ..., share_ratio: _Optional[float] = ..., cores: _Optional[float] = ..., accelerator_slots: _Optional[int] = ..., accelerator_memory_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., batch: _Optional[int] = ..., service_ms: _Optional[float] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("query_id", "configuration", "operators", "latency_ms", "accuracy_ratio", "cost_per_h", "slo_probability_ratio", "item_goodput_per_s", "runner_up", "runner_up_cost_per_h", "latency_p50_ms", "certainty", "billed_per_h")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_RATIO_FIELD_NUMBER: _ClassVar[int]
    COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    SLO_PROBABILITY_RATIO_FIELD_NUMBER: _ClassVar[int]
    ITEM_GOODPUT_PER_S_FIELD_NUMBER: _ClassVar[int]
    RUNNER_UP_FIELD_NUMBER: _ClassVar[int]
    RUNNER_UP_COST_PER_H_FIELD_NUMBER: _ClassVar[int]
    LATENCY_P50_MS_FIELD_NUMBER: _ClassVar[int]
    CERTAINTY_FIELD_NUMBER: _ClassVar[int]
    BILLED_PER_H_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    configuration: Configuration
    operators: _containers.RepeatedCompositeFieldContainer[OperatorPlan]
    latency_ms: Interval
    accuracy_ratio: Interval
    cost_per_h: float
    slo_probability_ratio: float
    item_goodput_per_s: float
    runner_up: str
    runner_up_cost_per_h: float
    latency_p50_ms: float
    certainty: Certainty
    billed_per_h: float
    def __init__(self, query_id: _Optional[str] = ..., configuration: _Optional[_Union[Configuration, _Mapping]] = ..., operators: _Optional[_Iterable[_Union[OperatorPlan, _Mapping]]] = ..., latency_ms: _Optional[_Union[Interval, _Mapping]] = ..., accuracy_ratio: _Optional[_Union[Interval, _Mapping]] = ..., cost_per_h: _Optional[float] = ..., slo_probability_ratio: _Optional[float] = ..., item_goodput_per_s: _Optional[float] = ..., runner_up: _Optional[str] = ..., runner_up_cost_per_h: _Optional[float] = ..., latency_p50_ms: _Optional[float] = ..., certainty: _Optional[_Union[Certainty, str]] = ..., billed_per_h: _Optional[float] = ...) -> None: ...

class ReplicaSet(_message.Message):
    __slots__ = ("key", "query_id", "pipeline_id", "operator_id", "bundle_digest", "environment_digest", "entry_point", "knobs", "replicas", "cores", "accelerator_slots", "accelerator_memory_bytes", "memory_bytes", "batch", "hang_ms", "inputs", "uses", "split_by", "each")
    class KnobsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: KnobValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[KnobValue, _Mapping]] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    KNOBS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    ACCELERATOR_SLOTS_FIELD_NUMBER: _ClassVar[int]
    ACCELERATOR_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HANG_MS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    SPLIT_BY_FIELD_NUMBER: _ClassVar[int]
    EACH_FIELD_NUMBER: _ClassVar[int]
    key: str
    query_id: str
    pipeline_id: str
    operator_id: str
    bundle_digest: str
    environment_digest: str
    entry_point: str
    knobs: _containers.MessageMap[str, KnobValue]
    replicas: int
    cores: float
    accelerator_slots: int
    accelerator_memory_bytes: int
    memory_bytes: int
    batch: int
    hang_ms: float
    inputs: _containers.RepeatedScalarFieldContainer[str]
    uses: _containers.RepeatedCompositeFieldContainer[Use]
    split_by: str
    each: bool
    def __init__(self, key: _Optional[str] = ..., query_id: _Optional[str] = ..., pipeline_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., environment_digest: _Optional[str] = ..., entry_point: _Optional[str] = ..., knobs: _Optional[_Mapping[str, KnobValue]] = ..., replicas: _Optional[int] = ..., cores: _Optional[float] = ..., accelerator_slots: _Optional[int] = ..., accelerator_memory_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., batch: _Optional[int] = ..., hang_ms: _Optional[float] = ..., inputs: _Optional[_Iterable[str]] = ..., uses: _Optional[_Iterable[_Union[Use, _Mapping]]] = ..., split_by: _Optional[str] = ..., each: _Optional[bool] = ...) -> None: ...

class Use(_message.Message):
    __slots__ = ("query_id", "operator_id", "inputs", "rate_per_s", "weight", "after_ms", "deadline_ms", "cores", "replicas")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    CORES_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    operator_id: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    rate_per_s: float
    weight: float
    after_ms: float
    deadline_ms: float
    cores: float
    replicas: int
    def __init__(self, query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., rate_per_s: _Optional[float] = ..., weight: _Optional[float] = ..., after_ms: _Optional[float] = ..., deadline_ms: _Optional[float] = ..., cores: _Optional[float] = ..., replicas: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("query_id", "operator_id", "inputs", "targets", "given_by", "earlier_ms", "each")
    class GivenByEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    GIVEN_BY_FIELD_NUMBER: _ClassVar[int]
    EARLIER_MS_FIELD_NUMBER: _ClassVar[int]
    EACH_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    operator_id: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    given_by: _containers.ScalarMap[str, str]
    earlier_ms: float
    each: bool
    def __init__(self, query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ..., given_by: _Optional[_Mapping[str, str]] = ..., earlier_ms: _Optional[float] = ..., each: _Optional[bool] = ...) -> None: ...

class Feed(_message.Message):
    __slots__ = ("kind", "field", "form", "number_field", "rate_hz", "rate_field", "chunk_ms", "channels")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_FIELD_NUMBER: _ClassVar[int]
    RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_FIELD_NUMBER: _ClassVar[int]
    CHUNK_MS_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    kind: FeedKind
    field: str
    form: str
    number_field: str
    rate_hz: int
    rate_field: str
    chunk_ms: int
    channels: int
    def __init__(self, kind: _Optional[_Union[FeedKind, str]] = ..., field: _Optional[str] = ..., form: _Optional[str] = ..., number_field: _Optional[str] = ..., rate_hz: _Optional[int] = ..., rate_field: _Optional[str] = ..., chunk_ms: _Optional[int] = ..., channels: _Optional[int] = ...) -> None: ...

class SourceSpec(_message.Message):
    __slots__ = ("key", "query_id", "pipeline_id", "bundle_digest", "environment_digest", "entry_point", "scorer_entry_point", "content", "seed", "rate_per_s", "deadline_ms", "output_operator_ids", "clip", "input", "leader_query_id", "weight", "reference", "feed", "sink", "given_by")
    class GivenByEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KEY_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    SCORER_ENTRY_POINT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RATE_PER_S_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_OPERATOR_IDS_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    LEADER_QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    SINK_FIELD_NUMBER: _ClassVar[int]
    GIVEN_BY_FIELD_NUMBER: _ClassVar[int]
    key: str
    query_id: str
    pipeline_id: str
    bundle_digest: str
    environment_digest: str
    entry_point: str
    scorer_entry_point: str
    content: str
    seed: int
    rate_per_s: float
    deadline_ms: float
    output_operator_ids: _containers.RepeatedScalarFieldContainer[str]
    clip: int
    input: str
    leader_query_id: str
    weight: float
    reference: Configuration
    feed: Feed
    sink: str
    given_by: _containers.ScalarMap[str, str]
    def __init__(self, key: _Optional[str] = ..., query_id: _Optional[str] = ..., pipeline_id: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., environment_digest: _Optional[str] = ..., entry_point: _Optional[str] = ..., scorer_entry_point: _Optional[str] = ..., content: _Optional[str] = ..., seed: _Optional[int] = ..., rate_per_s: _Optional[float] = ..., deadline_ms: _Optional[float] = ..., output_operator_ids: _Optional[_Iterable[str]] = ..., clip: _Optional[int] = ..., input: _Optional[str] = ..., leader_query_id: _Optional[str] = ..., weight: _Optional[float] = ..., reference: _Optional[_Union[Configuration, _Mapping]] = ..., feed: _Optional[_Union[Feed, _Mapping]] = ..., sink: _Optional[str] = ..., given_by: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StandBy(_message.Message):
    __slots__ = ("query_id", "configuration", "replica_sets", "routes", "needs_device_ids", "latency_ms", "accuracy_ratio")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_SETS_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    NEEDS_DEVICE_IDS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_RATIO_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    configuration: Configuration
    replica_sets: _containers.RepeatedCompositeFieldContainer[ReplicaSet]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    needs_device_ids: _containers.RepeatedScalarFieldContainer[str]
    latency_ms: Interval
    accuracy_ratio: Interval
    def __init__(self, query_id: _Optional[str] = ..., configuration: _Optional[_Union[Configuration, _Mapping]] = ..., replica_sets: _Optional[_Iterable[_Union[ReplicaSet, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., needs_device_ids: _Optional[_Iterable[str]] = ..., latency_ms: _Optional[_Union[Interval, _Mapping]] = ..., accuracy_ratio: _Optional[_Union[Interval, _Mapping]] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("device_id", "address", "site")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    address: str
    site: str
    def __init__(self, device_id: _Optional[str] = ..., address: _Optional[str] = ..., site: _Optional[str] = ...) -> None: ...

class Directive(_message.Message):
    __slots__ = ("device_id", "epoch", "generation", "digest", "replica_sets", "routes", "sources", "peers", "stand_bys", "dialled_by")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    REPLICA_SETS_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    STAND_BYS_FIELD_NUMBER: _ClassVar[int]
    DIALLED_BY_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    epoch: int
    generation: int
    digest: str
    replica_sets: _containers.RepeatedCompositeFieldContainer[ReplicaSet]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    sources: _containers.RepeatedCompositeFieldContainer[SourceSpec]
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    stand_bys: _containers.RepeatedCompositeFieldContainer[StandBy]
    dialled_by: _containers.RepeatedCompositeFieldContainer[Peer]
    def __init__(self, device_id: _Optional[str] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ..., digest: _Optional[str] = ..., replica_sets: _Optional[_Iterable[_Union[ReplicaSet, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., sources: _Optional[_Iterable[_Union[SourceSpec, _Mapping]]] = ..., peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ..., stand_bys: _Optional[_Iterable[_Union[StandBy, _Mapping]]] = ..., dialled_by: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ...) -> None: ...

class Sketch(_message.Message):
    __slots__ = ("indices", "counts", "zeros", "sum", "min", "max")
    INDICES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    indices: _containers.RepeatedScalarFieldContainer[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    zeros: int
    sum: float
    min: float
    max: float
    def __init__(self, indices: _Optional[_Iterable[int]] = ..., counts: _Optional[_Iterable[int]] = ..., zeros: _Optional[int] = ..., sum: _Optional[float] = ..., min: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class QueryWindow(_message.Message):
    __slots__ = ("query_id", "generation", "start", "duration_s", "emitted", "answered", "late", "dropped_by_cause", "failed_by_cause", "scores_ratio", "on_time_score_sum", "on_time_scored", "latency_ms", "excess_emitted", "excess_answered", "dropped_by_place", "shadow_score_sum", "shadow_score_square_sum", "shadow_scored", "stand_by_answered", "bytes_sent")
    class DroppedByCauseEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class FailedByCauseEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DroppedByPlaceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BY_CAUSE_FIELD_NUMBER: _ClassVar[int]
    FAILED_BY_CAUSE_FIELD_NUMBER: _ClassVar[int]
    SCORES_RATIO_FIELD_NUMBER: _ClassVar[int]
    ON_TIME_SCORE_SUM_FIELD_NUMBER: _ClassVar[int]
    ON_TIME_SCORED_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    EXCESS_EMITTED_FIELD_NUMBER: _ClassVar[int]
    EXCESS_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BY_PLACE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SCORE_SUM_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SCORE_SQUARE_SUM_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SCORED_FIELD_NUMBER: _ClassVar[int]
    STAND_BY_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    generation: int
    start: _timestamp_pb2.Timestamp
    duration_s: float
    emitted: int
    answered: int
    late: int
    dropped_by_cause: _containers.ScalarMap[str, int]
    failed_by_cause: _containers.ScalarMap[str, int]
    scores_ratio: _containers.RepeatedScalarFieldContainer[float]
    on_time_score_sum: float
    on_time_scored: int
    latency_ms: Sketch
    excess_emitted: int
    excess_answered: int
    dropped_by_place: _containers.ScalarMap[str, int]
    shadow_score_sum: float
    shadow_score_square_sum: float
    shadow_scored: int
    stand_by_answered: int
    bytes_sent: int
    def __init__(self, query_id: _Optional[str] = ..., generation: _Optional[int] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration_s: _Optional[float] = ..., emitted: _Optional[int] = ..., answered: _Optional[int] = ..., late: _Optional[int] = ..., dropped_by_cause: _Optional[_Mapping[str, int]] = ..., failed_by_cause: _Optional[_Mapping[str, int]] = ..., scores_ratio: _Optional[_Iterable[float]] = ..., on_time_score_sum: _Optional[float] = ..., on_time_scored: _Optional[int] = ..., latency_ms: _Optional[_Union[Sketch, _Mapping]] = ..., excess_emitted: _Optional[int] = ..., excess_answered: _Optional[int] = ..., dropped_by_place: _Optional[_Mapping[str, int]] = ..., shadow_score_sum: _Optional[float] = ..., shadow_score_square_sum: _Optional[float] = ..., shadow_scored: _Optional[int] = ..., stand_by_answered: _Optional[int] = ..., bytes_sent: _Optional[int] = ...) -> None: ...

class OperatorWindow(_message.Message):
    __slots__ = ("query_id", "operator_id", "generation", "start", "duration_s", "items", "service_ms_sum", "cpu_ms_sum", "queue_ms_sum", "output_bytes", "failures", "restarts", "memory_bytes", "service_ms", "queue_ms", "batches", "dropped_by_cause")
    class DroppedByCauseEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_MS_SUM_FIELD_NUMBER: _ClassVar[int]
    CPU_MS_SUM_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_SUM_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BY_CAUSE_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    operator_id: str
    generation: int
    start: _timestamp_pb2.Timestamp
    duration_s: float
    items: int
    service_ms_sum: float
    cpu_ms_sum: float
    queue_ms_sum: float
    output_bytes: int
    failures: int
    restarts: int
    memory_bytes: int
    service_ms: Sketch
    queue_ms: Sketch
    batches: int
    dropped_by_cause: _containers.ScalarMap[str, int]
    def __init__(self, query_id: _Optional[str] = ..., operator_id: _Optional[str] = ..., generation: _Optional[int] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration_s: _Optional[float] = ..., items: _Optional[int] = ..., service_ms_sum: _Optional[float] = ..., cpu_ms_sum: _Optional[float] = ..., queue_ms_sum: _Optional[float] = ..., output_bytes: _Optional[int] = ..., failures: _Optional[int] = ..., restarts: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., service_ms: _Optional[_Union[Sketch, _Mapping]] = ..., queue_ms: _Optional[_Union[Sketch, _Mapping]] = ..., batches: _Optional[int] = ..., dropped_by_cause: _Optional[_Mapping[str, int]] = ...) -> None: ...

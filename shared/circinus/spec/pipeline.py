"""pipeline.yaml <-> Pipeline. The format is described in docs/pipeline-format.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod

import yaml

from circinus.model.pipeline import (
    SOURCE,
    Configuration,
    ContentSpec,
    EnvironmentSpec,
    Knob,
    KnobValue,
    OperatorId,
    OperatorSpec,
    Pipeline,
    PipelineId,
    State,
)
from circinus.spec import graph
from circinus.spec.document import MAX_KNOWN, Document, Entry, kind_of, suggestion
from circinus.spec.feed import read_feed

MAX_OPERATORS = 100
MAX_INPUTS = 32
MAX_KNOBS = 32
MAX_KNOB_VALUES = 1_000
MAX_CONFIGURATIONS = 1_000_000
MAX_CONTENTS = 100
MAX_SAMPLES = 10_000
#: Of a clip, warming up included.
MAX_ITEMS = 1_000
MAX_REQUIREMENTS = 200
MAX_HANG_MS = 3_600_000

ID_PATTERN = r"[a-z][a-z0-9-]{0,62}"
ID_RULE = "lower-case letters, digits and dashes, beginning with a letter, at most 63"
_KNOB_PATTERN = r"[a-z][a-z0-9_-]{0,62}"
_KNOB_RULE = "lower-case letters, digits, dashes and underscores, beginning with a letter, at most 63"
_ENTRY_PATTERN = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
_ENTRY_RULE = '"module:Class"'
DEVICE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
DEVICE_RULE = "a device id: letters, digits, dots, dashes and underscores, at most 63"

#: What an input's ``data`` may say: its items may not leave the site of the machine where they are made.
DATA_AT_SITE = "site"
#: What a set is no kind of, to YAML.
_MAPPING = "tag:yaml.org,2002:map"
_REQUIRED = ("pipeline", "source", "scorer", "operators", "outputs", "contents")
_OPTIONAL = ("description", "environment", "feed")
_DEFAULT_HANG_MS = 30_000.0
_CONTENT_LIMITS = {
    "seed": (0, 2**63 - 1),
    "samples": (1, MAX_SAMPLES),
    "clip": (1, MAX_ITEMS),
    "warmup": (0, MAX_ITEMS - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedPipeline:
    """A pipeline with the line on which each of its entry points stands."""

    pipeline: Pipeline
    entry_point_lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operator:
    """An operator as it was read, with the nodes that later errors point to."""

    spec: OperatorSpec
    node: yaml.Node
    inputs: tuple[tuple[str, yaml.Node], ...]


def parse_pipeline(text: str, filename: str = "pipeline.yaml") -> Pipeline:
    """The pipeline in a YAML text; its operators are put in an order in which each comes after its inputs.

    Raises:
        SpecErrors: all that is wrong with the text, each with its line.
    """
    return parse_located(text, filename).pipeline


def parse_located(text: str, filename: str = "pipeline.yaml") -> LocatedPipeline:
    """Like ``parse_pipeline``, with the lines of the entry points, for checks against the code.

    Raises:
        SpecErrors: all that is wrong with the text, each with its line.
    """
    document = Document(text, filename)
    reader = _Reader(document)
    pipeline = reader.pipeline()
    document.finish()
    return LocatedPipeline(pipeline=pipeline, entry_point_lines=tuple(reader.entry_points))


class _Reader:
    """Reads one document; what can't be read is left out, and an error stands for it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.entry_points: list[tuple[str, int]] = []

    def pipeline(self) -> Pipeline:
        document = self.document
        entries = document.mapping(document.root, "pipeline file", required=_REQUIRED, optional=_OPTIONAL)
        values = {key: entry.value for key, entry in entries.items()}
        operators = self._operators(values.get("operators"))
        outputs = self._outputs(values.get("outputs"), operators)
        ordered = self._check_graph(operators, outputs)
        written = 0
        if "operators" in values:
            self._check_size(values["operators"], ordered)
            written = len(values["operators"].value)
        return Pipeline(
            id=PipelineId(self._id(values.get("pipeline"), "pipeline") or ""),
            description=document.text(values.get("description"), "description", at_most=2_000, empty=True) or "",
            environment=self._environment(values.get("environment")),
            source=self._entry_point(values.get("source"), "source"),
            scorer=self._entry_point(values.get("scorer"), "scorer"),
            operators=ordered,
            outputs=tuple(OperatorId(name) for name, _ in outputs),
            contents=self._contents(values.get("contents"), ordered if len(ordered) == written else None),
            feed=read_feed(document, values.get("feed")),
        )

    def _id(self, node: yaml.Node | None, what: str) -> str | None:
        return self.document.text(node, what, pattern=ID_PATTERN, rule=ID_RULE)

    def _entry_point(self, node: yaml.Node | None, what: str) -> str:
        value = self.document.text(node, what, pattern=_ENTRY_PATTERN, rule=_ENTRY_RULE)
        if value is None or node is None:
            return ""
        self.entry_points.append((value, node.start_mark.line + 1))
        return value

    def _environment(self, node: yaml.Node | None) -> EnvironmentSpec:
        keys = ("python", "libraries", "executables", "debian")
        entries = self.document.mapping(node, "environment", optional=keys)
        lists = {
            key: self.document.texts(entry.value, f"environment: {key}", at_most=MAX_REQUIREMENTS)
            for key, entry in entries.items()
        }
        return EnvironmentSpec(**lists)

    def _operators(self, node: yaml.Node | None) -> dict[str, _Operator]:
        found: dict[str, _Operator] = {}
        for element in self.document.sequence(node, "operators", at_least=1, at_most=MAX_OPERATORS):
            operator = self._operator(element)
            if operator is None:
                continue
            name = operator.spec.id
            if name in found:
                first = found[name].node.start_mark.line + 1
                self.document.error(operator.node, f"operator {name!r} is defined twice (first on line {first})")
            else:
                found[name] = operator
        return found

    def _operator(self, node: yaml.Node) -> _Operator | None:
        document = self.document
        if not isinstance(node, yaml.MappingNode):
            document.error(node, f"each operator must be a mapping with id, class and inputs, is {kind_of(node)}")
            return None
        what = document.named(node, "operator")
        optional = ("knobs", "state", "pinned", "accelerators", "hang_ms", "fan_out", "each", "network")
        entries = document.mapping(node, what, required=("id", "class", "inputs"), optional=optional)
        values = {key: entry.value for key, entry in entries.items()}
        name = self._id(values.get("id"), f"{what}: id")
        if name == SOURCE:
            document.error(values["id"], f"operator id {name!r} is taken: it is what operators call the source")
            name = None
        inputs, at_site = self._inputs(values.get("inputs"), f"{what}: inputs")
        pinned = document.text(values.get("pinned"), f"{what}: pinned", pattern=DEVICE_PATTERN, rule=DEVICE_RULE)
        hang_ms = document.number(values.get("hang_ms"), f"{what}: hang_ms", above=0, at_most=MAX_HANG_MS)
        spec = OperatorSpec(
            id=OperatorId(name or ""),
            entry_point=self._entry_point(values.get("class"), f"{what}: class"),
            inputs=tuple(OperatorId(value) for value, _ in inputs),
            knobs=self._knobs(values.get("knobs"), what),
            state=self._state(values.get("state"), what),
            pinned=pinned or "",
            accelerator_kinds=document.texts(values.get("accelerators"), f"{what}: accelerators", at_most=8),
            hang_ms=hang_ms or _DEFAULT_HANG_MS,
            fan_out=document.text(values.get("fan_out"), f"{what}: fan_out", at_most=200) or "",
            site_inputs=at_site,
            each=bool(document.flag(values.get("each"), f"{what}: each")),
            network=bool(document.flag(values.get("network"), f"{what}: network")),
        )
        return _Operator(spec=spec, node=values.get("id", node), inputs=tuple(inputs)) if name else None

    def _inputs(self, node: yaml.Node | None, what: str) -> tuple[list[tuple[str, yaml.Node]], tuple[OperatorId, ...]]:
        """The inputs with their nodes, and those whose items may not leave their site."""
        found: dict[str, yaml.Node] = {}
        at_site: list[OperatorId] = []
        for element in self.document.sequence(node, what, at_least=1, at_most=MAX_INPUTS):
            name, data = element, None
            if isinstance(element, yaml.MappingNode) and element.tag == _MAPPING:
                entries = self.document.mapping(element, f"{what}: an input", required=("from",), optional=("data",))
                if "from" not in entries:
                    continue
                name = entries["from"].value
                data = self.document.choice(
                    entries["data"].value if "data" in entries else None, f"{what}: an input", "data", [DATA_AT_SITE]
                )
            value = self.document.text(name, f"{what}: each element")
            if value is None:
                continue
            if value in found:
                self.document.error(element, f"{what}: {value!r} is repeated")
                continue
            found[value] = name
            if data == DATA_AT_SITE:
                at_site.append(OperatorId(value))
        return list(found.items()), tuple(at_site)

    def _state(self, node: yaml.Node | None, what: str) -> State:
        value = self.document.choice(node, what, "state", [state.value for state in State])
        return State.NONE if value is None else State(value)

    def _knobs(self, node: yaml.Node | None, what: str) -> tuple[Knob, ...]:
        entries = self.document.mapping(node, f"{what}: knobs", optional=None)
        if node is not None and len(entries) > MAX_KNOBS:
            self.document.error(node, f"{what} has {len(entries)} knobs; the limit is {MAX_KNOBS}")
            return ()
        knobs = []
        for name, entry in entries.items():
            knob = f"{what}: knob {name!r}"
            self.document.text(entry.key, f"{what}: knob", pattern=_KNOB_PATTERN, rule=_KNOB_RULE)
            knobs.append(self._knob(entry.value, name, knob))
        return tuple(knobs)

    def _knob(self, node: yaml.Node, name: str, what: str) -> Knob:
        if not isinstance(node, yaml.MappingNode) or node.tag != _MAPPING:
            return Knob(name=name, values=self._domain(node, what))
        entries = self.document.mapping(node, what, required=("values",), optional=("monotone",))
        values = {key: entry.value for key, entry in entries.items()}
        monotone = self.document.flag(values.get("monotone"), f"{what}: monotone")
        return Knob(name=name, values=self._domain(values.get("values"), what), monotone=bool(monotone))

    def _domain(self, node: yaml.Node | None, knob: str) -> tuple[KnobValue, ...]:
        written: list[tuple[yaml.Node, KnobValue]] = []
        for element in self.document.sequence(node, knob, at_least=1, at_most=MAX_KNOB_VALUES):
            value = self.document.scalar(element, f"{knob}: each value")
            if isinstance(value, str) and len(value) > 200:
                self.document.error(element, f"{knob}: a value has {len(value)} characters; the limit is 200")
            elif value is not None:
                written.append((element, value))
        # 1 among reals is 1.0: else the same setting would have two names.
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for _, value in written)
        reals = numbers and any(isinstance(value, float) for _, value in written)
        values: list[KnobValue] = []
        for element, value in written:
            settled = float(value) if reals else value
            if settled in values:
                self.document.error(element, f"{knob}: value {value!r} is repeated")
            else:
                values.append(settled)
        return tuple(values)

    def _outputs(self, node: yaml.Node | None, operators: dict[str, _Operator]) -> list[tuple[str, yaml.Node]]:
        outputs = self.document.located_texts(node, "outputs", at_least=1, at_most=MAX_OPERATORS)
        for name, element in outputs:
            if name not in operators:
                self.document.error(element, f"output {name!r} is no operator{suggestion(name, operators)}")
        return outputs

    def _check_graph(
        self, operators: dict[str, _Operator], outputs: list[tuple[str, yaml.Node]]
    ) -> tuple[OperatorSpec, ...]:
        document = self.document
        unknown = False
        for name, operator in operators.items():
            for value, node in operator.inputs:
                if value != SOURCE and value not in operators:
                    unknown = True
                    hint = suggestion(value, [SOURCE, *(other for other in operators if other != name)])
                    document.error(node, f"operator {name!r}: unknown input {value!r}{hint}")
        for operator in operators.values():
            self._check_each(operator, operators)
        inputs = {name: [value for value, _ in operator.inputs] for name, operator in operators.items()}
        for cycle in graph.cycles(inputs):
            path = " -> ".join((*cycle, cycle[0]))
            document.error(operators[cycle[0]].node, f"operators form a cycle: {path}")
        named = [name for name, _ in outputs if name in operators]
        # An edge that leads nowhere may be the one that is missed here.
        if named and not unknown:
            reached = graph.ancestors(inputs, named)
            for name, operator in operators.items():
                if name not in reached:
                    document.error(
                        operator.node, f"operator {name!r} leads to no output; name it in outputs or remove it"
                    )
        return tuple(operators[name].spec for name in graph.topological(inputs))

    def _check_each(self, operator: _Operator, operators: dict[str, _Operator]) -> None:
        """What is run for each part has one input, which has parts, and no state that their order could matter to."""
        spec = operator.spec
        if not spec.each:
            return
        what = f"operator {spec.id!r}: each"
        if len(spec.inputs) != 1:
            self.document.error(operator.node, f"{what} needs exactly one input, there are {len(spec.inputs)}")
        elif (given := operators.get(spec.inputs[0])) is None or not (given.spec.fan_out or given.spec.each):
            rule = "declare fan_out there, or take the parts of an operator that is each itself"
            self.document.error(operator.node, f"{what}: its input {spec.inputs[0]!r} has no parts; {rule}")
        if spec.state is not State.NONE:
            self.document.error(operator.node, f"{what}: parts have no order among replicas, so it can carry no state")
        if spec.fan_out:
            self.document.error(operator.node, f"{what}: a part can't be cut again; remove fan_out")

    def _check_size(self, node: yaml.Node, operators: tuple[OperatorSpec, ...]) -> None:
        count = prod(len(knob.values) for operator in operators for knob in operator.knobs if knob.values)
        if count > MAX_CONFIGURATIONS:
            self.document.error(node, f"the knobs make {count:,} configurations; the limit is {MAX_CONFIGURATIONS:,}")

    def _contents(self, node: yaml.Node | None, operators: tuple[OperatorSpec, ...] | None) -> tuple[ContentSpec, ...]:
        """The contents; ``operators`` None: some couldn't be read, so nothing can be said of references."""
        document = self.document
        entries = document.mapping(node, "contents", optional=None)
        if node is not None and isinstance(node, yaml.MappingNode) and not node.value:
            document.error(node, "contents is empty; it needs at least 1")
        if node is not None and len(entries) > MAX_CONTENTS:
            document.error(node, f"{len(entries)} contents; the limit is {MAX_CONTENTS}")
            return ()
        return tuple(self._content(name, entry, operators) for name, entry in entries.items())

    def _content(self, name: str, entry: Entry, operators: tuple[OperatorSpec, ...] | None) -> ContentSpec:
        document, what = self.document, f"content {name!r}"
        document.text(entry.key, "content", pattern=ID_PATTERN, rule=ID_RULE)
        optional = ("clip", "warmup", "reference")
        fields = document.mapping(entry.value, what, required=("seed", "samples"), optional=optional)
        numbers = {
            key: document.integer(fields[key].value, f"{what}: {key}", at_least=low, at_most=high)
            for key, (low, high) in _CONTENT_LIMITS.items()
            if key in fields
        }
        clip, warmup = numbers.get("clip") or 1, numbers.get("warmup") or 0
        if clip + warmup > MAX_ITEMS:
            document.error(entry.key, f"{what}: clip and warmup make {clip + warmup} items; the limit is {MAX_ITEMS}")
        reference = None
        if "reference" in fields and operators is not None:
            reference = self._reference(fields["reference"].value, f"{what}: reference", operators)
        return ContentSpec(
            name=name,
            seed=numbers.get("seed") or 0,
            samples=numbers.get("samples") or 0,
            clip=clip,
            warmup=warmup,
            reference=reference,
        )

    def _reference(self, node: yaml.Node, what: str, operators: tuple[OperatorSpec, ...]) -> Configuration:
        """A value for every knob, in their order."""
        found: dict[str, KnobValue] = {}
        knobs = {f"{operator.id}.{knob.name}": knob for operator in operators for knob in operator.knobs}
        entries = self.document.mapping(node, what, required=knobs)
        for name, knob in knobs.items():
            # A knob without values is an error already.
            if name in entries and knob.values:
                value = self._value_of(knob, entries[name].value, f"{what}: {name}")
                if value is not None:
                    found[name] = value
        return found

    def _value_of(self, knob: Knob, node: yaml.Node, what: str) -> KnobValue | None:
        value = self.document.scalar(node, what)
        if value is None:
            return None
        for known in knob.values:
            # True and 1 are equal, but another setting.
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return known
        texts = [known for known in knob.values if isinstance(known, str)] if isinstance(value, str) else []
        if texts:
            hint = suggestion(str(value), texts)
        elif len(knob.values) <= MAX_KNOWN:
            hint = "; known: " + ", ".join(json.dumps(known) for known in knob.values)
        else:
            hint = f"; it has {len(knob.values):,} values"
        shown = repr(value) if isinstance(value, str) else json.dumps(value)
        self.document.error(node, f"{what} has no value {shown}{hint}")
        return None

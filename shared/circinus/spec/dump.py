"""Pipeline -> pipeline.yaml: the text from which ``parse_pipeline`` reads the same value back."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import Any

import yaml

from circinus.model.pipeline import ContentSpec, EnvironmentSpec, Knob, OperatorSpec, Pipeline
from circinus.spec.feed import feed_entries
from circinus.spec.pipeline import DATA_AT_SITE

_TAG = "tag:yaml.org,2002:"
_WIDTH = 120
#: What the file calls fields of an operator that have another name in the model.
_KEYS = {"entry_point": "class", "accelerator_kinds": "accelerators"}
#: Text that some reader of YAML, or a person, takes for a number: quotes go around it. ``1e-3`` is one.
_LIKE_NUMBER = re.compile(r"[-+.]*\d[\d_.]*([eE][-+]?\d+)?$|0o[0-7]+$")
#: Ends of lines to YAML 1.1, which a reader may turn into plain ones.
_ODD_BREAKS = re.compile("[\x85\u2028\u2029]")


def pipeline_yaml(pipeline: Pipeline) -> str:
    """The YAML text of a valid pipeline; what has its default is left out.

    ``parse_pipeline`` reads an equal value from it, or says what is wrong with a pipeline that isn't valid. Its
    operators are written in their order.
    """
    sections: tuple[dict[str, Any], ...] = (
        {"pipeline": pipeline.id} | ({"description": pipeline.description} if pipeline.description else {}),
        {"environment": environment} if (environment := _without_defaults(pipeline.environment)) else {},
        {"source": pipeline.source, "scorer": pipeline.scorer},
        {"feed": feed_entries(pipeline.feed)} if pipeline.feed is not None else {},
        {"operators": [_operator(operator) for operator in pipeline.operators]},
        {"outputs": pipeline.outputs},
        {"contents": {content.name: _content(content) for content in pipeline.contents}},
    )
    return "\n".join(_dumped(section) for section in sections if section)


def _operator(operator: OperatorSpec) -> dict[str, Any]:
    entries = {_KEYS.get(name, name): value for name, value in _without_defaults(operator).items()}
    if "knobs" in entries:
        entries["knobs"] = {knob.name: _knob(knob) for knob in operator.knobs}
    if entries.pop("site_inputs", ()):
        entries["inputs"] = [
            {"from": name, "data": DATA_AT_SITE} if name in operator.site_inputs else name for name in operator.inputs
        ]
    if isinstance(hang_ms := entries.get("hang_ms"), float) and hang_ms.is_integer():
        entries["hang_ms"] = int(hang_ms)
    return entries


def _knob(knob: Knob) -> Any:
    return {"values": knob.values, "monotone": knob.monotone} if knob.monotone else knob.values


def _content(content: ContentSpec) -> dict[str, Any]:
    return {key: value for key, value in _without_defaults(content).items() if key != "name"}


def _without_defaults(value: EnvironmentSpec | OperatorSpec | ContentSpec) -> dict[str, Any]:
    """The fields that are required, or have another value than their default, in the model's order."""
    pairs = ((field, getattr(value, field.name)) for field in fields(value))
    return {field.name: entry for field, entry in pairs if field.default is MISSING or entry != field.default}


class _Section(dict[str, Any]):
    """Some of the file's own keys, each on its own line."""


class _Dumper(yaml.SafeDumper):
    """Lists and mappings of plain values on one line, all else in blocks; elements stand deeper than their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True  # the reader takes none


def _dumped(section: dict[str, Any]) -> str:
    text: str = yaml.dump(
        _Section(section),
        Dumper=_Dumper,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH,
    )
    return text


def _represent_section(dumper: _Dumper, section: _Section) -> yaml.Node:
    return dumper.represent_mapping(f"{_TAG}map", section.items(), flow_style=False)


def _represent_text(dumper: _Dumper, value: str) -> yaml.Node:
    style = None
    if _ODD_BREAKS.search(value):
        style = '"'
    elif "\n" in value:
        # A block that ends in empty lines would swallow the one between two sections.
        style = "|" if value == value.strip() else '"'
    return dumper.represent_scalar(f"{_TAG}str", str.__str__(value), style=style)


def _represent_nothing(dumper: _Dumper, value: None) -> yaml.Node:
    return dumper.represent_scalar(f"{_TAG}null", "")


def _represent_other(dumper: _Dumper, value: Any) -> yaml.Node:
    """What is no YAML: numpy's numbers and arrays as plain ones; else something that the reader names in its error."""
    if hasattr(value, "tolist"):
        return dumper.represent_data(value.tolist())
    return dumper.represent_scalar(f"{_TAG}{type(value).__name__}", str(value)[:80])


_Dumper.add_implicit_resolver(f"{_TAG}float", _LIKE_NUMBER, None)
_Dumper.add_representer(_Section, _represent_section)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(type(None), _represent_nothing)
# Kinds of their own, such as members of an enumeration, are written as what they are kinds of.
_Dumper.add_multi_representer(str, _represent_text)
_Dumper.add_multi_representer(int, lambda dumper, value: dumper.represent_data(int(value)))
_Dumper.add_multi_representer(float, lambda dumper, value: dumper.represent_data(float(value)))
_Dumper.add_multi_representer(object, _represent_other)

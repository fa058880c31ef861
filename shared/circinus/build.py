"""A pipeline written in Python: the same value, by the same rules, as a pipeline.yaml gives.

    gate = PipelineBuilder("gate", source=Camera, scorer=CharacterAccuracy, python=["numpy>=2.0"])
    find = gate.operator("find", Find, inputs=[gate.source], knobs={"size": [320, 640]})
    read = gate.operator("read", Read, inputs=[find], accelerators=["cuda"])
    gate.output(read)
    gate.content("day", seed=1, samples=64)
    pipeline = gate.build()

``circinus pipeline export MODULE:gate`` writes it as the pipeline.yaml of a bundle. This module itself needs no
YAML, so that a module with operators may hold their pipeline too.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from circinus.model.pipeline import (
    SOURCE,
    Configuration,
    ContentSpec,
    EnvironmentSpec,
    Feed,
    Knob,
    KnobValue,
    OperatorId,
    OperatorSpec,
    Pipeline,
    PipelineId,
    State,
)
from circinus.operator import Operator, Scorer, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A line of the author's code."""

    file: str
    line: int


class PipelineBuilder:
    """Takes a pipeline together, operator by operator; ``build`` checks it.

    Code is given as a class or as "module:Class". What is wrong is said by ``build``, all at once, in the words in
    which it is said of a pipeline.yaml, with the line of Python that it comes from.

    ``description``, ``outputs`` and the environment's lists ``python``, ``libraries``, ``executables`` and ``debian``
    are plain attributes that may be changed until ``build``.
    """

    #: What operators that read the source's items name in ``inputs``.
    source: Final[OperatorId] = SOURCE

    def __init__(
        self,
        id: str,  # noqa: A002 - its name in the file and in the model
        *,
        source: type[Source] | str,
        scorer: type[Scorer] | str,
        description: str = "",
        python: Iterable[str] = (),
        libraries: Iterable[str] = (),
        executables: Iterable[str] = (),
        debian: Iterable[str] = (),
        feed: Feed | None = None,
    ) -> None:
        self.id = id
        self.feed = feed
        self.description = description
        self.outputs: list[str] = []
        self.python = _listed(python)
        self.libraries = _listed(libraries)
        self.executables = _listed(executables)
        self.debian = _listed(debian)
        self._place = self._outputs_place = _caller()
        self._faults: list[tuple[_Place, str]] = []
        self._operators: dict[str, tuple[OperatorSpec, _Place]] = {}
        self._contents: dict[str, tuple[ContentSpec, _Place]] = {}
        self._source = self._entry_point(source, Source, "source")
        self._scorer = self._entry_point(scorer, Scorer, "scorer")

    @classmethod
    def of(cls, pipeline: Pipeline) -> PipelineBuilder:
        """A builder that has all of a pipeline, such as one that was read from a file, and takes more."""
        environment = pipeline.environment
        builder = cls(
            pipeline.id,
            source=pipeline.source,
            scorer=pipeline.scorer,
            description=pipeline.description,
            feed=pipeline.feed,
            **{field.name: getattr(environment, field.name) for field in fields(environment)},
        )
        place = _caller()
        for operator in pipeline.operators:
            builder._add_operator(operator, place)
        builder.output(*pipeline.outputs)
        for content in pipeline.contents:
            builder._add_content(content, place)
        return builder

    def operator(
        self,
        id: str,  # noqa: A002 - as above
        code: type[Operator] | str,
        *,
        inputs: Iterable[str],
        knobs: Mapping[str, Iterable[KnobValue]] | None = None,
        state: State | str = State.NONE,
        pinned: str = "",
        accelerators: Iterable[str] = (),
        hang_ms: float = 30_000.0,
        fan_out: str = "",
        each: bool = False,
        network: bool = False,
        monotone: Iterable[str] = (),
        at_site: Iterable[str] = (),
    ) -> OperatorId:
        """Adds an operator; gives its id, which others name in ``inputs`` and ``output`` takes.

        Args:
            id: Its id; lower-case letters, digits and dashes.
            code: The class, or "module:Class".
            inputs: The builder's ``source``, or ids of operators; they may be added later.
            knobs: Names with their finite domains, in order.
            state: "per_source" if it carries something over from one item of a source to the next.
            pinned: "source" or a device id, if it must run there.
            accelerators: Kinds that it has a variant for; none: CPU only.
            hang_ms: One item that takes longer counts as hung.
            fan_out: The field of its output whose length counts the parts that it makes of an item.
            each: It is run for the parts of its one input, which declares ``fan_out`` or is ``each`` itself.
            network: It reaches other machines; an operator that doesn't say so can't.
            monotone: Those of its knobs along whose values, as they are in order, the accuracy never falls.
            at_site: Those of its inputs whose items may not leave the site of the machine where they are made.
        """
        never_fall = self._known(monotone, knobs or {}, f"operator {id!r}: monotone", "knob")
        reads = _unchecked(inputs)
        stay = self._known(at_site, reads if isinstance(reads, tuple) else (), f"operator {id!r}: at_site", "input")
        spec = OperatorSpec(
            id=OperatorId(id),
            entry_point=self._entry_point(code, Operator, f"operator {id!r}: class"),
            inputs=reads,
            knobs=tuple(
                Knob(name=name, values=_unchecked(values), monotone=name in never_fall)
                for name, values in (knobs or {}).items()
            ),
            state=state,  # type: ignore[arg-type]  # the reader says what it may be
            pinned=pinned,
            accelerator_kinds=_unchecked(accelerators),
            hang_ms=hang_ms,
            fan_out=fan_out,
            each=each,
            network=network,
            site_inputs=tuple(OperatorId(name) for name in (reads if isinstance(reads, tuple) else ()) if name in stay),
        )
        self._add_operator(spec, _caller())
        return spec.id

    def output(self, *operators: str) -> None:
        """Adds operators whose results are the answer."""
        self.outputs.extend(operators)
        self._outputs_place = _caller()

    def content(
        self,
        name: str,
        *,
        seed: int,
        samples: int,
        clip: int = 1,
        warmup: int = 0,
        reference: Configuration | None = None,
    ) -> None:
        """Adds a labelled sample set that the source makes from a seed.

        Args:
            name: What queries call it.
            seed: Which items the source makes.
            samples: How many samples.
            clip: Items that are scored together as one sample; for operators with state.
            warmup: Items before each clip that are run, but not scored.
            reference: A value for every "operator.knob", if its items have no labels: what this configuration answers
                are the truths.
        """
        spec = ContentSpec(name=name, seed=seed, samples=samples, clip=clip, warmup=warmup, reference=reference)
        self._add_content(spec, _caller())

    def reference(self, content: str, values: Configuration) -> None:
        """Adds values to the reference of a content, such as for knobs of an operator that came later."""
        if content not in self._contents:
            known = ", ".join(self._contents) or "none"
            self._faults.append((_caller(), f"reference: there is no content {content!r}; known: {known}"))
            return
        spec = self._contents[content][0]
        self._contents[content] = (replace(spec, reference={**(spec.reference or {}), **values}), _caller())

    def build(self) -> Pipeline:
        """The pipeline, checked as a pipeline.yaml is; its operators are put after their inputs.

        Raises:
            SpecErrors: all that is wrong, each with the line of Python that it comes from.
        """
        # Only who builds needs YAML.
        from circinus.spec.dump import pipeline_yaml
        from circinus.spec.errors import SpecError, SpecErrors
        from circinus.spec.pipeline import parse_pipeline

        errors = list(self._faults)
        text = pipeline_yaml(self._value())
        try:
            pipeline = parse_pipeline(text)
        except SpecErrors as error:
            starts, places = self._places(text)
            errors += [(places[max(0, bisect_right(starts, e.line) - 1)], e.message) for e in error.errors]
        if errors:
            found = {SpecError(file=_shown(place.file), line=place.line, message=message) for place, message in errors}
            raise SpecErrors(found) from None
        return pipeline

    def _value(self) -> Pipeline:
        """What there is, right or wrong."""
        return Pipeline(
            id=PipelineId(self.id),
            description=self.description,
            environment=EnvironmentSpec(
                python=_unchecked(self.python),
                libraries=_unchecked(self.libraries),
                executables=_unchecked(self.executables),
                debian=_unchecked(self.debian),
            ),
            source=self._source,
            scorer=self._scorer,
            operators=tuple(spec for spec, _ in self._operators.values()),
            outputs=_unchecked(self.outputs),
            contents=tuple(spec for spec, _ in self._contents.values()),
            feed=self.feed,
        )

    def _places(self, text: str) -> tuple[list[int], list[_Place]]:
        """The first lines of the parts of the builder's text, in order, and the place that each part comes from."""
        import yaml

        found = [(1, self._place)]
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError:
            root = None
        for key, value in root.value if root else ():
            place = self._outputs_place if key.value == "outputs" else self._place
            parts: Iterable[tuple[yaml.Node, _Place]] = [(key, place)]
            if key.value == "operators":
                parts = zip(value.value, (at for _, at in self._operators.values()), strict=False)
            elif key.value == "contents" and value.value:
                parts = zip((name for name, _ in value.value), (at for _, at in self._contents.values()), strict=False)
            found += [(node.start_mark.line + 1, at) for node, at in parts]
        return [line for line, _ in found], [place for _, place in found]

    def _add_operator(self, spec: OperatorSpec, place: _Place) -> None:
        if spec.id in self._operators:
            first = self._operators[spec.id][1].line
            self._faults.append((place, f"operator {spec.id!r} is defined twice (first on line {first})"))
        else:
            self._operators[spec.id] = (spec, place)

    def _add_content(self, spec: ContentSpec, place: _Place) -> None:
        if spec.name in self._contents:
            first = self._contents[spec.name][1].line
            self._faults.append((place, f"contents: key {spec.name!r} is repeated (first on line {first})"))
        else:
            self._contents[spec.name] = (spec, place)

    def _known(self, names: Iterable[str], known: Iterable[str], what: str, kind: str) -> set[str]:
        """Those of the names that are known; for the others there is nothing in a file that a reader could name."""
        found, there = _unchecked(names), tuple(known)
        if not isinstance(found, tuple):
            self._faults.append((_caller(), f"{what} must be names of {kind}s, is {found!r}"))
            return set()
        for name in found:
            if name not in there:
                self._faults.append((_caller(), f"{what}: {name!r} is no {kind} of it; known: {', '.join(there)}"))
        return set(found)

    def _entry_point(self, code: type | str, kind: type, what: str) -> str:
        """The "module:Class" of a class; anything but a class is left to the reader."""
        if not isinstance(code, type):
            return code
        if not issubclass(code, kind):
            self._faults.append(
                (_caller(), f"{what} {code.__name__!r} is no subclass of circinus.operator.{kind.__name__}")
            )
        return f"{_module_of(code)}:{code.__qualname__}"


def _module_of(code: type) -> str:
    """The module under which a class is imported, also where it is the program that runs."""
    if code.__module__ != "__main__":
        return code.__module__
    program = sys.modules["__main__"]
    spec = getattr(program, "__spec__", None)
    return spec.name if spec else Path(getattr(program, "__file__", "__main__")).stem


def _caller() -> _Place:
    """The line of the author's code that called into this module."""
    frame = sys._getframe()
    while frame.f_globals is globals() and frame.f_back is not None:
        frame = frame.f_back
    return _Place(file=frame.f_code.co_filename, line=frame.f_lineno)


def _shown(file: str) -> str:
    """A path as short as it can be said from here."""
    path, here = Path(file), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else file


def _listed(values: Iterable[str]) -> list[str]:
    """A list of its own; what is no list stays what it is, for the reader to complain of."""
    found: Any = _unchecked(values)
    return list(found) if isinstance(found, tuple) else found


def _unchecked(values: Iterable[Any]) -> Any:
    """A tuple of an iterable with an order; what is no such thing stays what it is, for the reader to complain of."""
    if isinstance(values, (str, bytes, Mapping, AbstractSet)) or not isinstance(values, Iterable):
        return values
    return tuple(values)

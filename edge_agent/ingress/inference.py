"""The Open Inference Protocol (KServe v2, gRPC) at a device: requests and replies to and from the desk.

A model is a whole query (its id, or its pipeline's for the first query of it here) or one operator of it that this
device runs (QUERY/OPERATOR). Names of tensors are names of fields; OPERATOR.FIELD where several operators' fields meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc.aio

import circinus
from circinus import layout
from circinus.errors import CircinusError, InvalidInput, NotFound, Violation, aborts_with_status
from circinus.events import debug
from circinus.layout import FieldView
from circinus.model.pipeline import OperatorId
from circinus.v1 import open_inference_pb2, open_inference_pb2_grpc
from edge_agent.ingress.desk import MAX_TIMEOUT_S, Answer, Desk, Model, OperatorModel, QueryModel
from edge_agent.ingress.known import Known
from edge_agent.ingress.tensors import FieldShape, add_output, fields_of_request, shapes_of

Context = grpc.aio.ServicerContext[Any, Any]
Request = open_inference_pb2.ModelInferRequest
Response = open_inference_pb2.ModelInferResponse

_PLATFORM = "circinus"
_MAX_NAME_CHARS = 200
_US_PER_S = 1e6
#: Of W3C Trace Context.
_TRACEPARENT = "traceparent"
#: Requests of one stream that are worked on at once; further ones are not read until one is answered.
_MAX_OF_STREAM = 16


class InferenceService(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """GRPCInferenceService of package ``inference``."""

    def __init__(self, desk: Desk, known: Known) -> None:
        self._desk = desk
        self._known = known

    @aborts_with_status
    async def ServerLive(
        self, request: open_inference_pb2.ServerLiveRequest, context: Context
    ) -> open_inference_pb2.ServerLiveResponse:
        """Whoever answers lives."""
        return open_inference_pb2.ServerLiveResponse(live=True)

    @aborts_with_status
    async def ServerReady(
        self, request: open_inference_pb2.ServerReadyRequest, context: Context
    ) -> open_inference_pb2.ServerReadyResponse:
        """Whether all processes of the active generation are up."""
        return open_inference_pb2.ServerReadyResponse(ready=self._desk.all_ready())

    @aborts_with_status
    async def ModelReady(
        self, request: open_inference_pb2.ModelReadyRequest, context: Context
    ) -> open_inference_pb2.ModelReadyResponse:
        """Whether a model's processes on this device are up; one that isn't there is not ready."""
        try:
            ready = self._desk.ready(self._model(request.name, request.version))
        except NotFound:
            ready = False
        return open_inference_pb2.ModelReadyResponse(ready=ready)

    @aborts_with_status
    async def ServerMetadata(
        self, request: open_inference_pb2.ServerMetadataRequest, context: Context
    ) -> open_inference_pb2.ServerMetadataResponse:
        """Who this is."""
        return open_inference_pb2.ServerMetadataResponse(name=_PLATFORM, version=circinus.__version__)

    @aborts_with_status
    async def ModelMetadata(
        self, request: open_inference_pb2.ModelMetadataRequest, context: Context
    ) -> open_inference_pb2.ModelMetadataResponse:
        """What goes in and comes out, as far as it is known."""
        model = self._model(request.name, request.version)
        response = open_inference_pb2.ModelMetadataResponse(name=request.name, versions=["1"], platform=_PLATFORM)
        inputs, _ = self._inputs(model)
        outputs = self._known.outputs(_key(model))
        for shapes, target in ((inputs, response.inputs), (_named(model, outputs), response.outputs)):
            for name, shape in sorted(shapes.items()):
                target.add(name=name, datatype=shape.datatype, shape=shape.extents)
        return response

    @aborts_with_status
    async def ModelInfer(self, request: Request, context: Context) -> Response:
        """One item, answered."""
        response = await self._infer(request, context)
        if _TRACEPARENT in response.parameters:
            context.set_trailing_metadata(((_TRACEPARENT, response.parameters[_TRACEPARENT].string_param),))
        return response

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[Request], context: Context
    ) -> AsyncIterator[open_inference_pb2.ModelStreamInferResponse]:
        """Many items over one call; answers come as they are ready, with the ids of their requests."""
        done: asyncio.Queue[open_inference_pb2.ModelStreamInferResponse | None] = asyncio.Queue()
        room = asyncio.Semaphore(_MAX_OF_STREAM)

        async def one(request: Request) -> None:
            reply = open_inference_pb2.ModelStreamInferResponse()
            try:
                reply.infer_response.CopyFrom(await self._infer(request, context))
            except CircinusError as error:
                reply.error_message = error.message
                reply.infer_response.id = request.id
            except Exception as error:  # one request must not end the others of its stream
                reply.error_message = f"a fault of the server itself: {type(error).__name__}: {error}"[:500]
                reply.infer_response.id = request.id
            await done.put(reply)

        async def read() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    async for request in request_iterator:
                        await room.acquire()
                        group.create_task(one(request))
            finally:
                await done.put(None)

        reading = asyncio.create_task(read())
        try:
            while (reply := await done.get()) is not None:
                yield reply
                room.release()
        finally:
            reading.cancel()
            await asyncio.wait((reading,))

    async def _infer(self, request: Request, context: Context) -> Response:
        model = self._model(request.model_name, request.model_version)
        timeout_s = _timeout_s(request, context)
        known, strict = self._inputs(model)
        fields = fields_of_request(request, known, strict=strict)
        peer = context.peer()
        trace = self._desk.trace(_traceparent(request, context))
        if isinstance(model, QueryModel):
            answer = await self._desk.infer_query(model, _payload(fields), timeout_s, peer, trace)
        else:
            answer = await self._desk.infer_operator(model, _split(model, fields), timeout_s, peer, trace)
        self._learn(model, fields, answer)
        response = _response(request, model, answer)
        if trace is not None:
            response.parameters[_TRACEPARENT].string_param = trace.traceparent
        return response

    def _model(self, name: str, version: str) -> Model:
        if not 0 < len(name) <= _MAX_NAME_CHARS:
            raise InvalidInput(f"model_name: {len(name)} characters; a model has a name of 1 to {_MAX_NAME_CHARS}")
        if version not in ("", "1"):
            raise NotFound(f"there is no version {version[:40]!r} of {name}; leave the version out")
        return self._desk.model(name)

    def _inputs(self, model: Model) -> tuple[Mapping[str, FieldShape], bool]:
        return self._known.inputs(_key(model), model.source if isinstance(model, QueryModel) else None)

    def _learn(self, model: Model, fields: Mapping[str, FieldView], answer: Answer) -> None:
        if not self._known.wants_answer(_key(model)):
            return
        try:
            outputs = {
                f"{operator_id}.{name}": shape
                for operator_id, payload in answer.outputs.items()
                for name, shape in shapes_of(bytes(payload)).items()
            }
            self._known.answered(_key(model), shapes_of(_payload(fields)), outputs)
        except (ValueError, KeyError) as error:
            debug("fields_not_learnt", model=_key(model), reason=error)


def _key(model: Model) -> str:
    if isinstance(model, QueryModel):
        return str(model.source.query_id)
    return f"{model.query_id}/{model.operator_id}"


def _timeout_s(request: Request, context: Context) -> float | None:
    """How long the caller waits: parameter ``timeout`` (microseconds), and what its call has left; None: no bound."""
    bounds: list[float] = []
    if "timeout" in request.parameters:
        parameter = request.parameters["timeout"]
        kind = parameter.WhichOneof("parameter_choice")
        value = getattr(parameter, kind) if kind is not None else 0
        if isinstance(value, (bool, str)) or not 0 < value <= MAX_TIMEOUT_S * _US_PER_S:
            message = f"is {value!r}; it must be a number of microseconds, above 0 and at most {MAX_TIMEOUT_S:g} s"
            raise InvalidInput(f"parameter timeout {message}", (Violation(field="timeout", message=message),))
        bounds.append(value / _US_PER_S)
    left_s = context.time_remaining()
    if left_s is not None and left_s < MAX_TIMEOUT_S:
        bounds.append(max(0.001, left_s))
    return min(bounds, default=None)


def _traceparent(request: Request, context: Context) -> str:
    """The caller's trace: parameter ``traceparent``, of which each request of a stream has its own, or metadata."""
    if _TRACEPARENT in request.parameters:
        return request.parameters[_TRACEPARENT].string_param
    for key, value in context.invocation_metadata() or ():
        if key == _TRACEPARENT and isinstance(value, str):
            return value
    return ""


def _payload(fields: Mapping[str, FieldView]) -> bytes:
    return b"".join(layout.pieces(fields))


def _split(model: OperatorModel, fields: Mapping[str, FieldView]) -> dict[str, bytes]:
    """Payloads by the operator's inputs, from tensors named INPUT.FIELD, or FIELD if it has one input."""
    by_input: dict[OperatorId, dict[str, FieldView]] = {name: {} for name in model.inputs}
    for name, value in fields.items():
        head, dot, rest = name.partition(".")
        if dot and OperatorId(head) in by_input:
            by_input[OperatorId(head)][rest] = value
        elif len(model.inputs) == 1:
            by_input[model.inputs[0]][name] = value
        else:
            message = f"must begin with the name of one of the operator's inputs and a dot: {', '.join(model.inputs)}"
            raise InvalidInput(f"input {name[:100]!r} {message}", (Violation(field=name[:100], message=message),))
    missing = [name for name, found in by_input.items() if not found]
    if missing:
        raise InvalidInput(f"inputs: no tensor for the operator's input {', '.join(missing)}; name them INPUT.FIELD")
    return {str(name): _payload(found) for name, found in by_input.items()}


def _named(model: Model, shapes: Mapping[str, FieldShape]) -> dict[str, FieldShape]:
    """Fields by the names that they have in replies."""
    short = isinstance(model, OperatorModel) or len(set(model.source.output_operator_ids)) == 1
    return {name.partition(".")[2] if short else name: shape for name, shape in shapes.items()}


def _response(request: Request, model: Model, answer: Answer) -> Response:
    """The answer's fields as tensors: all, or those that the request names."""
    response = Response(model_name=request.model_name, model_version="1", id=request.id)
    response.parameters["ending"].string_param = "late" if answer.late else "answered"
    response.parameters["latency_ms"].double_param = answer.latency_ms
    fields = {
        f"{operator_id}.{name}": view
        for operator_id, payload in sorted(answer.outputs.items())
        for name, view in sorted(layout.read(bytes(payload)).items())
    }
    short = isinstance(model, OperatorModel) or len(answer.outputs) == 1
    if not request.outputs:
        for name, view in fields.items():
            add_output(response, name.partition(".")[2] if short else name, view)
        return response
    by_field: dict[str, list[str]] = {}
    for name in fields:
        by_field.setdefault(name.partition(".")[2], []).append(name)
    for wanted in request.outputs:
        found = [wanted.name] if wanted.name in fields else by_field.get(wanted.name, [])
        if len(found) != 1:
            why = "several operators give it; name it OPERATOR.FIELD" if found else "there is no such field"
            raise InvalidInput(
                f"output {wanted.name[:100]!r}: {why}; there are: {', '.join(fields)}",
                (Violation(field=f"outputs.{wanted.name[:100]}", message=why),),
            )
        add_output(response, wanted.name, fields[found[0]])
    return response

"""Whether this device takes a directive: whose it is, the generation law, what its owner allows, what it can do.

In this order, and all before anything is stored: what is not the planner's is not even judged.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from circinus.channel import check_address, check_loopback
from circinus.errors import (
    AgainstPolicy,
    BadDigest,
    CircinusError,
    ConflictingDirective,
    Forged,
    NotRunnable,
    StaleGeneration,
    Unsigned,
    WrongDevice,
)
from circinus.events import event
from circinus.model.device import Device
from circinus.model.directive import Directive
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import directive_from_message
from edge_agent.blobs import Blobs
from edge_agent.config import AgentConfig
from edge_agent.environments import Environments
from edge_agent.identity.signatures import Signatures
from edge_agent.law import Decision, bundles_of, check_fits, check_policy, check_sites, environments_of
from edge_agent.ledger import Ledger
from edge_agent.site_inputs import read_site_inputs

_PREFETCH_TIMEOUT_S = 120.0

_VERDICTS: tuple[tuple[type[CircinusError], control_pb2.DirectiveVerdict], ...] = (
    (StaleGeneration, control_pb2.DIRECTIVE_VERDICT_STALE_GENERATION),
    (ConflictingDirective, control_pb2.DIRECTIVE_VERDICT_CONFLICTING_DIRECTIVE),
    (BadDigest, control_pb2.DIRECTIVE_VERDICT_BAD_DIGEST),
    (WrongDevice, control_pb2.DIRECTIVE_VERDICT_WRONG_DEVICE),
    (Unsigned, control_pb2.DIRECTIVE_VERDICT_UNSIGNED),
    (Forged, control_pb2.DIRECTIVE_VERDICT_FORGED),
    (AgainstPolicy, control_pb2.DIRECTIVE_VERDICT_AGAINST_POLICY),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the planner is told of a directive, and the directive if it is a new one that was accepted and stored."""

    answer: control_pb2.DirectiveAnswer
    directive: Directive | None = None


class Acceptance:
    """Judges the directives of one device. ``signatures`` None: none is needed."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        ledger: Ledger,
        blobs: Blobs,
        environments: Environments,
        signatures: Signatures | None,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._blobs = blobs
        self._environments = environments
        self._signatures = signatures

    async def judge(self, order: control_pb2.ConnectResponse, device: Device | None) -> Judged:
        """Accepts a directive, and then it is on disk when this returns, or says why not."""
        message, signed = _unproven(order), None
        answer = control_pb2.DirectiveAnswer(epoch=message.epoch, generation=message.generation)
        directive = None
        try:
            if self._signatures is not None:
                message, signed = await self._signatures.open(order)
            decision = self._ledger.judge(message)
            if decision is Decision.ACCEPT:
                directive = await self._runnable(message, device)
                await self._ledger.store(message, signed)
        except CircinusError as error:
            answer.verdict = _verdict(error)
            answer.reason = error.message[:2_000]
            event("directive_refused", epoch=message.epoch, generation=message.generation, reason=error.message)
            return Judged(answer=answer)
        answer.verdict = control_pb2.DIRECTIVE_VERDICT_ACCEPTED
        return Judged(answer=answer, directive=directive)

    def against_policy(self, directive: Directive) -> str:
        """Why a directive that was accepted is not to be run now, as the owner may allow less since; empty: it is."""
        try:
            check_policy(directive, self._config.policy)
            self._check_sites(directive)
        except AgainstPolicy as error:
            return error.message
        except CircinusError:
            return ""  # a bundle that is gone is for serving to tell
        return ""

    async def _runnable(self, message: types_pb2.Directive, device: Device | None) -> Directive:
        """The directive, once it is known that this device may and can do what it says.

        Raises:
            CircinusError: it may or can not.
        """
        directive = directive_from_message(message)
        if device is None:
            raise NotRunnable("the agent is only starting")
        check_policy(directive, self._config.policy)
        check_fits(directive, device)
        for peer in directive.peers:
            (check_loopback if self._signatures is None else check_address)(peer.address)
        for environment in sorted(environments_of(directive)):
            self._environments.python_for(environment)
        try:
            async with asyncio.timeout(_PREFETCH_TIMEOUT_S):
                for bundle in sorted(bundles_of(directive)):
                    await self._blobs.bundle(bundle)
        except TimeoutError:
            raise NotRunnable(f"its bundles could not be fetched within {_PREFETCH_TIMEOUT_S:g} s") from None
        self._check_sites(directive)
        return directive

    def _check_sites(self, directive: Directive) -> None:
        kept = {bundle: read_site_inputs(self._blobs.bundle_path(bundle)) for bundle in bundles_of(directive)}
        check_sites(directive, self._config.site, self._config.policy, kept)


def _unproven(order: control_pb2.ConnectResponse) -> types_pb2.Directive:
    """What an order says that it orders, before it is known whose it is; to answer it by its number."""
    if order.WhichOneof("message") == "directive":
        return order.directive
    message = types_pb2.Directive()
    with contextlib.suppress(Exception):  # protobuf's DecodeError differs between its runtimes
        message.ParseFromString(order.signed_directive.body)
    return message


def _verdict(error: CircinusError) -> control_pb2.DirectiveVerdict:
    for kind, verdict in _VERDICTS:
        if isinstance(error, kind):
            return verdict
    return control_pb2.DIRECTIVE_VERDICT_NOT_RUNNABLE

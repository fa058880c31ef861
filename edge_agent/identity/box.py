"""Who this box is, as its agent holds it: credentials of all connections, their renewal, whose directives it obeys."""

from __future__ import annotations

from datetime import datetime
from random import Random

from circinus.clock import Clock
from circinus.errors import InvalidInput
from circinus.events import event
from edge_agent.config import AgentConfig
from edge_agent.identity.authority import why_not_trusted
from edge_agent.identity.credentials import Credentials
from edge_agent.identity.files import read_identity
from edge_agent.identity.keys import ends_of
from edge_agent.identity.renewal import Renewal
from edge_agent.identity.signatures import Signatures

#: A box asks no more often why it is not let in: each time is a handshake and a child process.
_EXPLAIN_EVERY_S = 60.0


class BoxIdentity:
    """A box that has joined."""

    def __init__(self, config: AgentConfig, credentials: Credentials, *, clock: Clock, rng: Random) -> None:
        self.credentials = credentials
        self.signatures = Signatures(credentials, clock)
        self._planner = config.planner
        self._clock = clock
        self._renewal = Renewal(
            config.device_id, credentials, config.identity_dir, address=config.enrol, clock=clock, rng=rng
        )
        self._explained_s: float | None = None

    @property
    def certificate_ends_at(self) -> datetime | None:
        """When the box's certificate ends; None: not read yet."""
        return self._renewal.ends_at

    @property
    def certificate_trouble(self) -> str:
        """Why there is no new certificate though one is due; empty: all is well."""
        return self._renewal.trouble

    async def run(self) -> None:
        """Keeps the certificate from running out until it is cancelled."""
        await self._renewal.run()

    async def explain(self) -> str:
        """Why the planner does not let this box in, as far as certificates and clocks tell; empty: they don't.

        Who is refused tries again soon; this looks once in a minute only, and says nothing between.
        """
        now_s = self._clock.monotonic_s()
        if self._explained_s is not None and now_s - self._explained_s < _EXPLAIN_EVERY_S:
            return ""
        self._explained_s = now_s
        try:
            return await self._explanation()
        except Exception as error:  # what is only an explanation must not end what it explains
            return f"{type(error).__name__}: {error}"

    async def _explanation(self) -> str:
        tls, now = self.credentials.tls, self._clock.now()
        if found := await why_not_trusted(self._planner, tls.root, now):
            return found.message
        ends = await ends_of(tls.certificate)
        if now < ends.ends_at:
            return self._renewal.trouble
        why = f"; {self._renewal.trouble}" if self._renewal.trouble else ""
        return f"this box's certificate ended at {ends.ends_at:%Y-%m-%d %H:%M} UTC and is being renewed{why}"


def open_identity(config: AgentConfig, *, clock: Clock, rng: Random) -> BoxIdentity | None:
    """The identity that a box has; None: it is configured to have none.

    Raises:
        InvalidInput: it has none and should, or what is there can't be read.
    """
    if config.insecure_loopback:
        return None
    tls = read_identity(config.identity_dir)
    if tls is None:
        raise InvalidInput(
            f"{config.device_id} has not joined yet: there is no identity in {config.identity_dir}; take a token "
            f"(on the planner: cloud-planner token create --device {config.device_id}), then here: edge-agent join "
            "--config FILE --token-file FILE; or, on one machine and in the clear: insecure_loopback = true"
        )
    event("identity_read", device=config.device_id, folder=config.identity_dir)
    return BoxIdentity(config, Credentials(tls), clock=clock, rng=rng)

"""Who comes in: signing in and out, and what every request must be, whoever makes it."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from circinus.errors import CircinusError, InvalidInput, NotAllowed, NotKnown
from cloud_planner.dashboard.sessions import LONGEST_S, Session, Sessions, is_masked
from cloud_planner.identity.log import AuditLog
from cloud_planner.identity.office import IdentityOffice
from cloud_planner.services.roles import Caller

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response

#: ``__Host-``: the browser takes it only over TLS, for this host alone, for all paths.
COOKIE = "__Host-circinus"
FORGERY_FIELD = "_forgery"
FORGERY_HEADER = "x-circinus-forgery"
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who makes a request. ``caller`` None: nobody is asked (--insecure-loopback). ``session`` likewise."""

    caller: Caller | None
    peer: str
    forgery: bytes = field(repr=False)
    session: Session | None = None


class Entrance:
    """The door of a dashboard. ``office`` None: in the clear, on loopback, for anybody."""

    def __init__(self, office: IdentityOffice | None, navigation: Sequence[tuple[str, str]]) -> None:
        self._office = office
        self.navigation = tuple(navigation)
        self.sessions = Sessions(office.standing, office.clock) if office is not None else None
        #: In the clear: one for everybody, which no other site can read.
        self._forgery = secrets.token_bytes(32)

    @property
    def open(self) -> bool:
        """Whether nobody is asked who they are."""
        return self._office is None

    @property
    def log(self) -> AuditLog | None:
        """Where refusals and changes are noted; None: nobody is known."""
        return self._office.log if self._office is not None else None

    def check_host(self, connection: HTTPConnection) -> None:
        """In the clear, a name that isn't loopback's is another site that had its name point here (DNS rebinding).

        Raises:
            NotAllowed: it is.
        """
        host = connection.headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.open and name.lower() not in _LOOPBACK_NAMES:
            raise NotAllowed(f"this dashboard is at localhost or 127.0.0.1 only, not at {name[:100]!r}")

    def check_origin(self, connection: HTTPConnection) -> None:
        """A change is asked for by a page of this very dashboard.

        Raises:
            NotAllowed: by another, or nobody knows.
        """
        headers = connection.headers
        origin = urlsplit(headers.get("origin", ""))
        same = headers.get("sec-fetch-site", "same-origin") == "same-origin"
        scheme = "http" if self.open else "https"
        if not same or origin.scheme != scheme or origin.netloc != headers.get("host", ""):
            raise NotAllowed("this was not sent by a page of this dashboard: open the page and try again there")

    def visitor(self, connection: HTTPConnection) -> Visitor:
        """Who makes a request.

        Raises:
            NotKnown: somebody who is not signed in.
        """
        peer = peer_of(connection)
        if self.sessions is None:
            return Visitor(caller=None, peer=peer, forgery=self._forgery)
        session = self.sessions.find(connection.cookies.get(COOKIE, ""))
        if session is None:
            raise NotKnown("nobody is signed in here: sign in")
        return Visitor(caller=session.caller, peer=peer, forgery=session.forgery, session=session)

    async def check_forgery(self, request: Request, visitor: Visitor) -> None:
        """A change carries what only a page that was made for this session has.

        Raises:
            NotAllowed: it doesn't.
        """
        self.check_origin(request)
        text = request.headers.get(FORGERY_HEADER, "")
        if not text:
            form = await request.form(max_files=0, max_fields=200, max_part_size=65_536)
            text = str(form.get(FORGERY_FIELD, ""))
        if not is_masked(text, visitor.forgery):
            raise NotAllowed("this page is from another session: load it anew and try again")

    async def sign_in(self, request: Request, token: str) -> str:
        """Signs somebody in with their bearer token; gives the secret for their browser.

        Raises:
            NotKnown, IdentityOver: it is nobody's that stands.
            TooLarge: too many failures from there, or too many sessions.
            InvalidInput: nobody signs in here.
        """
        office, sessions = self._office, self.sessions
        if office is None or sessions is None:
            raise InvalidInput("nobody signs in to a planner with --insecure-loopback")
        peer = peer_of(request)
        try:
            office.failures.check(peer)
            try:
                person = office.standing.check_bearer(token.strip())
            except NotKnown:
                office.failures.failed(peer)
                raise
            secret = sessions.begin(person)
        except CircinusError as error:
            await office.log.refused(f"peer:{peer}", "SignIn", "dashboard", error, f"from {peer}")
            raise
        await office.log.note(f"person:{person.name}", "SignIn", "dashboard", detail=f"from {peer}")
        return secret

    async def sign_out(self, request: Request, visitor: Visitor) -> None:
        """Ends a session."""
        if self.sessions is None or self._office is None or visitor.caller is None:
            return
        self.sessions.end(request.cookies.get(COOKIE, ""))
        await self._office.log.note(visitor.caller.actor, "SignOut", "dashboard")


def keep(response: Response, secret: str) -> Response:
    """Has the browser keep a session's secret; empty: forget it."""
    age_s = int(LONGEST_S) if secret else 0
    response.set_cookie(COOKIE, secret, max_age=age_s, path="/", secure=True, httponly=True, samesite="strict")
    return response


def peer_of(connection: HTTPConnection) -> str:
    """Whom failures are counted for: an IPv4 address, or the 64 bits of a site in IPv6."""
    host = connection.client.host if connection.client is not None else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:100]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


__all__ = ["COOKIE", "FORGERY_FIELD", "FORGERY_HEADER", "Entrance", "Visitor", "keep", "peer_of"]

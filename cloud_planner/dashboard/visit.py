"""One request of somebody who may make it: what a page's functions get."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse, Response

from circinus.errors import CircinusError, Internal, Unreachable
from circinus.events import warning
from cloud_planner.dashboard.assets import takes_gzip
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.entrance import Entrance, Visitor
from cloud_planner.dashboard.sessions import masked
from cloud_planner.identity.audit import DONE
from cloud_planner.services.roles import check_role, rule_of, serving_for, subject_of

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from starlette.datastructures import FormData
    from starlette.requests import Request

_PLANNER = "/circinus.v1.PlannerService/"
_LEAST_PACKED_BYTES = 1_000


class Visit:
    """A request. ``path``: the values of the route's path by name."""

    def __init__(self, request: Request, visitor: Visitor, desk: Desk, entrance: Entrance, title: str) -> None:
        self.request = request
        self.visitor = visitor
        self.desk = desk
        self._entrance = entrance
        self._title = title

    @property
    def path(self) -> Mapping[str, str]:
        """The values of the route's path, by name."""
        return self.request.path_params

    @property
    def query(self) -> str:
        """The query string, without its question mark."""
        return self.request.url.query

    async def form(self) -> FormData:
        """What was sent by a form."""
        return await self.request.form(max_files=0, max_fields=200, max_part_size=65_536)

    def may(self, method: str) -> bool:
        """Whether this visitor may call a method of PlannerService."""
        caller = self.visitor.caller
        rule = rule_of(_PLANNER + method)
        return caller is None or (rule is not None and caller.role >= rule.least)

    async def ask(self, method: str, message: Message) -> Any:
        """Calls a method of PlannerService as this visitor: the same code, roles and audit log as over the wire.

        Gives its response; of a method that streams, a list of all.

        Raises:
            CircinusError: what the method ends with, or that they may not call it.
        """
        log, caller = self._entrance.log, self.visitor.caller
        name, subject = _PLANNER + method, subject_of(message, None)
        rule = rule_of(name)
        if caller is not None:
            try:
                check_role(name, rule, caller)
            except CircinusError as error:
                if log is not None:
                    await log.refused(caller.actor, method, subject, error, f"from {self.visitor.peer}, by dashboard")
                raise
        outcome = Internal.__name__
        try:
            with serving_for(caller):
                response = await _called(self.desk.service, method, message)
            outcome = DONE
        except asyncio.CancelledError:
            outcome = Unreachable.__name__
            raise
        except CircinusError as error:
            outcome = type(error).__name__
            raise
        finally:
            if log is not None and caller is not None and rule is not None and rule.noted:
                try:
                    await log.note(caller.actor, method, subject, outcome=outcome, detail="by dashboard")
                except Exception as error:  # a full disk, say: what was done is done
                    warning("audit_not_written", reason=f"{type(error).__name__}: {error}")
        return response

    async def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """A page: its template with what is given, and with what layout.html needs. Made off the event loop."""
        visitor = self.visitor
        every = {
            "now": self.desk.now,
            "title": self._title,
            "may": self.may,
            "person": visitor.caller.name if visitor.caller is not None else "",
            "forgery": masked(visitor.forgery),
            # Who isn't signed in has nowhere to go.
            "navigation": self._entrance.navigation if self._entrance.open or visitor.caller is not None else (),
            "at": self.request.url.path,
            "query": self.query,
        }
        templates, packs = self.desk.templates, takes_gzip(self.request)

        def made() -> tuple[bytes, bool]:
            body = templates.page(template, {**every, **context}).encode()
            if packs and len(body) >= _LEAST_PACKED_BYTES:
                return gzip.compress(body, 5, mtime=0), True
            return body, False

        body, packed = await asyncio.to_thread(made)
        headers = {"Content-Encoding": "gzip"} if packed else {}
        return Response(body, status, media_type="text/html", headers=headers | {"Vary": "Accept-Encoding"})

    def to(self, path: str) -> Response:
        """Goes on to another page, after a form."""
        return RedirectResponse(path, 303)


class _Written:
    """The context of a call from here: keeps what a method that streams writes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def write(self, message: Message) -> None:
        self.messages.append(message)


async def _called(service: Any, method: str, message: Message) -> Any:
    written = _Written()
    # Without what turns errors into a status of grpc: here they are raised.
    bare = getattr(type(service), method).__wrapped__
    response = await bare(service, message, written)
    return written.messages if response is None else response


__all__ = ["Visit"]

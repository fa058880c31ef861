"""The application: the pages' routes behind the entrance, signing in and out, the live stream, errors as pages."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route as Path

from circinus.errors import (
    CircinusError,
    Internal,
    InvalidInput,
    NotAllowed,
    NotFound,
    NotKnown,
    TimedOut,
    TooLarge,
    Unreachable,
)
from circinus.events import warning
from cloud_planner.dashboard.assets import Assets, takes_gzip
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.entrance import Entrance, Visitor, keep
from cloud_planner.dashboard.guard import Guard
from cloud_planner.dashboard.live import Hub
from cloud_planner.dashboard.page import Page, Route
from cloud_planner.dashboard.visit import Visit
from cloud_planner.services.roles import check_role, rule_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_PLANNER = "/circinus.v1.PlannerService/"
#: Live pages of one session.
_STREAMS_EACH = 12
#: How hard, and in how much memory (64 kB a stream), live parts are packed.
_PACKED, _PACK_MEMORY = 4, 6
_STATUS: tuple[tuple[type[CircinusError], int, str], ...] = (
    (NotFound, 404, "There is no such thing"),
    (NotAllowed, 403, "Not allowed"),
    (NotKnown, 401, "Not signed in"),
    (InvalidInput, 400, "Something is wrong with what was asked for"),
    (TooLarge, 429, "Too much"),
    (TimedOut, 504, "It took too long"),
    (Unreachable, 503, "Out of reach"),
    (Internal, 500, "A fault of the planner"),
)
Endpoint = Callable[[Request], Awaitable[Response]]


class Dashboard:
    """All of it, as an ASGI application (``asgi``)."""

    def __init__(self, desk: Desk, entrance: Entrance, pages: Sequence[Page], hub: Hub, assets: Assets) -> None:
        self._desk = desk
        self._entrance = entrance
        self._hub = hub
        routes = [
            Path("/static/{path:path}", self._checked(assets.show), methods=["GET"]),
            Path("/sign-in", self._checked(self._sign_in_form), methods=["GET"]),
            Path("/sign-in", self._checked(self._sign_in), methods=["POST"]),
            Path("/sign-out", self._checked(self._sign_out), methods=["POST"]),
            Path("/live", self._checked(self._live), methods=["GET"]),
        ]
        for page in pages:
            for route in page.routes:
                if rule_of(_PLANNER + route.needs) is None:
                    raise ValueError(f"{route.path} needs {route.needs}, which is no method")
                endpoint = self._checked(self._endpoint(page, route))
                routes.append(Path(route.path, endpoint, methods=["POST" if route.post else "GET"]))
        app = Starlette(routes=routes, exception_handlers={HTTPException: self._other})
        self.asgi: ASGIApp = Guard(app)

    def _endpoint(self, page: Page, route: Route) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            visitor = self._entrance.visitor(request)
            if visitor.caller is not None:
                name = _PLANNER + route.needs
                try:
                    check_role(name, rule_of(name), visitor.caller)
                except NotAllowed as error:
                    if self._entrance.log is not None:
                        detail = f"from {visitor.peer}, by dashboard"
                        await self._entrance.log.refused(visitor.caller.actor, route.needs, "", error, detail)
                    raise
            if route.post:
                await self._entrance.check_forgery(request, visitor)
            return await route.show(self._visit(request, visitor, page.title))

        return endpoint

    def _visit(self, request: Request, visitor: Visitor, title: str) -> Visit:
        return Visit(request, visitor, self._desk, self._entrance, title)

    def _checked(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint whose errors are pages."""

        async def checked(request: Request) -> Response:
            try:
                self._entrance.check_host(request)
                return await endpoint(request)
            except HTTPException:
                raise
            except CircinusError as error:
                return await self._refused(request, error)
            except Exception as error:  # a fault of a page must be seen, and not end the connection
                warning("dashboard_failed", path=request.url.path, reason=f"{type(error).__name__}: {error}")
                return await self._refused(request, Internal(f"{type(error).__name__}: {error}"[:500]))

        return checked

    async def _refused(self, request: Request, error: CircinusError) -> Response:
        status, heading = next(
            ((code, text) for kind, code, text in _STATUS if isinstance(error, kind)), (409, "Not as things are")
        )
        wants_page = "text/html" in request.headers.get("accept", "") and "hx-request" not in request.headers
        if isinstance(error, NotKnown) and wants_page and request.method == "GET":
            after = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse("/sign-in" + (f"?after={quote(after, safe='')}" if after != "/" else ""), 303)
        if not wants_page:
            return Response(f"{error.message}\n", status, media_type="text/plain")
        return await self._stranger(request).page(
            "error.html", status=status, heading=heading, message=error.message, title=heading
        )

    def _stranger(self, request: Request) -> Visit:
        """A visit by whoever it is, signed in or not."""
        try:
            visitor = self._entrance.visitor(request)
        except NotKnown:
            visitor = Visitor(caller=None, peer="", forgery=bytes(32))
        return self._visit(request, visitor, "")

    async def _other(self, request: Request, error: Exception) -> Response:
        """What the router refuses."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404:
            return await self._refused(request, NotFound(f"there is no page {request.url.path[:200]}"))
        text = error.detail if isinstance(error, HTTPException) else "a fault of the planner"
        return Response(f"{text}\n", status, media_type="text/plain")

    async def _sign_in_form(self, request: Request) -> Response:
        if self._entrance.open:
            return RedirectResponse("/", 303)
        after = _local(request.query_params.get("after", ""))
        return await self._stranger(request).page("sign_in.html", after=after, fault="", title="Sign in")

    async def _sign_in(self, request: Request) -> Response:
        self._entrance.check_origin(request)
        form = await request.form(max_files=0, max_fields=10, max_part_size=4_096)
        after = _local(str(form.get("after", "")))
        try:
            secret = await self._entrance.sign_in(request, str(form.get("token", "")))
        except (NotKnown, TooLarge) as error:
            status = 429 if isinstance(error, TooLarge) else 401
            visit = self._stranger(request)
            return await visit.page("sign_in.html", status=status, after=after, fault=error.message, title="Sign in")
        return keep(RedirectResponse(after, 303), secret)

    async def _sign_out(self, request: Request) -> Response:
        visitor = self._entrance.visitor(request)
        await self._entrance.check_forgery(request, visitor)
        await self._entrance.sign_out(request, visitor)
        return keep(RedirectResponse("/sign-in", 303), "")

    async def _live(self, request: Request) -> Response:
        visitor = self._entrance.visitor(request)
        chosen = self._hub.chosen(request.query_params.getlist("part"))
        session, sessions = visitor.session, self._entrance.sessions
        if visitor.caller is not None:
            for part, _ in chosen:
                check_role(_PLANNER + part.needs, rule_of(_PLANNER + part.needs), visitor.caller)
        if session is not None and session.streams >= _STREAMS_EACH:
            raise TooLarge(f"{_STREAMS_EACH} pages of yours are live already: close some")

        def stands() -> bool:
            return session is None or sessions is None or sessions.stands(session)

        # No secret is in it, so that what is packed tells nothing.
        pack = zlib.compressobj(_PACKED, zlib.DEFLATED, 31, _PACK_MEMORY) if takes_gzip(request) else None

        async def events() -> AsyncIterator[bytes]:
            if session is not None:
                session.streams += 1
            try:
                async with aclosing(self._hub.follow(chosen, stands)) as found:
                    async for data in found:
                        yield data if pack is None else pack.compress(data) + pack.flush(zlib.Z_SYNC_FLUSH)
            finally:
                if session is not None:
                    session.streams -= 1

        headers = {"Content-Encoding": "gzip"} if pack is not None else {}
        return StreamingResponse(
            events(), media_type="text/event-stream", headers=headers | {"Vary": "Accept-Encoding"}
        )


def _local(path: str) -> str:
    """A path of this dashboard, and nothing else."""
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and len(path) < 1_000
    return path if fine else "/"


__all__ = ["Dashboard"]

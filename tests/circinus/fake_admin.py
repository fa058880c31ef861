"""An admin service that holds what it is told, on real gRPC, in the clear or with TLS; callers need a role or not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
from fake_planner import FakePlanner

from circinus.errors import CircinusError, NotAllowed, NotFound, NotKnown, status_of, trailing_metadata
from circinus.v1 import identity_pb2, identity_pb2_grpc, planner_pb2_grpc

if TYPE_CHECKING:
    from tls_authority import Authority

NOW = datetime.now(UTC).replace(microsecond=0)
SECRET = "circ1.4f1c09d2.c2VjcmV0c2VjcmV0c2VjcmV0.0a0b0c0d"
BEARER = "circp.ann.Ym9ybi10by1iZS1zZWNyZXQ"


def refuse(context: Any, error: CircinusError) -> None:
    context.set_trailing_metadata(trailing_metadata(error))
    context.abort(status_of(error), error.message)


class FakeAdmin(identity_pb2_grpc.AdminServiceServicer):
    """``refusal``: every call ends with it. ``authority``: signs for people."""

    def __init__(self, authority: Authority | None = None) -> None:
        self.authority = authority
        self.refusal: CircinusError | None = None
        self.tokens: dict[str, identity_pb2.Token] = {}
        self.people: dict[str, identity_pb2.Person] = {}
        self.revoked: dict[str, str] = {}
        self.bearers: list[str] = []
        self.intact = True
        self.entries = [_entry(1, "done"), _entry(2, "BadToken"), _entry(3, "done")]
        self.polls = 0

    def _enter(self, context: Any) -> None:
        self.bearers += [value for key, value in context.invocation_metadata() if key == "authorization"]
        if self.refusal is not None:
            refuse(context, self.refusal)

    def CreateToken(self, request: Any, context: Any) -> Any:
        self._enter(context)
        about = identity_pb2.Token(
            id="4f1c09d2", device_id=request.device_id, labels=request.labels, created_by="person:ann"
        )
        about.created_at.FromDatetime(NOW)
        about.ends_at.FromDatetime(NOW + timedelta(seconds=request.ttl_s or 3_600))
        self.tokens[about.id] = about
        return identity_pb2.CreateTokenResponse(token=SECRET, about=about)

    def ListTokens(self, request: Any, context: Any) -> Any:
        self._enter(context)
        return identity_pb2.ListTokensResponse(tokens=self.tokens.values())

    def RemoveToken(self, request: Any, context: Any) -> Any:
        self._enter(context)
        if self.tokens.pop(request.id, None) is None:
            refuse(context, NotFound(f"there is no token {request.id!r}"))
        return identity_pb2.RemoveTokenResponse()

    def ListIdentities(self, request: Any, context: Any) -> Any:
        self._enter(context)
        found = [identity_pb2.Identity(device_id=name, serial="a1") for name in ("camera-1", "camera-2", "camera-3")]
        for identity in found:
            identity.enrolled_at.FromDatetime(NOW)
            identity.ends_at.FromDatetime(NOW + timedelta(hours=24))
        found[1].revoked_at.FromDatetime(NOW)
        found[1].revoked_why = "stolen"
        found[2].doubled_at.FromDatetime(NOW)
        return identity_pb2.ListIdentitiesResponse(identities=found)

    def RevokeDevice(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.revoked[request.device_id] = request.why
        return identity_pb2.RevokeDeviceResponse()

    def CreatePerson(self, request: Any, context: Any) -> Any:
        self._enter(context)
        about = identity_pb2.Person(name=request.name, role=request.role)
        about.created_at.FromDatetime(NOW)
        self.people[request.name] = about
        response = identity_pb2.CreatePersonResponse(about=about)
        if request.csr and self.authority is not None:
            response.certificate = self.authority.certificate_for(request.csr, request.name)
        else:
            response.bearer_token = BEARER
        return response

    def ListPeople(self, request: Any, context: Any) -> Any:
        self._enter(context)
        return identity_pb2.ListPeopleResponse(people=self.people.values())

    def RemovePerson(self, request: Any, context: Any) -> Any:
        self._enter(context)
        if self.people.pop(request.name, None) is None:
            refuse(context, NotFound(f"there is no person {request.name!r}"))
        return identity_pb2.RemovePersonResponse()

    def ListAudit(self, request: Any, context: Any) -> Any:
        self._enter(context)
        self.polls += 1
        if self.polls > 1:
            self.entries.append(_entry(len(self.entries) + 1, "NotAllowed"))
        wanted = [
            entry
            for entry in self.entries
            if entry.sequence > request.after and (entry.outcome != "done" or not request.refused)
        ]
        return identity_pb2.ListAuditResponse(entries=wanted[-(request.limit or 100) :], intact=self.intact)


def _entry(sequence: int, outcome: str) -> identity_pb2.AuditEntry:
    entry = identity_pb2.AuditEntry(
        sequence=sequence, actor="device:camera-1", action="enrol", subject="camera-1", outcome=outcome, digest="ab"
    )
    entry.at.FromDatetime(NOW)
    return entry


class BearerOnly(grpc.ServerInterceptor):
    """Lets nobody in without the one bearer token."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        if ("authorization", f"Bearer {BEARER}") in [tuple(pair) for pair in details.invocation_metadata]:
            return continuation(details)

        def handler(request: Any, context: Any) -> Any:
            refuse(context, NotKnown("no token, or none that is known; circinus context add FILE adds yours"))

        return grpc.unary_unary_rpc_method_handler(handler)


@dataclass(frozen=True)
class Served:
    """A server, what it holds, and where it is: with mutual TLS, for a bearer token, and in the clear."""

    server: grpc.Server
    bearer_server: grpc.Server
    planner: FakePlanner
    admin: FakeAdmin
    mutual: str
    bearer: str
    clear: str

    def stop(self) -> None:
        self.planner.hang.set()
        for server in (self.server, self.bearer_server):
            server.stop(None).wait()


def serve_all(authority: Authority) -> Served:
    """Starts a planner with an admin service on free ports."""
    planner, admin, pair = FakePlanner(), FakeAdmin(authority), authority.pair()
    mutual_server = grpc.server(ThreadPoolExecutor(max_workers=4))
    bearer_server = grpc.server(ThreadPoolExecutor(max_workers=4), interceptors=[BearerOnly()])
    for server in (mutual_server, bearer_server):
        planner_pb2_grpc.add_PlannerServiceServicer_to_server(planner, server)
        identity_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
    keys = [(pair.key, pair.certificate)]
    mutual = mutual_server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials(keys, authority.root, require_client_auth=True)
    )
    clear = mutual_server.add_insecure_port("127.0.0.1:0")
    bearer = bearer_server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(keys))
    mutual_server.start()
    bearer_server.start()
    return Served(
        server=mutual_server,
        bearer_server=bearer_server,
        planner=planner,
        admin=admin,
        mutual=f"127.0.0.1:{mutual}",
        bearer=f"127.0.0.1:{bearer}",
        clear=f"127.0.0.1:{clear}",
    )


NOT_ADMIN = NotAllowed("RevokeDevice needs the role admin; ann is viewer: ask an admin")

"""Boxes with keys, a clock that is moved by hand, and scripted agents with mutual TLS, for the identity's tests."""

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc.aio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from planner_fleet import device

from circinus import contexts, wire
from circinus.channel import Tls, open_secure_channel, open_trusting_channel
from circinus.clock import SystemClock
from circinus.v1 import control_pb2, control_pb2_grpc, identity_pb2, identity_pb2_grpc, planner_pb2_grpc
from cloud_planner.identity import certificates
from cloud_planner.identity.office import identity_office

START = datetime(2026, 3, 1, tzinfo=UTC)


class FakeClock:
    """Stands still until it is moved; may be set back."""

    def __init__(self, now=START):
        self.at = now
        self.s = 0.0

    def now(self):
        return self.at

    def monotonic_s(self):
        return self.s

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    def move(self, **span):
        self.at += timedelta(**span)
        self.s += max(0.0, timedelta(**span).total_seconds())


class Box:
    """A device's key and what it was given."""

    def __init__(self, name="box-1"):
        self.name = name
        self.key = certificates.new_key()
        self.certificate = b""
        self.root = b""

    @property
    def csr(self):
        return certificates.request_of(self.key, self.name)

    def request(self, token, **changes):
        fields = {"token": token, "device_id": self.name, "csr": self.csr}
        return identity_pb2.EnrolRequest(**(fields | changes))

    def renewal(self):
        """A request for the next certificate with a new key, and that key."""
        key = certificates.new_key()
        csr = certificates.request_of(key, self.name)
        proof = self.key.sign(certificates.RENEW_CONTEXT + csr, ec.ECDSA(hashes.SHA256()))
        return identity_pb2.RenewRequest(certificate=self.certificate, csr=csr, proof=proof), key

    def takes(self, answer, key=None):
        self.certificate, self.root = answer.certificate, answer.root
        self.key = key or self.key

    @property
    def tls(self):
        return Tls(
            root=ssl.DER_cert_to_PEM_cert(self.root).encode(),
            certificate=ssl.DER_cert_to_PEM_cert(self.certificate).encode(),
            key=certificates.key_pem(self.key),
        )


@contextlib.asynccontextmanager
async def office(tmp_path, clock=None, **times):
    async with identity_office(Path(tmp_path), clock or FakeClock(), **times) as found:
        yield found


async def token_for(found, name="box-1", *, labels=(), ttl_s=3600.0):
    text, _ = await found.registrar.create_token(name, dict(labels), ttl_s, "local:test")
    return text


async def enrolled(found, name="box-1"):
    """A box that has enrolled, without a wire."""
    box = Box(name)
    box.certificate = await found.registrar.enrol(await token_for(found, name), name, box.csr, {}, "peer")
    box.root = found.authority.root_der
    return box


async def renew(found, box, peer="peer"):
    request, key = box.renewal()
    box.certificate = await found.registrar.renew(request.certificate, request.csr, request.proof, peer)
    box.key = key


async def outcomes(found, action):
    """The outcomes of the entries with this action, oldest first."""
    return [entry.outcome for entry, _ in await found.log.entries(0, 1000) if entry.action == action]


class Doors:
    """A running planner's two ports, seen from outside."""

    def __init__(self, state_dir):
        self.state_dir = Path(state_dir)
        self.address = (self.state_dir / "address").read_text().strip()
        self.enrol_address = (self.state_dir / "enrol-address").read_text().strip()
        self.root = (self.state_dir / "root.pem").read_bytes()
        self.admin_context = contexts.load(self.state_dir / "identity" / "admin.toml").named("admin")

    @contextlib.asynccontextmanager
    async def enrolment(self):
        async with open_trusting_channel(self.enrol_address, self.root) as channel:
            yield identity_pb2_grpc.EnrolmentServiceStub(channel)

    def channel(self):
        """As the first admin."""
        return open_secure_channel(self.address, self.admin_context.credentials)

    @contextlib.asynccontextmanager
    async def admin(self):
        async with self.channel() as channel:
            yield identity_pb2_grpc.AdminServiceStub(channel)

    @contextlib.asynccontextmanager
    async def people(self, tls=None, bearer=""):
        """PlannerService and AdminService as somebody."""
        if tls is not None:
            channel = open_secure_channel(self.address, tls)
        else:
            channel = open_trusting_channel(self.enrol_address, self.root)
        metadata = (("authorization", f"Bearer {bearer}"),) if bearer else ()
        async with channel:
            yield (
                planner_pb2_grpc.PlannerServiceStub(channel),
                identity_pb2_grpc.AdminServiceStub(channel),
                metadata,
            )

    async def box(self, name="box-1"):
        """A box that has enrolled by the wire."""
        box = Box(name)
        async with self.admin() as admin:
            token = (await admin.CreateToken(identity_pb2.CreateTokenRequest(device_id=name))).token
        async with self.enrolment() as enrolment:
            box.takes(await enrolment.Enrol(box.request(token)))
        return box

    async def refused(self):
        async with self.admin() as admin:
            response = await admin.ListAudit(identity_pb2.ListAuditRequest(limit=1000, refused=True))
        assert response.intact
        return [(entry.actor, entry.action, entry.outcome) for entry in response.entries]

    async def refused_with(self, outcome):
        """The refusals of this kind, when there is one: they are written beside what is answered."""
        for _ in range(200):
            if found := [one for one in await self.refused() if one[2] == outcome]:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"no {outcome} in {await self.refused()}")


class SecureAgent:
    """Says hello as a box and keeps what it is told. ``heartbeats``: as an agent does, at once and then often."""

    def __init__(self, address, box, *, name="", process_id="", heartbeats=True, status=None):
        self.address = address
        self.box = box
        self.name = name or box.name
        self.process_id = process_id
        self.heartbeats = heartbeats
        self.status = status or control_pb2.GenerationStatus()
        self.received = []
        self.ended = asyncio.Event()
        self.error = None

    async def __aenter__(self):
        self._channel = open_secure_channel(self.address, self.box.tls)
        self.stub = control_pb2_grpc.ControlServiceStub(self._channel)
        self._call = self.stub.Connect()
        hello = control_pb2.Hello(
            fingerprint=wire.device_to_message(device(self.name)),
            session_id=f"s-{id(self)}",
            generation_status=self.status,
            process_id=self.process_id,
        )
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._beat(hello))]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._call.cancel()
        await self._channel.close()

    def hang_up(self):
        self._call.cancel()

    async def send(self, **message):
        await self._call.write(control_pb2.ConnectRequest(**message))

    async def _beat(self, hello):
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self.send(hello=hello)
            while self.heartbeats:
                await asyncio.sleep(0.1)
                await self.send(heartbeat=control_pb2.Heartbeat(sequence=1))

    async def _read(self):
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                self.received.append(message)
        except grpc.aio.AioRpcError as error:
            self.error = error
        self.ended.set()

    def count(self, kind):
        return sum(message.WhichOneof("message") == kind for message in self.received)

    async def until(self, kind, count=1):
        async with asyncio.timeout(15):
            while self.count(kind) < count:
                assert not self.ended.is_set(), self.error
                await asyncio.sleep(0.02)
        return [getattr(m, kind) for m in self.received if m.WhichOneof("message") == kind][-1]

    async def end(self, within_s=15):
        async with asyncio.timeout(within_s):
            await self.ended.wait()
        return self.error


SYSTEM = SystemClock()

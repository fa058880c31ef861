"""Gives boxes their certificates for tokens, renews them and takes them back. All of it stands in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from circinus.clock import Clock
from circinus.errors import (
    AlreadyExists,
    BadToken,
    CircinusError,
    InvalidInput,
    NotFound,
    NotKnown,
    TokenUsed,
    TooLarge,
    WrongAuthority,
)
from circinus.model.device import DeviceId
from circinus.model.label import labels_fault
from cloud_planner.identity import certificates, tokens
from cloud_planner.identity.audit import clean
from cloud_planner.identity.authority import Authority
from cloud_planner.identity.certificates import Holder, HolderKind
from cloud_planner.identity.limiter import FailureLimiter
from cloud_planner.identity.log import AuditLog, tell
from cloud_planner.identity.rows import EnrolmentRecord, Rows, TokenRecord
from cloud_planner.identity.standing import Standing
from cloud_planner.identity.store import IdentityStore

CERTIFICATE_LIFE = timedelta(days=1)
RENEWAL_GRACE = timedelta(days=90)
TOKEN_LIFE_S = 3_600.0
MAX_TOKEN_LIFE_S = 30 * 86_400.0
#: Tokens that ended so long ago are forgotten: until then one that is shown again is known as used.
_TOKENS_KEPT = timedelta(days=30)
_MAX_LABELS = 64
_MAX_WHY_CHARS = 300
_RENEWALS, _RENEWALS_IN_LIFE = 100, 240


class Registrar:
    """Tokens, enrolments, renewals and revocations."""

    def __init__(
        self,
        store: IdentityStore,
        authority: Authority,
        standing: Standing,
        log: AuditLog,
        clock: Clock,
        *,
        life: timedelta = CERTIFICATE_LIFE,
        grace: timedelta = RENEWAL_GRACE,
    ) -> None:
        self._store = store
        self._authority = authority
        self._standing = standing
        self._log = log
        self._clock = clock
        self._life = life
        self._grace = grace
        #: Of renewals, by lineage: a box whose answers are lost, or that starts again and again, needs some at once.
        self._pace = FailureLimiter(clock, burst=_RENEWALS, each_s=life.total_seconds() / _RENEWALS_IN_LIFE)

    async def create_token(
        self, device_id: str, labels: Mapping[str, str], ttl_s: float, actor: str
    ) -> tuple[str, TokenRecord]:
        """A token with its secret, which is told only now; for a device, or for any new one that has the labels.

        Raises:
            InvalidInput: it is bound to nothing, or to what can't be; its time is out of bounds.
        """
        if device_id:
            certificates.check_holder_name("device_id", device_id)
        elif not labels:
            raise InvalidInput("a token must be for a device (--device NAME) or for labels (--label KEY=VALUE)")
        if fault := labels_fault(labels):
            raise InvalidInput(f"labels: {fault}")
        if not 0.0 < ttl_s <= MAX_TOKEN_LIFE_S:
            raise InvalidInput(f"ttl_s: {ttl_s:g} is not above 0 and at most {MAX_TOKEN_LIFE_S:g} seconds (30 days)")
        secret, now = tokens.new_secret(), self._clock.now()
        token = TokenRecord(
            id=tokens.new_token_id(),
            secret_sha256=secret.digest,
            device_id=device_id,
            labels=dict(labels),
            created_at=now,
            ends_at=now + timedelta(seconds=ttl_s),
            created_by=actor,
        )
        async with self._store.writing() as rows:
            await rows.forget_tokens(now - _TOKENS_KEPT)
            await rows.put_token(token)
            written = await self._log.within(rows, actor, "CreateToken", token.id, detail=f"for {bound_to(token)}")
        tell(*written)
        return tokens.token_text(token.id, secret.text, self._authority.root_digest), token

    async def tokens(self) -> tuple[TokenRecord, ...]:
        """All tokens that are remembered."""
        async with self._store.reading() as rows:
            return await rows.tokens()

    async def remove_token(self, token_id: str, actor: str) -> None:
        """Makes a token worth nothing.

        Raises:
            NotFound: there is none of this id.
        """
        async with self._store.writing() as rows:
            if not await rows.remove_token(token_id):
                raise NotFound(f"there is no token {token_id[:40]!r}; `cloud-planner token ls` lists them")
            written = await self._log.within(rows, actor, "RemoveToken", token_id)
        tell(*written)

    async def enrol(self, token: str, device_id: str, csr: bytes, labels: Mapping[str, str], peer: str) -> bytes:
        """A first certificate (DER) for a token.

        Raises:
            BadToken, TokenUsed, WrongAuthority: the token is not good for this.
            AlreadyExists: another device has this name in other letters.
            InvalidInput: the request is wrong.
        """
        try:
            return await self._enrol(token, device_id, csr, labels, peer)
        except CircinusError as error:
            await self._log.refused(f"peer:{peer}", "enrol", device_id, error)
            raise

    async def _enrol(self, text: str, device_id: str, csr: bytes, labels: Mapping[str, str], peer: str) -> bytes:
        certificates.check_holder_name("device_id", device_id)
        check_labels(labels)
        public_key = certificates.read_csr(csr)
        token_id, secret, root_digest = tokens.parse_token(text)
        if root_digest != self._authority.root_digest:
            raise WrongAuthority("the token is of another planner: its digest of a root is not that of this planner's")
        now = self._clock.now()
        holder = Holder(kind=HolderKind.DEVICE, name=device_id, lineage=certificates.new_lineage())
        async with self._store.writing() as rows:
            token = await rows.token(token_id)
            self._check_token(token, secret, device_id, labels)
            superseded = await self._superseded(rows, token, device_id)
            if not await rows.use_token(token_id, DeviceId(device_id), now):
                raise TokenUsed(_USED)
            certificate = self._authority.issuer.leaf(holder, public_key, now, self._life)
            record = EnrolmentRecord(
                lineage=holder.lineage,
                device_id=DeviceId(device_id),
                serial=certificate.serial_number.to_bytes(20, "big")[1:].hex(),
                enrolled_at=now,
                ends_at=certificate.not_valid_after_utc,
                labels=token.labels if token is not None else {},
            )
            if superseded is not None:
                await rows.put_enrolment(superseded)
            await rows.put_enrolment(record)
            detail = f"from {peer}, token {token_id}" + (", in the place of an older enrolment" if superseded else "")
            written = await self._log.within(rows, f"device:{device_id}", "enrol", device_id, detail=detail)
        tell(*written)
        self._standing.note(*((superseded, record) if superseded is not None else (record,)))
        return certificates.der(certificate)

    def _check_token(self, token: TokenRecord | None, secret: str, device_id: str, labels: Mapping[str, str]) -> None:
        # One answer for both: it does not tell which ids there are.
        if not tokens.is_secret(secret, token.secret_sha256 if token is not None else bytes(32)) or token is None:
            raise BadToken("the token is not known here: copy the whole of it, or make another")
        if token.used_at is not None:
            raise TokenUsed(_USED)
        if self._clock.now() > token.ends_at:
            raise BadToken(f"the token ended at {token.ends_at:%Y-%m-%d %H:%M} UTC: make another")
        if token.device_id and token.device_id != device_id:
            raise BadToken(f"the token is for another device than {device_id}: make one for it")
        if wrong := sorted(key for key, value in token.labels.items() if labels.get(key) != value):
            raise BadToken(f"the token is for devices with other labels: {', '.join(wrong)} must be as the token says")

    async def _superseded(self, rows: Rows, token: TokenRecord | None, device_id: str) -> EnrolmentRecord | None:
        """The enrolment that this one takes the place of, as it is then; None: there is none.

        Raises:
            AlreadyExists, BadToken: it may not.
        """
        before = await rows.in_force(device_id)
        if before is None:
            return None
        if before.device_id != device_id:
            raise AlreadyExists(
                f"there is a device {before.device_id}: a name that differs in case only is the same name in TLS"
            )
        now = self._clock.now()
        if (token is None or not token.device_id) and now <= before.ends_at + self._grace:
            raise BadToken(
                f"{device_id} is enrolled already, and a token for labels is for new devices only: make a token for "
                f"it (--device {device_id}), or revoke it first"
            )
        return replace(before, revoked_at=now, revoked_why="a newer enrolment took its place", doubled_at=None)

    async def renew(self, shown: bytes, csr: bytes, proof: bytes, peer: str) -> bytes:
        """The next certificate (DER), for proof of the last one's key; also some time after that ended.

        Raises:
            WrongAuthority: the last one is of another root.
            NotKnown, Revoked, IdentityOver: it does not stand; or there is no proof.
            InvalidInput: the request is wrong.
        """
        device_id = ""
        try:
            leaf = certificates.read_leaf(shown, self._authority.root)
            device_id = leaf.holder.name
            if leaf.holder.kind is not HolderKind.DEVICE:
                raise NotKnown("only the certificates of devices are renewed: ask an admin for another")
            if not certificates.is_proof(leaf.public_key, csr, proof):
                raise NotKnown(f"there is no proof of the key of the certificate of {device_id}")
            public_key = certificates.read_csr(csr)
            return await self._renew(leaf, public_key, peer)
        except CircinusError as error:
            await self._log.refused(f"peer:{peer}", "renew", device_id, error)
            raise

    def has_proof(self, shown: bytes, csr: bytes, proof: bytes) -> bool:
        """Whether a renewal is asked for by who has the key of a certificate of this root; written down nowhere."""
        with suppress(CircinusError):
            leaf = certificates.read_leaf(shown, self._authority.root)
            return leaf.holder.kind is HolderKind.DEVICE and certificates.is_proof(leaf.public_key, csr, proof)
        return False

    def _check_pace(self, holder: Holder) -> None:
        """Each renewal is a synced write and an entry for ever: one box must not fill the planner's disk with them.

        Raises:
            TooLarge: it renews far more often than its certificates ask for.
        """
        if not self._pace.has_room(holder.lineage):
            raise TooLarge(f"{holder.name} renews far more often than once in half a certificate's life")
        self._pace.failed(holder.lineage)

    async def _renew(self, leaf: certificates.Shown, public_key: certificates.PublicKey, peer: str) -> bytes:
        async with self._store.writing() as rows:
            # Of the file, not of memory: a revocation of a moment ago holds.
            record = await rows.enrolment(leaf.holder.lineage)
            if record is not None:
                self._standing.note(record)
            record = self._standing.check_device(leaf.holder, leaf.ends_at, self._grace)
            self._check_pace(leaf.holder)
            # A lost answer, a disk that took nothing, a restored one; or the key of an old back-up in other hands.
            older = "" if leaf.serial == record.serial else ", by a certificate before the last one"
            certificate = self._authority.issuer.leaf(leaf.holder, public_key, self._clock.now(), self._life)
            serial = certificate.serial_number.to_bytes(20, "big")[1:].hex()
            record = replace(record, serial=serial, ends_at=certificate.not_valid_after_utc)
            await rows.put_enrolment(record)
            name = leaf.holder.name
            written = await self._log.within(rows, f"device:{name}", "renew", name, detail=f"from {peer}{older}")
        tell(*written)
        self._standing.note(record)
        return certificates.der(certificate)

    async def identities(self) -> tuple[EnrolmentRecord, ...]:
        """The newest enrolment of each device."""
        await self._standing.refresh()
        return self._standing.enrolments()

    async def revoke(self, device_id: str, why: str, actor: str, *, tokens_too: bool = True) -> None:
        """Makes all certificates of a device worth nothing; its connection ends. Again: nothing more happens.

        ``tokens_too``: so are its tokens that nobody has used yet; whoever took the box may have one.

        Raises:
            NotFound: no such device is enrolled.
        """
        if len(why) > _MAX_WHY_CHARS:
            raise InvalidInput(f"why: {len(why)} characters are more than {_MAX_WHY_CHARS}")
        async with self._store.writing() as rows:
            record = await rows.in_force(device_id)
            if record is None or record.device_id != device_id:
                if any(one.device_id == device_id for one in await rows.enrolments()):
                    return
                raise NotFound(f"no device {device_id[:70]!r} is enrolled; `cloud-planner identity ls` lists them")
            record = replace(
                record, revoked_at=self._clock.now(), revoked_why=clean(why) or "no reason given", doubled_at=None
            )
            await rows.put_enrolment(record)
            open_ones = [one.id for one in await rows.tokens() if one.device_id == device_id and one.used_at is None]
            detail = record.revoked_why
            if tokens_too and open_ones:
                for token_id in open_ones:
                    await rows.remove_token(token_id)
                detail += f"; tokens removed: {', '.join(open_ones)}"
            written = await self._log.within(rows, actor, "RevokeDevice", device_id, detail=detail)
        tell(*written)
        self._standing.note(record)

    async def leave(self, device_id: DeviceId, why: str) -> None:
        """A device left: its certificates are worth nothing, its name is free. It need not have enrolled."""
        with suppress(NotFound):
            await self.revoke(device_id, why, "planner", tokens_too=False)

    async def note_doubled(self, device_id: DeviceId, *, doubled: bool, detail: str) -> None:
        """Writes down that two boxes have one identity, or no longer do."""
        async with self._store.writing() as rows:
            record = await rows.in_force(device_id)
            if record is None:
                return
            record = replace(record, doubled_at=self._clock.now() if doubled else None)
            await rows.put_enrolment(record)
            action = "doubled" if doubled else "doubled no more"
            written = await self._log.within(rows, "planner", action, device_id, detail=detail)
        tell(*written)
        self._standing.note(record)


_USED = "the token was used before: each is good for one enrolment; make another"


def bound_to(token: TokenRecord) -> str:
    """What a token is for, for people."""
    labels = ", ".join(f"{key}={value}" for key, value in sorted(token.labels.items()))
    if token.device_id:
        return f"{token.device_id} with {labels}" if labels else token.device_id
    return f"a new device with {labels}"


def check_labels(labels: Mapping[str, str]) -> None:
    """Labels that a box says it has.

    Raises:
        InvalidInput: too many, or one is too long or empty.
    """
    if len(labels) > _MAX_LABELS:
        raise InvalidInput(f"labels: {len(labels)} are more than {_MAX_LABELS}")
    for key, value in labels.items():
        if not (0 < len(key) <= 63 and len(value) <= 63 and (key + value).isprintable()):
            raise InvalidInput(
                f"labels: {key[:70]!r}={value[:70]!r}: 1 to 63 printable characters, a value may be empty"
            )

"""The rows of the identity file, inside of one transaction of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from circinus.model.device import DeviceId
from cloud_planner.identity.audit import Entry, digest_of
from cloud_planner.identity.certificates import Holder, HolderKind

if TYPE_CHECKING:
    import aiosqlite


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """An enrolment token, without its secret. ``device_id`` empty: any device that has the labels."""

    id: str
    secret_sha256: bytes = field(repr=False)
    device_id: str
    labels: Mapping[str, str]
    created_at: datetime
    ends_at: datetime
    created_by: str
    used_at: datetime | None = None
    used_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentRecord:
    """One enrolment of a device and its last certificate.

    ``labels``: those that its token was bound to. ``doubled_at``: since when two boxes have it.
    """

    lineage: str
    device_id: DeviceId
    serial: str
    enrolled_at: datetime
    ends_at: datetime
    revoked_at: datetime | None = None
    revoked_why: str = ""
    doubled_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def holder(self) -> Holder:
        """As its certificates name it."""
        return Holder(kind=HolderKind.DEVICE, name=self.device_id, lineage=self.lineage)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRecord:
    """A person. ``role``: a number of ``circinus.v1.Role``. Without a digest of a secret they have a certificate."""

    name: str
    lineage: str
    role: int
    created_at: datetime
    ends_at: datetime
    secret_sha256: bytes | None = field(default=None, repr=False)


_ENROLMENT = "lineage, device_id, serial, enrolled_at_s, ends_at_s, revoked_at_s, revoked_why, doubled_at_s"
_TOKEN = "id, secret_sha256, device_id, created_at_s, ends_at_s, created_by, used_at_s, used_by"
_PERSON = "name, lineage, role, created_at_s, ends_at_s, secret_sha256"


class Rows:
    """Statements on an open transaction."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def _rows(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        return list(await self._connection.execute_fetchall(statement, parameters))

    async def _changed(self, statement: str, parameters: Sequence[object] = ()) -> int:
        async with self._connection.execute(statement, parameters) as cursor:
            return cursor.rowcount

    # Tokens.

    async def put_token(self, token: TokenRecord) -> None:
        """A new token."""
        values = (
            token.id,
            token.secret_sha256,
            token.device_id,
            token.created_at.timestamp(),
            token.ends_at.timestamp(),
            token.created_by,
        )
        await self._changed(
            "INSERT INTO tokens (id, secret_sha256, device_id, created_at_s, ends_at_s, created_by) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
        for key, value in token.labels.items():
            await self._changed("INSERT INTO token_labels VALUES (?, ?, ?)", (token.id, key, value))

    async def tokens(self) -> tuple[TokenRecord, ...]:
        """All tokens, oldest first."""
        rows = await self._rows(f"SELECT {_TOKEN} FROM tokens ORDER BY created_at_s, id")
        labels: dict[str, dict[str, str]] = {}
        for token_id, key, value in await self._rows("SELECT token_id, key, value FROM token_labels ORDER BY key"):
            labels.setdefault(token_id, {})[key] = value
        return tuple(_token(row, labels.get(row[0], {})) for row in rows)

    async def token(self, token_id: str) -> TokenRecord | None:
        """One token; None: there is none of this id."""
        rows = await self._rows(f"SELECT {_TOKEN} FROM tokens WHERE id = ?", (token_id,))
        if not rows:
            return None
        labels = await self._rows("SELECT key, value FROM token_labels WHERE token_id = ?", (token_id,))
        return _token(rows[0], {row[0]: row[1] for row in labels})

    async def use_token(self, token_id: str, device_id: DeviceId, now: datetime) -> bool:
        """Marks it used; False: it is already, or is not there."""
        return bool(
            await self._changed(
                "UPDATE tokens SET used_at_s = ?, used_by = ? WHERE id = ? AND used_at_s IS NULL",
                (now.timestamp(), device_id, token_id),
            )
        )

    async def remove_token(self, token_id: str) -> bool:
        """Removes it; False: it is not there."""
        return bool(await self._changed("DELETE FROM tokens WHERE id = ?", (token_id,)))

    async def forget_tokens(self, ended_before: datetime) -> None:
        """Removes those that ended long ago: the log has what became of them."""
        await self._changed("DELETE FROM tokens WHERE ends_at_s < ?", (ended_before.timestamp(),))

    # Enrolments.

    async def put_enrolment(self, one: EnrolmentRecord) -> None:
        """A new enrolment, or the new state of one."""
        values = (
            one.lineage,
            one.device_id,
            one.serial,
            one.enrolled_at.timestamp(),
            one.ends_at.timestamp(),
            _seconds(one.revoked_at),
            one.revoked_why,
            _seconds(one.doubled_at),
        )
        await self._changed(f"INSERT OR REPLACE INTO enrolments ({_ENROLMENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        for key, value in one.labels.items():
            await self._changed("INSERT OR IGNORE INTO enrolment_labels VALUES (?, ?, ?)", (one.lineage, key, value))

    async def enrolments(self) -> tuple[EnrolmentRecord, ...]:
        """All enrolments, by device, oldest first."""
        rows = await self._rows(f"SELECT {_ENROLMENT} FROM enrolments ORDER BY device_id, enrolled_at_s, lineage")
        labels: dict[str, dict[str, str]] = {}
        for lineage, key, value in await self._rows("SELECT lineage, key, value FROM enrolment_labels ORDER BY key"):
            labels.setdefault(lineage, {})[key] = value
        return tuple(_enrolment(row, labels.get(row[0], {})) for row in rows)

    async def enrolment(self, lineage: str) -> EnrolmentRecord | None:
        """One enrolment; None: there is none of this lineage."""
        rows = await self._rows(f"SELECT {_ENROLMENT} FROM enrolments WHERE lineage = ?", (lineage,))
        return _enrolment(rows[0], await self._labels(lineage)) if rows else None

    async def _labels(self, lineage: str) -> dict[str, str]:
        rows = await self._rows("SELECT key, value FROM enrolment_labels WHERE lineage = ? ORDER BY key", (lineage,))
        return {row[0]: row[1] for row in rows}

    async def in_force(self, device_id: str) -> EnrolmentRecord | None:
        """The enrolment of a device (or of one whose name differs in case only) that was not revoked; None: none."""
        rows = await self._rows(
            f"SELECT {_ENROLMENT} FROM enrolments WHERE device_id = ? COLLATE NOCASE AND revoked_at_s IS NULL",
            (device_id,),
        )
        return _enrolment(rows[0], await self._labels(rows[0][0])) if rows else None

    # People.

    async def put_person(self, person: PersonRecord) -> None:
        """A person.

        Raises:
            sqlite3.IntegrityError: there is one of this name.
        """
        values = (
            person.name,
            person.lineage,
            person.role,
            person.created_at.timestamp(),
            person.ends_at.timestamp(),
            person.secret_sha256,
        )
        await self._changed(f"INSERT INTO people ({_PERSON}) VALUES (?, ?, ?, ?, ?, ?)", values)

    async def people(self) -> tuple[PersonRecord, ...]:
        """Everybody, by name."""
        return tuple(_person(row) for row in await self._rows(f"SELECT {_PERSON} FROM people ORDER BY name"))

    async def remove_person(self, name: str) -> bool:
        """Removes them; False: there is nobody of this name."""
        return bool(await self._changed("DELETE FROM people WHERE name = ?", (name,)))

    # The audit log.

    async def append(
        self, at: datetime, actor: str, action: str, subject: str, outcome: str, detail: str
    ) -> tuple[Entry, bytes]:
        """Adds an entry to the log and chains it; gives its digest, too."""
        (sequence, before), *_ = await self._rows("SELECT sequence, digest FROM audit_head")
        entry = Entry(
            sequence=sequence + 1,
            at_us=round(at.timestamp() * 1e6),
            actor=actor,
            action=action,
            subject=subject,
            outcome=outcome,
            detail=detail,
        )
        digest = digest_of(before, entry)
        values = (entry.sequence, entry.at_us, actor, action, subject, outcome, detail, digest)
        await self._changed("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        await self._changed("UPDATE audit_head SET sequence = ?, digest = ?", (entry.sequence, digest))
        return entry, digest

    async def entries(self, after: int, limit: int, *, refused: bool) -> tuple[tuple[Entry, bytes], ...]:
        """The newest entries after this one, oldest first, each with its digest."""
        which = " AND outcome <> 'done'" if refused else ""
        rows = await self._rows(
            f"SELECT sequence, at_us, actor, action, subject, outcome, detail, digest FROM audit "
            f"WHERE sequence > ?{which} ORDER BY sequence DESC LIMIT ?",
            (after, limit),
        )
        return tuple((entry_of(row), row[7]) for row in reversed(rows))


def entry_of(row: Sequence[object]) -> Entry:
    """An entry of a row of the log."""
    sequence, at_us, actor, action, subject, outcome, detail = row[:7]
    return Entry(
        sequence=int(str(sequence)),
        at_us=int(str(at_us)),
        actor=str(actor),
        action=str(action),
        subject=str(subject),
        outcome=str(outcome),
        detail=str(detail),
    )


def _token(row: sqlite3.Row, labels: Mapping[str, str]) -> TokenRecord:
    return TokenRecord(
        id=row[0],
        secret_sha256=row[1],
        device_id=row[2],
        labels=labels,
        created_at=_moment(row[3]),
        ends_at=_moment(row[4]),
        created_by=row[5],
        used_at=_moment(row[6]) if row[6] is not None else None,
        used_by=row[7],
    )


def _enrolment(row: sqlite3.Row, labels: Mapping[str, str]) -> EnrolmentRecord:
    return EnrolmentRecord(
        lineage=row[0],
        device_id=DeviceId(row[1]),
        serial=row[2],
        enrolled_at=_moment(row[3]),
        ends_at=_moment(row[4]),
        revoked_at=_moment(row[5]) if row[5] is not None else None,
        revoked_why=row[6],
        doubled_at=_moment(row[7]) if row[7] is not None else None,
        labels=labels,
    )


def _person(row: sqlite3.Row) -> PersonRecord:
    return PersonRecord(
        name=row[0],
        lineage=row[1],
        role=row[2],
        created_at=_moment(row[3]),
        ends_at=_moment(row[4]),
        secret_sha256=row[5],
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None

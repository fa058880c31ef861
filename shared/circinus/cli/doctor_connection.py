"""What `circinus doctor` finds between a person and the planner: certificate, the way there, clocks, identities."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from circinus.channel import Tls
from circinus.cli.output import size
from circinus.client import Client
from circinus.errors import CircinusError
from circinus.model.diagnosis import Diagnosis, failed, warned, well
from circinus.planner_link import CURES, probe_as
from circinus.tls_probe import Fault, over, span, window

#: A person's certificate is not renewed by itself.
_SOON = timedelta(days=14)
#: A device renews its certificate from half of its life on, which is a day: one that has so little left did not.
_LATE = timedelta(hours=1)
_CLOCK_WARN_S = 5.0
_CLOCK_FAIL_S = 300.0
_WISHED_DISK_BYTES = 2**30
_NEW_FILE = "ask an admin for a new context file: circinus person create NAME ..., then circinus context add FILE"
_NTP = "timedatectl set-ntp true, on the machine whose clock is wrong"


def own(client: Client, now: datetime) -> Iterator[Diagnosis]:
    """The certificate of whoever asks."""
    if not isinstance(client.credentials, Tls):
        return
    certificate = client.credentials.certificate
    try:
        why, (_, ends_at) = over(certificate, now), window(certificate)
    except ValueError as error:
        yield failed("certificate", f"yours can't be read: {error}", _NEW_FILE)
        return
    if why:
        subject, cure = ("clock", _NTP) if "clock" in why else ("certificate", _NEW_FILE)
        yield failed(subject, f"your certificate {why}", cure)
    elif ends_at - now < _SOON:
        yield warned("certificate", f"yours ends in {span(ends_at - now)}", _NEW_FILE)
    else:
        yield well("certificate", f"yours is good for {span(ends_at - now)}")


def reached(client: Client) -> list[Diagnosis]:
    """The way to the planner: name, port, TLS. Blocks."""
    found = probe_as(client.address, client.credentials)
    if found.fault is None:
        how = "in the clear" if client.credentials is None else "with TLS"
        return [well("connection", f"{client.address} answers {how}, {found.took_ms:.1f} ms")]
    if found.fault in CURES:
        subject = "clock" if found.fault is Fault.CLOCK else "connection"
        return [failed(subject, found.said, CURES[found.fault][1])]
    if found.fault is Fault.NO_ADDRESS:
        return [
            failed("name", found.said, "check the name in the context (circinus context show), and this machine's DNS")
        ]
    if found.fault is Fault.SILENT:
        return [failed("port", found.said, "let the firewall pass it, or check the port")]
    cure = f"start it (cloud-planner run --listen {client.address} ...), or name another with --planner"
    return [failed("planner", found.said, cure)]


def clock(ahead_s: float | None) -> Iterator[Diagnosis]:
    """The planner's clock beside this machine's."""
    if ahead_s is None:
        return
    way = "ahead of" if ahead_s > 0 else "behind"
    said = f"the planner's is {span(timedelta(seconds=abs(ahead_s)))} {way} this machine's"
    if abs(ahead_s) >= _CLOCK_FAIL_S:
        yield failed("clock", said, _NTP)
    elif abs(ahead_s) >= _CLOCK_WARN_S:
        yield warned("clock", said, _NTP)
    else:
        yield well("clock", said)


async def identities(client: Client) -> list[Diagnosis]:
    """The certificates of devices; nothing where the caller is no admin, or the planner asks nobody who they are."""
    if client.credentials is None:
        return []
    try:
        found = await client.admin.identities()
    except CircinusError:
        return [well("identities", "only admins see them")]
    now, faults = datetime.now(UTC), list[Diagnosis]()
    for one in found:
        name = f"device {one.device_id}"
        again = f"circinus device revoke {one.device_id} --why TEXT, then a new token for the right one"
        if one.revoked_at is not None or one.ends_at is None:
            continue
        if one.doubled_at is not None:
            faults.append(failed(name, "two boxes have its identity, such as by a copied disk", again))
        if one.ends_at < now:
            said = f"its certificate ended {span(now - one.ends_at)} ago"
            faults.append(warned(name, said, "start its agent: it renews it; on it: edge-agent check --config FILE"))
        elif one.ends_at - now < _LATE:
            said = f"its certificate ends in {span(one.ends_at - now)}, and was not renewed"
            faults.append(warned(name, said, "on it: edge-agent check --config FILE"))
    good = len({one.device_id for one in found}) - len({fault.subject for fault in faults})
    return [*faults, well("identities", f"{good} of {len({one.device_id for one in found})} are good")]


def disk_text(free_bytes: int) -> str:
    """What to say of a device's free disk; empty: it is enough, or it does not tell."""
    return f"its disk has {size(free_bytes)} free" if 0 < free_bytes < _WISHED_DISK_BYTES else ""

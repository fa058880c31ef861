"""What ``edge-agent check`` finds of who this box is and of its way to the planner: certificate, clock, port, TLS."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import datetime, timedelta

from circinus.channel import Tls
from circinus.errors import InvalidInput
from circinus.model.diagnosis import Diagnosis, failed, warned, well
from circinus.tls_probe import Fault, Found, over, probe, span, window
from edge_agent.config import AgentConfig
from edge_agent.identity.files import read_identity

#: After so long the planner renews no certificate, if it was not told otherwise.
_GRACE = timedelta(days=90)
#: It is renewed from half of its life on: one with a smaller part left was tried to be, in vain.
_LATE_RATIO = 0.3
_TIMEOUT_S = 3.0
_NTP = "timedatectl set-ntp true"
_JOIN = "edge-agent join --config FILE --token-file FILE, with a token (circinus token create --device NAME)"

_CURES = {
    Fault.SECURE: "take insecure_loopback out of the configuration, and let the box join: " + _JOIN,
    Fault.CLEAR: "it is no planner, or one with --insecure-loopback: check the port in `planner`, or start it without",
    Fault.OTHER_ROOT: "it is another planner: check `planner`; if this box is to belong to that one, join it: " + _JOIN,
    Fault.OTHER_NAME: "it is no planner: check the address in `planner`",
    Fault.CLOCK: _NTP + ", here or on the planner's machine",
    Fault.NAMELESS: "that is the planner's port for boxes with certificates; check `enrol`",
    Fault.UNWANTED: "its certificate is over, or of another root: " + _JOIN,
    Fault.BROKEN_PAIR: _JOIN,
}


def identity(config: AgentConfig, now: datetime) -> Iterator[Diagnosis]:
    """The box's certificate."""
    if config.insecure_loopback:
        yield well("identity", "none: in the clear, on this machine only")
        return
    try:
        tls = read_identity(config.identity_dir)
    except InvalidInput as error:
        yield failed("certificate", error.message, _JOIN)
        return
    if tls is None:
        yield failed("certificate", f"this box has none in {config.identity_dir}", _JOIN)
        return
    key = config.identity_dir / "key.pem"
    if key.exists() and key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield warned("certificate", f"others may read its key {key}", f"chmod 600 {key}")
    yield from _dates(tls, now)


def _dates(tls: Tls, now: datetime) -> Iterator[Diagnosis]:
    try:
        why, (starts_at, ends_at) = over(tls.certificate, now), window(tls.certificate)
    except ValueError as error:
        yield failed("certificate", f"it can't be read: {error}", _JOIN)
        return
    if "clock" in why:
        yield failed("clock", f"the box's certificate {why}", _NTP)
    elif why and now - ends_at > _GRACE:
        yield failed("certificate", f"it {why}, which is too long to renew it; or the clock is wrong", _JOIN)
    elif why:
        yield warned("certificate", f"it {why}", "start the agent: it renews it, if the clock is right")
    elif ends_at - now < (ends_at - starts_at) * _LATE_RATIO:
        said = f"it ends in {span(ends_at - now)}, and was not renewed"
        yield warned("certificate", said, "let the agent reach the planner's port for enrolment; its log says more")
    else:
        yield well("certificate", f"good for {span(ends_at - now)}")


def connection(config: AgentConfig, now: datetime, timeout_s: float = _TIMEOUT_S) -> Iterator[Diagnosis]:
    """The planner's name, its ports, and whether it and this box take one another for what they are."""
    tls = None if config.insecure_loopback else _identity_of(config)
    if config.insecure_loopback:
        yield _told("planner", config.planner, probe(config.planner, timeout_s=timeout_s))
        return
    if tls is None:
        # Nobody is trusted yet: whether somebody listens is all that can be asked.
        for subject, address in (("planner", config.planner), ("enrolment", config.enrol)):
            found = probe(address, timeout_s=timeout_s)
            yield _told(subject, address, found if found.fault is not Fault.SECURE else Found(took_ms=found.took_ms))
        return
    if not over(tls.certificate, now):
        yield _told("planner", config.planner, probe(config.planner, tls=tls, timeout_s=timeout_s))
    yield _told("enrolment", config.enrol, probe(config.enrol, root=tls.root, timeout_s=timeout_s))


def _identity_of(config: AgentConfig) -> Tls | None:
    try:
        tls = read_identity(config.identity_dir)
        if tls is not None:
            window(tls.certificate)
    except (InvalidInput, ValueError):
        return None
    return tls


def _told(subject: str, address: str, found: Found) -> Diagnosis:
    match found.fault:
        case None:
            return well(subject, f"{address} answers, {found.took_ms:.1f} ms")
        case Fault.NO_ADDRESS:
            return failed(subject, found.said, "check the name in `planner`, and the box's DNS")
        case Fault.SILENT:
            return failed(subject, found.said, "let the firewall pass it, or check the port")
        case Fault.REFUSED:
            return failed(subject, found.said, f"start it: cloud-planner run; or check the port {address}")
        case Fault.CLOCK:
            return failed("clock", found.said, _CURES[Fault.CLOCK])
        case fault:
            return failed(subject, found.said, _CURES[fault])

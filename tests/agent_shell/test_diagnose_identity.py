"""`edge-agent check` of certificates, clocks, names, ports and TLS: each fault under its name, with its cure."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc
import pytest

from circinus.channel import Tls
from circinus.model.diagnosis import Grade
from edge_agent import diagnose_identity
from edge_agent.config import parse_config
from edge_agent.identity.files import write_identity
from tests.circinus.tls_authority import Authority

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def planner(authority):
    """The two ports of a planner."""
    with listening(authority.pair(), authority.root) as mutual, listening(authority.pair()) as enrolment:
        yield f'planner = "{mutual}"\nenrol = "{enrolment}"\n'


@contextmanager
def listening(pair=None, root=None):
    """A port: with mutual TLS, with TLS, or in the clear."""
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    if pair is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        keys = [(pair.key, pair.certificate)]
        port = server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials(keys, root, require_client_auth=root is not None)
        )
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def config_of(tmp_path, text, tls=None):
    config = parse_config(
        f'device_id = "here"\nstate_dir = "{tmp_path / "state"}"\ntier = "edge"\n{text}', folder=tmp_path
    )
    if tls is not None:
        write_identity(config.identity_dir, tls)
    return config


def found_of(config):
    """What both checks find."""
    return [*diagnose_identity.identity(config, NOW), *diagnose_identity.connection(config, NOW, timeout_s=1.0)]


def faults_of(config):
    faults = [one for one in found_of(config) if one.grade is not Grade.OK]
    assert all(one.cure for one in faults)
    return faults


def test_a_box_with_an_identity_and_a_planner_has_no_fault(tmp_path, authority, planner):
    found = found_of(config_of(tmp_path, planner, authority.tls("here")))
    assert [(one.subject, one.grade) for one in found] == [
        ("certificate", Grade.OK),
        ("planner", Grade.OK),
        ("enrolment", Grade.OK),
    ]


def test_a_box_without_an_identity_is_told_to_join(tmp_path, planner):
    (fault,) = faults_of(config_of(tmp_path, planner))
    assert (fault.subject, fault.grade) == ("certificate", Grade.FAILED)
    assert "edge-agent join" in fault.cure


def test_in_the_clear_no_identity_is_needed(tmp_path, authority):
    with listening() as clear:
        assert faults_of(config_of(tmp_path, f'planner = "{clear}"\ninsecure_loopback = true')) == []
    with listening(authority.pair(), authority.root) as mutual:
        (fault,) = faults_of(config_of(tmp_path, f'planner = "{mutual}"\ninsecure_loopback = true'))
    assert "speaks TLS" in fault.said


@pytest.mark.parametrize(
    ("dates", "subject", "grade", "said"),
    [
        ({"from_days": -1.0, "to_days": 0.1}, "certificate", Grade.WARNING, "was not renewed"),
        ({"from_days": -40.0, "to_days": -30.0}, "certificate", Grade.WARNING, "ended 30 days ago"),
        ({"from_days": -200.0, "to_days": -199.0}, "certificate", Grade.FAILED, "too long to renew"),
        ({"from_days": 365.0, "to_days": 366.0}, "clock", Grade.FAILED, "begins in 365 days"),
    ],
)
def test_a_certificate_is_told_by_its_dates(tmp_path, authority, planner, dates, subject, grade, said):
    (fault,) = faults_of(config_of(tmp_path, planner, authority.tls("here", **dates)))
    assert (fault.subject, fault.grade) == (subject, grade)
    assert said in fault.said


def test_a_clock_that_is_off_by_a_year_is_named_as_clock(tmp_path, authority):
    far = authority.pair(from_days=365.0, to_days=400.0)
    with listening(far, authority.root) as mutual, listening(far) as enrolment:
        text = f'planner = "{mutual}"\nenrol = "{enrolment}"'
        faults = faults_of(config_of(tmp_path, text, authority.tls("here")))
    assert {one.subject for one in faults} == {"clock"}
    assert "by 365 days" in faults[0].said
    assert "set-ntp" in faults[0].cure


def test_another_root_a_name_without_address_and_ports_that_are_not_there_are_told_apart(tmp_path, authority, planner):
    stranger = Authority()
    faults = faults_of(config_of(tmp_path / "a", planner, stranger.tls("here")))
    assert all("another root" in one.said for one in faults)
    tls = authority.tls("here")
    text = 'planner = "no-such-name.invalid:7400"\nenrol = "127.0.0.1:1"'
    first, second = faults_of(config_of(tmp_path / "b", text, tls))
    assert "DNS" in first.cure
    assert "start it" in second.cure
    with socket.create_server(("127.0.0.1", 0)) as silent, listening() as clear:
        text = f'planner = "127.0.0.1:{silent.getsockname()[1]}"\nenrol = "{clear}"'
        first, second = faults_of(config_of(tmp_path / "c", text, tls))
    assert "firewall" in first.cure
    assert "does not speak TLS" in second.said


def test_a_certificate_that_the_planner_does_not_take_is_told(tmp_path, authority, planner):
    pair = Authority().pair("here")
    mixed = Tls(root=authority.root, certificate=pair.certificate, key=pair.key)
    (fault,) = faults_of(config_of(tmp_path, planner, mixed))
    assert "does not take this certificate" in fault.said


def test_a_key_that_others_may_read_and_files_that_are_none_are_told(tmp_path, authority, planner):
    config = config_of(tmp_path, planner, authority.tls("here"))
    (config.identity_dir / "key.pem").chmod(0o644)
    (fault,) = faults_of(config)
    assert "chmod 600" in fault.cure
    (config.identity_dir / "certificate.pem").write_text("rubbish")
    assert "edge-agent join" in faults_of(config)[0].cure


def test_what_is_told_has_no_key_in_it(tmp_path, authority, planner):
    tls = authority.tls("here", to_days=-0.5)
    secret = tls.key.decode().splitlines()[1]
    assert secret not in repr(found_of(config_of(tmp_path, planner, tls)))

"""`circinus doctor` of certificates, the way to the planner, clocks and identities: each by name, with its cure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_admin import BEARER, NOT_ADMIN, Served, serve_all
from tls_authority import Authority

from circinus import contexts
from circinus.cli import doctor_connection
from circinus.cli.main import main
from circinus.contexts import Context, Contexts
from circinus.model.diagnosis import Grade

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def served(authority: Authority) -> Iterator[Served]:
    found = serve_all(authority)
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def file(monkeypatch, tmp_path: Path) -> Path:
    path = tmp_path / "contexts.toml"
    monkeypatch.setenv("CIRCINUS_CONTEXTS", str(path))
    for name in ("CIRCINUS_CONTEXT", "CIRCINUS_PLANNER", "CIRCINUS_INSECURE_LOOPBACK"):
        monkeypatch.delenv(name, raising=False)
    return path


def known(
    file: Path, authority: Authority, planner: str, *, root: bytes = b"", token: str = "", **dates: float
) -> None:
    """Writes the one context."""
    pair = authority.pair("ann", **({"to_days": 300.0} | dates))
    own = {"token": token} if token else {"certificate": pair.certificate.decode(), "key": pair.key.decode()}
    shop = Context(name="shop", planner=planner, root=(root or authority.root).decode(), **own)
    contexts.save(file, Contexts().plus(shop))


def found_by(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    """What doctor finds, by subject; the worst of each."""
    code = main(["doctor", "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    assert code == int(any(one["grade"] == "failed" for one in found))
    assert all(one["cure"] for one in found if one["grade"] != "ok")
    return {
        one["subject"]: one for one in sorted(found, key=lambda one: ["ok", "warning", "failed"].index(one["grade"]))
    }


def test_a_sound_way_is_told_to_be_sound(capsys, file: Path, authority: Authority, served: Served) -> None:
    known(file, authority, served.mutual)
    found = found_by(capsys)
    assert found["certificate"]["grade"] == found["connection"]["grade"] == "ok"
    assert "with TLS" in found["connection"]["said"]
    assert found["device camera-3"]["grade"] == "failed"
    assert "two boxes" in found["device camera-3"]["said"]
    assert "circinus device revoke camera-3" in found["device camera-3"]["cure"]
    # Revoked is not a fault.
    assert "device camera-2" not in found


def test_who_is_no_admin_is_told_all_but_identities(capsys, file: Path, authority: Authority, served: Served) -> None:
    served.admin.refusal = NOT_ADMIN
    known(file, authority, served.bearer, token=BEARER)
    assert found_by(capsys)["identities"]["said"] == "only admins see them"


def test_without_a_context_there_is_one_finding(capsys) -> None:
    found = found_by(capsys)
    assert list(found) == ["context"]
    assert "circinus context add FILE" in found["context"]["said"]


@pytest.mark.parametrize(
    ("dates", "subject", "grade"),
    [
        ({"to_days": 3.0}, "certificate", "warning"),
        ({"from_days": -30.0, "to_days": -10.0}, "certificate", "failed"),
        ({"from_days": 365.0, "to_days": 400.0}, "clock", "failed"),
    ],
)
def test_a_certificate_is_told_by_its_dates(
    capsys, file: Path, authority: Authority, served: Served, dates: dict[str, float], subject: str, grade: str
) -> None:
    known(file, authority, served.mutual, **dates)
    assert found_by(capsys)[subject]["grade"] == grade


def test_another_root_a_wrong_port_a_wrong_name_and_a_wrong_token_are_told_apart(
    capsys, file: Path, authority: Authority, served: Served
) -> None:
    known(file, authority, served.bearer, token=BEARER, root=Authority().root)
    assert "another root" in found_by(capsys)["connection"]["said"]
    known(file, authority, "127.0.0.1:1")
    assert "cloud-planner run" in found_by(capsys)["planner"]["cure"]
    known(file, authority, "no-such-planner.invalid:7400")
    assert "DNS" in found_by(capsys)["name"]["cure"]
    known(file, authority, served.bearer, token="circp.ann.wrong")
    assert "ask an admin" in found_by(capsys)["access"]["cure"]
    known(file, authority, served.clear)
    assert "does not speak TLS" in found_by(capsys)["connection"]["said"]


@pytest.mark.parametrize(
    ("ahead_s", "grade", "said"),
    [
        (0.2, Grade.OK, "0.2 s ahead of"),
        (-60.0, Grade.WARNING, "1 minutes behind"),
        (365 * 86_400.0, Grade.FAILED, "365 days ahead of"),
    ],
)
def test_clocks_that_are_apart_are_told_by_how_much(ahead_s: float, grade: Grade, said: str) -> None:
    (found,) = doctor_connection.clock(ahead_s)
    assert (found.grade, said in found.said) == (grade, True)


def test_a_planner_that_does_not_tell_its_time_is_not_judged() -> None:
    assert list(doctor_connection.clock(None)) == []


def test_the_planners_clock_is_told(capsys, file: Path, authority: Authority, served: Served) -> None:
    served.planner.now = NOW + timedelta(days=365)
    known(file, authority, served.mutual)
    assert found_by(capsys)["clock"]["grade"] == "failed"


def test_a_disk_that_is_nearly_full_is_told_and_an_untold_one_is_not() -> None:
    assert "free" in doctor_connection.disk_text(2**20)
    assert doctor_connection.disk_text(2**40) == doctor_connection.disk_text(0) == ""

"""`circinus support-bundle`: what is in it, and that no secret is, wherever one was planted."""

from __future__ import annotations

import base64
import json
import secrets
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_admin import Served, serve_all
from tls_authority import Authority

from circinus import contexts, errors, support
from circinus.cli.main import main
from circinus.contexts import Context, Contexts
from circinus.redaction import Redactor
from circinus.v1 import planner_pb2, types_pb2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def served(authority: Authority) -> Iterator[Served]:
    found = serve_all(authority)
    yield found
    found.stop()


class Secrets:
    """Fresh ones, so that one found in a bundle can only have come from where it was planted."""

    def __init__(self, authority: Authority) -> None:
        self.pair = authority.pair("ann")
        self.key = self.pair.key.decode()
        self.word = f"pass-{secrets.token_hex(8)}"
        self.bearer = f"circp.ann.{secrets.token_urlsafe(32)}"
        self.token = f"circ1.4f1c09d2.{secrets.token_urlsafe(32)}.{secrets.token_hex(32)}"
        self.payload = base64.b64encode(secrets.token_bytes(300)).decode()

    def traces(self) -> list[str]:
        """Whatever of them must not be found."""
        key_lines = [line for line in self.key.splitlines() if not line.startswith("-----")]
        return [*key_lines, self.word, self.bearer.split(".")[2], self.token.split(".")[2], self.payload[:60]]


@pytest.fixture
def planted(authority: Authority) -> Secrets:
    return Secrets(authority)


@pytest.fixture(autouse=True)
def context_file(served: Served, authority: Authority, planted: Secrets, monkeypatch, tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "contexts.toml"
    root, certificate = authority.root.decode(), planted.pair.certificate.decode()
    shop = Context(name="shop", planner=served.mutual, root=root, certificate=certificate, key=planted.key)
    other = Context(name="lab", planner=served.bearer, root=root, token=planted.bearer)
    contexts.save(path, Contexts().plus(shop).plus(other))
    monkeypatch.setenv("CIRCINUS_CONTEXTS", str(path))
    monkeypatch.setenv("CIRCINUS_TOKEN", planted.token)
    for name in ("CIRCINUS_CONTEXT", "CIRCINUS_PLANNER", "CIRCINUS_INSECURE_LOOPBACK"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def state(tmp_path: Path, planted: Secrets, authority: Authority) -> Path:
    """The state folder of an agent, with a secret in every file."""
    folder = tmp_path / "agent-1"
    for name in ("identity", "identity/1", "blobs", "outbox", "environments"):
        (folder / name).mkdir(parents=True)
    (folder / "identity/1/key.pem").write_text(planted.key)
    (folder / "blobs/sample").write_text(planted.payload)
    (folder / "outbox/items").write_text(planted.payload)
    (folder / "ledger.db").write_text(planted.word)
    lines = [
        f"2026-01-01 INFO feed_opened uri=rtsp://admin:{planted.word}@10.0.0.7/stream",
        f"2026-01-01 INFO joined token={planted.token}",
        f"2026-01-01 WARNING refused said='authorization: Bearer {planted.bearer}'",
        f"2026-01-01 ERROR payload {planted.payload}",
        "2026-01-01 INFO generation_phase generation=3 phase=active",
        planted.key,
    ]
    (folder / "agent.log").write_text("\n".join(lines))
    (folder / "agent.toml").write_text(f'device_id = "agent-1"\nwifi_password = "{planted.word}"\n')
    # Its beginning is cut, in the middle of a key.
    key_end = "\n".join(planted.key.splitlines()[1:])
    (folder / "long.log").write_text("x\n" * 10 + key_end + "\n" + "event nothing=1\n" * 40_000)
    return folder


def read(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        names = [member.name for member in archive.getmembers()]
        assert all(name.startswith(f"{path.name.removesuffix('.tar.gz')}/") for name in names)
        found = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read().decode()
        return found


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["support-bundle", *(str(argument) for argument in arguments), "--no-journal"])
    found = capsys.readouterr()
    assert "Traceback" not in found.err + found.out
    return code, found.out, found.err


def test_secrets_that_were_planted_everywhere_are_not_in_it(
    capsys, served: Served, planted: Secrets, state: Path, tmp_path: Path, context_file: Path
) -> None:
    query = types_pb2.Query(
        id="gate",
        pipeline_id="documents",
        content="clean",
        source_device_id="camera-1",
        rate_per_s=2,
        weight=1,
        input=f"camera:rtsp://admin:{planted.word}@10.0.0.7/",
    )
    served.planner.queries["gate"] = planner_pb2.QueryState(query=query, reason=f"password={planted.word}")
    served.admin.entries[1].detail = f"token {planted.token}"
    loose = tmp_path / "loose.log"
    loose.write_text(f"secret: {planted.word}\n{planted.key}")
    path = tmp_path / "out.tar.gz"
    arguments = ("-o", path, "--state-dir", state, "--log", loose, "--config", context_file)
    code, out, err = run(capsys, *arguments)
    assert code == 0, err
    parts = read(path)
    everything = out + err + json.dumps(parts) + "".join(parts.values())
    assert [trace for trace in planted.traces() if trace in everything] == []
    assert "PRIVATE KEY" not in everything
    # It is of use all the same.
    assert {"status.json", "devices.json", "queries.json", "doctor.json", "audit-log.json"} <= set(parts)
    assert "generation_phase generation=3 phase=active" in parts["agent-1/logs/agent.log"]
    assert "10.0.0.7" in parts["queries.json"]
    assert "identity/1/key.pem" not in parts["agent-1/files.json"]


def test_the_manifest_says_what_is_in_it_and_what_is_not(capsys, state: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.tar.gz"
    code, out, _ = run(capsys, "-o", path, "--state-dir", state, "--json")
    assert code == 0
    parts = read(path)
    manifest = json.loads(parts["manifest.json"])
    assert {entry["name"] for entry in manifest["entries"]} == set(parts) - {"manifest.json"}
    why = {one["what"]: one["why"] for one in manifest["left_out"]}
    assert why[str(state / "identity")] == "it has keys"
    assert "databases" in why[str(state / "ledger.db")]
    assert manifest["secrets_taken_out"] > 0
    notes = {entry["name"]: entry["note"] for entry in manifest["entries"]}
    assert "the last 512 KiB" in notes["agent-1/logs/long.log"]
    assert json.loads(out)["entries"] == manifest["entries"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_role_that_may_not_see_all_gets_the_rest(capsys, served: Served, tmp_path: Path) -> None:
    served.admin.refusal = errors.NotAllowed("ListAudit is for admins")
    path = tmp_path / "out.tar.gz"
    code, out, _ = run(capsys, "-o", path)
    assert code == 0
    assert "left out: audit-log.json: ListAudit is for admins" in out
    assert "queries.json" in read(path)


def test_without_a_planner_there_is_what_this_machine_has(capsys, served: Served, state: Path, tmp_path: Path) -> None:
    served.stop()
    path = tmp_path / "out.tar.gz"
    code, out, _ = run(capsys, "-o", path, "--state-dir", state)
    assert code == 7
    parts = read(path)
    assert json.loads(parts["doctor.json"])[-1]["grade"] == "failed"
    assert "agent-1/logs/agent.log" in parts
    assert "left out: status.json: no planner answers" in out


def test_a_file_that_is_there_is_kept(capsys, tmp_path: Path) -> None:
    path = tmp_path / "out.tar.gz"
    path.write_text("mine")
    code, _, err = run(capsys, "--offline", "-o", path)
    assert (code, "is there already" in err, path.read_text()) == (1, True, "mine")


def test_it_is_bounded_in_size(monkeypatch) -> None:
    monkeypatch.setattr(support, "MAX_PART_BYTES", 20_000)
    monkeypatch.setattr(support, "MAX_TOTAL_BYTES", 100_000)
    bundle = support.Bundle(Redactor())
    bundle.put_document("many.json", [{"name": f"device-{number}", "x": "y" * 100} for number in range(1_000)])
    bundle.put_text("large", "word\n" * 10_000)
    for number in range(20):
        bundle.put_text(f"part-{number}", "word\n" * 3_000)
    assert sum(entry.size_bytes for entry in bundle.entries) <= support.MAX_TOTAL_BYTES
    assert all(entry.size_bytes <= support.MAX_PART_BYTES for entry in bundle.entries)
    assert "of 1000" in bundle.entries[0].note
    assert {one.what for one in bundle.left_out} >= {"large", "part-19"}


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    bundle = support.Bundle(Redactor())
    support.put_state_folder(bundle, tmp_path / "none")
    support.put_tail(bundle, tmp_path, "folder")
    support.put_config(bundle, tmp_path / "none.toml", "config")
    support.put_journal(bundle, ("no-such-unit-of-ours",))
    assert len(bundle.left_out) == 4
    assert bundle.entries == []

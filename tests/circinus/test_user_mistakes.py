"""What people do wrong ends in one message that says what to do, with the right exit code, and never in a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from fake_admin import BEARER, NOT_ADMIN, Served, serve_all
from fake_planner import FakePlanner
from tls_authority import Authority

from circinus import contexts
from circinus.cli.main import main
from circinus.contexts import Context, Contexts
from circinus.v1 import planner_pb2_grpc
from edge_agent.daemon import main as edge_agent

pytestmark = pytest.mark.slow

QUERY = "- {id: gate, pipeline: documents, content: clean, source: camera-1, rate_per_s: 2, slo: {latency_ms: 500}}\n"
PIPELINE = Path(__file__).parents[2] / "examples/documents/pipeline.yaml"
SUBMIT = ["query", "submit", "--pipeline", "documents", "--content", "clean", "--source", "camera-1"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def served(authority: Authority) -> Iterator[Served]:
    found = serve_all(authority)
    yield found
    found.stop()


class World:
    """A planner, and a person's files."""

    def __init__(self, served: Served, authority: Authority, folder: Path) -> None:
        self.served, self.authority, self.folder = served, authority, folder
        self.file = folder / "contexts.toml"

    def context(self, planner: str = "", *, root: str = "", token: str = "", **dates: float) -> None:
        """Makes the one context of the file."""
        pair = self.authority.pair("ann", **dates)
        own = {"token": token} if token else {"certificate": pair.certificate.decode(), "key": pair.key.decode()}
        root = root or self.authority.root.decode()
        shop = Context(name="shop", planner=planner or self.served.mutual, root=root, **own)
        contexts.save(self.file, Contexts().plus(shop))

    def write(self, name: str, text: str) -> Path:
        """A file of theirs."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def queries(self, old: str = "", new: str = "") -> Path:
        """A file of queries, with a mistake."""
        assert old in QUERY
        return self.write("queries.yaml", QUERY.replace(old, new))

    def pipeline(self, old: str, new: str) -> Path:
        """A pipeline's folder, with a mistake."""
        text = PIPELINE.read_text()
        assert old in text
        return self.write("documents/pipeline.yaml", text.replace(old, new, 1)).parent


@pytest.fixture
def world(served: Served, authority: Authority, tmp_path: Path, monkeypatch) -> World:
    monkeypatch.setenv("CIRCINUS_CONTEXTS", str(tmp_path / "contexts.toml"))
    for name in ("CIRCINUS_CONTEXT", "CIRCINUS_PLANNER", "CIRCINUS_INSECURE_LOOPBACK", "CIRCINUS_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    made = World(served, authority, tmp_path)
    made.context()
    return made


def no_context(world: World) -> list[object]:
    world.file.unlink()
    return ["status"]


def no_such_context(world: World) -> list[object]:
    return ["status", "--context", "shpo"]


def broken_context_file(world: World) -> list[object]:
    world.file.write_text(world.file.read_text().replace("root = ", "rooot = "))
    return ["status"]


def wrong_port(world: World) -> list[object]:
    return ["status", "--planner", "127.0.0.1:1"]


def planner_down(world: World) -> list[object]:
    world.served.stop()
    return ["query", "ls"]


def wrong_name(world: World) -> list[object]:
    return ["status", "--planner", "no-such-planner.invalid:7400"]


def no_port(world: World) -> list[object]:
    return ["status", "--planner", "planner.example"]


def in_the_clear_to_tls(world: World) -> list[object]:
    return ["status", "--insecure-loopback", "--planner", world.served.mutual]


def tls_to_the_clear(world: World) -> list[object]:
    return ["status", "--planner", world.served.clear]


def in_the_clear_to_elsewhere(world: World) -> list[object]:
    return ["status", "--insecure-loopback", "--planner", "10.0.0.1:7400"]


def wrong_token(world: World) -> list[object]:
    world.context(world.served.bearer, token="circp.ann.wrong")
    return ["status"]


def token_at_the_port_for_certificates(world: World) -> list[object]:
    world.context(token=BEARER)
    return ["status"]


def wrong_root(world: World) -> list[object]:
    world.context(root=Authority().root.decode())
    return ["status"]


def expired_certificate(world: World) -> list[object]:
    world.context(from_days=-40, to_days=-10)
    return ["status"]


def another_persons_key(world: World) -> list[object]:
    mine = contexts.load(world.file).named("shop")
    key = world.authority.pair("bob").key.decode()
    mixed = Context(name="shop", planner=mine.planner, root=mine.root, certificate=mine.certificate, key=key)
    contexts.save(world.file, Contexts().plus(mixed))
    return ["status"]


def role_too_low(world: World) -> list[object]:
    world.served.admin.refusal = NOT_ADMIN
    return ["device", "revoke", "camera-1", "--why", "sold"]


def unit_forgotten_of_a_time(world: World) -> list[object]:
    return ["token", "create", "--device", "camera-1", "--ttl", "60"]


def unit_forgotten_of_a_latency(world: World) -> list[object]:
    return ["query", "submit", "-f", world.queries("latency_ms: 500", "latency: 500")]


def unit_forgotten_of_a_moment(world: World) -> list[object]:
    return ["ledger", "--since", "30"]


def slo_of_zero(world: World) -> list[object]:
    return ["query", "submit", "-f", world.queries("latency_ms: 500", "latency_ms: 0")]


def accuracy_in_percent(world: World) -> list[object]:
    return [*SUBMIT, "--rate", "2", "--accuracy", "95"]


def rate_of_zero(world: World) -> list[object]:
    return [*SUBMIT, "--rate", "0"]


def typo_in_a_knob(world: World) -> list[object]:
    return ["pipeline", "lint", world.pipeline("knobs:", "knbos:")]


def no_such_folder(world: World) -> list[object]:
    return ["pipeline", "lint", world.folder / "documnets"]


def broken_yaml(world: World) -> list[object]:
    return ["query", "submit", "-f", world.write("queries.yaml", "- {id: gate\n  pipeline: [")]


def no_such_query(world: World) -> list[object]:
    return ["query", "show", "gaet"]


def no_such_device(world: World) -> list[object]:
    return ["device", "show", "camera-9"]


def the_same_query_twice(world: World) -> list[object]:
    path = world.queries()
    assert main(["query", "submit", "-f", str(path)]) == 0
    return ["query", "submit", "-f", path]


def typo_in_a_command(world: World) -> list[object]:
    return ["qurey", "ls"]


def typo_in_an_option(world: World) -> list[object]:
    return ["query", "ls", "--ouput", "json"]


def unknown_form(world: World) -> list[object]:
    return ["query", "ls", "-o", "xml"]


def disk_full(world: World) -> list[object]:
    world.served.planner.record = [b"x" * 100_000]
    return ["plan", "--record", "/dev/full"]


def no_time_left(world: World) -> list[object]:
    world.served.planner.hanging = True
    return ["watch", "--timeout", "0.5"]


def a_role_that_is_none(world: World) -> list[object]:
    return ["person", "create", "bob", "--role", "boss"]


#: What was done wrong, the exit code, and what the message must say: what is wrong, and what to do.
MISTAKES: list[tuple[Callable[[World], list[object]], int, tuple[str, ...]]] = [
    (no_context, 2, ("no context", "circinus context add FILE")),
    (no_such_context, 1, ("'shpo'", "known: shop")),
    (broken_context_file, 2, ("contexts.shop.rooot: is no known key",)),
    (wrong_port, 4, ("no planner answers at 127.0.0.1:1", "name another address")),
    (planner_down, 4, ("no planner answers", "cloud-planner run")),
    (wrong_name, 4, ("no-such-planner.invalid has no address", "DNS")),
    (no_port, 2, ("'planner.example' is not HOST:PORT", "127.0.0.1:7400")),
    (in_the_clear_to_tls, 4, ("speaks TLS", "leave --insecure-loopback out")),
    (tls_to_the_clear, 4, ("does not speak TLS", "--insecure-loopback")),
    (in_the_clear_to_elsewhere, 2, ("not on loopback", "certificates")),
    (wrong_token, 5, ("no token, or none that is known", "circinus context add")),
    (token_at_the_port_for_certificates, 5, ("wants a certificate", "other port")),
    (wrong_root, 5, ("another root", "circinus context add FILE")),
    (expired_certificate, 5, ("ended 10 days ago", "ask an admin")),
    (another_persons_key, 2, ("not of one another", "ask an admin")),
    (role_too_low, 5, ("needs the role admin", "ask an admin")),
    (unit_forgotten_of_a_time, 2, ("60 of what?", "60m")),
    (unit_forgotten_of_a_latency, 2, ("latency", "latency_ms")),
    (unit_forgotten_of_a_moment, 2, ("'30'", "30s")),
    (slo_of_zero, 2, ("latency_ms is 0", "above 0")),
    (accuracy_in_percent, 2, ("accuracy is 95", "it is a ratio")),
    (rate_of_zero, 2, ("rate_per_s is 0", "above 0")),
    (typo_in_a_knob, 2, ("knbos", "knobs")),
    (no_such_folder, 2, ("documnets", "no such file")),
    (broken_yaml, 2, ("queries.yaml:",)),
    (no_such_query, 1, ("'gaet'", "circinus query ls")),
    (no_such_device, 1, ("'camera-9'", "known: camera-1")),
    (the_same_query_twice, 1, ("another query 'gate'",)),
    (typo_in_a_command, 2, ("qurey", "--help")),
    (typo_in_an_option, 2, ("--ouput", "--help")),
    (unknown_form, 2, ("'xml'", "json")),
    (disk_full, 1, ("No space left", "free some space")),
    (no_time_left, 6, ("not settled within 0.5 s", "circinus watch")),
    (a_role_that_is_none, 2, ("'boss'", "viewer")),
]


def run(capsys: pytest.CaptureFixture[str], arguments: list[object]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.mark.parametrize(("mistake", "code", "said"), MISTAKES, ids=[mistake.__name__ for mistake, _, _ in MISTAKES])
def test_a_mistake_ends_in_one_message_with_its_cure(
    capsys, world: World, mistake: Callable[[World], list[object]], code: int, said: tuple[str, ...]
) -> None:
    ended, out, err = run(capsys, mistake(world))
    assert ended == code, err
    assert out == ""
    assert "Traceback" not in err
    assert err.count("circinus:") == 1, err
    assert all(piece in " ".join(err.split()) for piece in said), err


@pytest.mark.parametrize("mistake", [no_context, wrong_port, wrong_root, slo_of_zero, typo_in_an_option])
def test_with_json_it_is_one_document_too(capsys, world: World, mistake: Callable[[World], list[object]]) -> None:
    code, out, _ = run(capsys, [*mistake(world), "-o", "json"])
    error = json.loads(out)["error"]
    assert error["exit_code"] == code
    assert error["message"]


def test_a_clock_that_is_off_by_a_year_is_named_as_clock(capsys, world: World, authority: Authority) -> None:
    pair = authority.pair(from_days=-400, to_days=-365)
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    planner_pb2_grpc.add_PlannerServiceServicer_to_server(FakePlanner(), server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pair.key, pair.certificate)]))
    server.start()
    try:
        world.context(f"127.0.0.1:{port}", token=BEARER)
        code, out, err = run(capsys, ["status"])
        assert (code, out) == (5, "")
        assert "by this machine's clock" in err
        assert "set the clock right" in err
        code, out, _ = run(capsys, ["doctor", "-o", "json"])
        assert code == 1
        assert [one["subject"] for one in json.loads(out) if one["grade"] == "failed"] == ["clock"]
    finally:
        server.stop(None).wait()


CONFIG = 'device_id = "camera-1"\nplanner = "127.0.0.1:7400"\nstate_dir = "state"\ntier = "edge"\n'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("planner =", "planer =", "planer: is no known key"),
        ('"edge"', '"egde"', "tier: is 'egde'; it must be one of"),
        ("127.0.0.1:7400", "127.0.0.1", "it must be HOST:PORT"),
        ('tier = "edge"', 'tier = "edge"\nmemory_bytes = "4GB"', "memory_bytes: is '4GB'; it must be a whole number"),
        ("camera-1", "Camera 1", "use a-z 0-9"),
        ("tier = ", "tier ", "is not TOML"),
    ],
)
def test_a_mistake_in_an_agents_file_is_named_by_its_key(capsys, tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(CONFIG.replace(old, new))
    assert edge_agent(["check", "--config", str(file)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err

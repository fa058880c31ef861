"""Sessions end when they should; the token against forgery is another in each page and the same all along."""

from datetime import UTC, datetime, timedelta

import pytest

from circinus.errors import NotKnown
from cloud_planner.dashboard.sessions import IDLE_S, LONGEST_S, MOST_EACH, Sessions, is_masked, masked
from cloud_planner.identity.rows import PersonRecord

START = datetime(2026, 3, 1, tzinfo=UTC)
ANN = PersonRecord(
    name="ann", lineage="0" * 16, role=1, created_at=START, ends_at=START + timedelta(days=1), secret_sha256=b"x"
)


class Clock:
    def __init__(self):
        self.s = 0.0

    def monotonic_s(self):
        return self.s


class Standing:
    """Says who stands; the test removes them."""

    def __init__(self):
        self.gone = False

    def check_role(self, name, role):
        if self.gone:
            raise NotKnown(f"{name} is not known any more")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def standing():
    return Standing()


@pytest.fixture
def sessions(standing, clock):
    return Sessions(standing, clock)


def test_a_session_ends_after_an_hour_without_use(sessions, clock):
    secret = sessions.begin(ANN)
    for _ in range(3):
        clock.s += IDLE_S - 1.0
        assert sessions.find(secret).caller.name == "ann"
    clock.s += IDLE_S + 1.0
    assert sessions.find(secret) is None


def test_a_session_ends_after_twelve_hours_however_it_is_used(sessions, clock):
    secret = sessions.begin(ANN)
    while clock.s < LONGEST_S:
        assert sessions.find(secret) is not None
        clock.s += IDLE_S / 2
    clock.s += 1.0
    assert sessions.find(secret) is None


def test_looking_whether_it_stands_is_no_use(sessions, clock):
    secret = sessions.begin(ANN)
    session = sessions.find(secret)
    clock.s = IDLE_S - 1.0
    assert sessions.stands(session)
    clock.s = IDLE_S + 1.0
    assert not sessions.stands(session)


def test_a_session_ends_with_its_person(sessions, standing):
    secret = sessions.begin(ANN)
    standing.gone = True
    assert sessions.find(secret) is None
    standing.gone = False
    assert sessions.find(secret) is None


def test_signing_out_ends_one_session_only(sessions):
    one, other = sessions.begin(ANN), sessions.begin(ANN)
    sessions.end(one)
    assert sessions.find(one) is None
    assert sessions.find(other) is not None


def test_one_person_has_so_many_sessions(sessions):
    secrets = [sessions.begin(ANN) for _ in range(MOST_EACH + 3)]
    assert [sessions.find(secret) is not None for secret in secrets] == [False] * 3 + [True] * MOST_EACH


@pytest.mark.parametrize("secret", ["", "x", "x" * 43, "x" * 10_000])
def test_a_made_up_secret_is_nobodys(sessions, secret):
    sessions.begin(ANN)
    assert sessions.find(secret) is None


def test_a_mask_hides_the_token_and_gives_it_back():
    token = bytes(range(32))
    texts = {masked(token) for _ in range(10)}
    assert len(texts) == 10
    assert all(is_masked(text, token) for text in texts)
    text = texts.pop()
    for wrong in ("", "zz" * 64, text[:-2], text + "00", text[:-1] + ("0" if text[-1] != "0" else "1"), "00" * 64):
        assert not is_masked(wrong, token)

"""Signing in, what guards a change, and what every answer says to browsers."""

import re
import ssl

import pytest
from dashboard_browser import complaints, one, text, until
from dashboard_fleet import Board, ask
from planner_fleet import device

from circinus.v1 import control_pb2, identity_pb2
from cloud_planner.dashboard.entrance import COOKIE
from cloud_planner.registry import AgentSession

pytestmark = pytest.mark.slow
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """A planner with identity; ``tokens`` of a viewer and an operator."""
    with Board(tmp_path_factory.mktemp("door"), fleet=False, insecure_loopback=False) as board:
        office = board.overview.office

        async def made(name, role):
            return (await office.people.create(name, role, 3600.0, b"", "local:test")).bearer

        board.tokens = {
            "vera": board.run(made("vera", identity_pb2.ROLE_VIEWER)),
            "otto": board.run(made("otto", identity_pb2.ROLE_OPERATOR)),
        }
        board.tls = ssl.create_default_context(cadata=office.authority.root_pem.decode())
        board.tls.check_hostname = False
        yield board


def visit(door, path, *, cookie="", data=None, origin=None, **headers):
    headers = {"Accept": "text/html", **headers}
    if cookie:
        headers["Cookie"] = f"{COOKIE}={cookie}"
    if data is not None:
        headers |= {"Origin": door.address if origin is None else origin, **FORM}
    return ask(door.address + path, data=data and data.encode(), headers=headers, context=door.tls)


def signed_in(door, name):
    answer = visit(door, "/sign-in", data=f"token={door.tokens[name]}&after=/devices")
    assert (answer.status, answer.headers["Location"]) == (303, "/devices")
    return re.match(rf"{COOKIE}=([\w-]+)", answer.headers["Set-Cookie"])[1]


def forgery(door, cookie):
    return re.search(r'"X-Circinus-Forgery":"([0-9a-f]+)"', visit(door, "/", cookie=cookie).text)[1]


def audited(door, action):
    entries = door.run(door.overview.office.log.entries(0, 1000))
    return [(entry.actor, entry.outcome) for entry, _ in entries if entry.action == action]


def test_whoever_is_not_signed_in_sees_nothing(door):
    answer = visit(door, "/devices?q=shop")
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?after=%2Fdevices%3Fq%3Dshop")
    assert visit(door, "/live?part=overview.totals").status == 303
    assert ask(f"{door.address}/live?part=overview.totals", context=door.tls).status == 401
    assert visit(door, "/devices/a/cordon", data="why=x").status == 401


def test_a_session_is_in_a_cookie_that_no_script_and_no_other_site_gets(door):
    answer = visit(door, "/sign-in", data=f"token={door.tokens['vera']}")
    cookie = answer.headers["Set-Cookie"].lower()
    for wanted in ("httponly", "secure", "samesite=strict", "path=/"):
        assert wanted in cookie
    assert door.tokens["vera"].split(".")[2].lower() not in cookie
    assert ("person:vera", "done") in audited(door, "SignIn")


def test_a_wrong_token_is_refused_noted_and_not_repeated(door):
    answer = visit(door, "/sign-in", data="token=circp.vera.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    assert answer.status == 401
    assert "nobody" in answer.text
    assert "AAAA" not in answer.text
    assert "Set-Cookie" not in answer.headers
    assert ("peer:127.0.0.1", "NotKnown") in audited(door, "SignIn")


def test_signing_in_leads_to_this_dashboard_only(door):
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        answer = visit(door, "/sign-in", data=f"token={door.tokens['vera']}&after={elsewhere}")
        assert answer.headers["Location"] == "/"


def test_a_change_needs_the_token_of_its_own_session_and_origin(door):
    otto, vera = signed_in(door, "otto"), signed_in(door, "vera")
    body = f"_forgery={forgery(door, otto)}&why=x"
    path = "/devices/camera/cordon"
    assert visit(door, path, cookie=otto, data="why=x").status == 403
    assert visit(door, path, cookie=otto, data=f"_forgery={forgery(door, vera)}").status == 403
    assert visit(door, path, cookie=otto, data=body, origin="https://evil.example").status == 403
    assert visit(door, path, cookie=otto, data=body, origin="").status == 403
    assert visit(door, path, cookie=otto, data=body, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    # All in order, but there is no such device.
    assert visit(door, path, cookie=otto, data=body).status == 404
    assert ("person:otto", "NotFound") in audited(door, "CordonDevice")


def test_a_viewer_may_not_change_anything(door):
    vera = signed_in(door, "vera")
    answer = visit(door, "/devices/camera/cordon", cookie=vera, data=f"_forgery={forgery(door, vera)}")
    assert answer.status == 403
    assert "operator" in answer.text
    assert ("person:vera", "NotAllowed") in audited(door, "CordonDevice")


def test_signing_out_ends_the_session(door):
    otto = signed_in(door, "otto")
    body = f"_forgery={forgery(door, otto)}"
    assert visit(door, "/", cookie=otto).status == 200
    assert visit(door, "/sign-out", cookie=otto, data=body).status == 303
    assert visit(door, "/", cookie=otto).status == 303
    assert ("person:otto", "done") in audited(door, "SignOut")


def test_whoever_is_removed_is_out_at_once(door):
    async def made():
        return (await door.overview.office.people.create("tom", 1, 3600.0, b"", "local:test")).bearer

    door.tokens["tom"] = door.run(made())
    tom = signed_in(door, "tom")
    assert visit(door, "/", cookie=tom).status == 200
    door.run(door.overview.office.people.remove("tom", "local:test"))
    assert visit(door, "/", cookie=tom).status == 303


def test_every_answer_tells_browsers_what_they_may_do(door):
    for path in ("/sign-in", "/nothing", "/static/no/such.js", "/live"):
        headers = visit(door, path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


def test_a_large_request_is_refused(door):
    assert visit(door, "/sign-in", data="token=" + "x" * 70_000).status == 413


def test_a_person_signs_in_with_a_browser(door, browser):
    browser.get(f"{door.address}/devices")
    one(browser, "input[name=token]").send_keys(door.tokens["otto"])
    one(browser, "main form button").click()
    until(browser, lambda: browser.current_url == f"{door.address}/devices")
    assert text(browser, ".person") == "otto"
    until(browser, lambda: text(browser, "#touch") == "live")
    one(browser, ".tools form button").click()
    until(browser, lambda: "/sign-in" in browser.current_url)
    assert complaints(browser) == []


def test_in_the_clear_another_name_that_points_here_is_refused(board):
    assert ask(f"{board.address}/", headers={"Host": "evil.example"}).status == 403
    assert ask(f"{board.address}/", headers={"Host": "evil.example:7402"}).status == 403
    port = board.address.rpartition(":")[2]
    assert ask(f"{board.address}/", headers={"Host": f"localhost:{port}"}).status == 200


def test_in_the_clear_another_site_can_change_nothing(board):
    headers = {"Origin": "http://evil.example", **FORM}
    assert ask(f"{board.address}/devices/box/cordon", data=b"why=x", headers=headers).status == 403
    headers["Origin"] = board.address
    assert ask(f"{board.address}/devices/box/cordon", data=b"why=x", headers=headers).status == 403


def test_what_an_operator_changes_is_done_and_noted(door):
    box = device("box-9")

    async def come():
        await door.overview.registry.join(
            box, AgentSession(box.id, "s-1", 0.0), control_pb2.GenerationStatus(active_generation=0)
        )

    door.run(come())
    otto = signed_in(door, "otto")
    body = f"_forgery={forgery(door, otto)}&why=dust"
    answer = visit(door, "/devices/box-9/cordon", cookie=otto, data=body)
    assert (answer.status, answer.headers["Location"]) == (303, "/devices/box-9")
    assert "dust" in visit(door, "/devices/box-9", cookie=otto).text
    entries = door.run(door.overview.office.log.entries(0, 1000))
    noted = [entry for entry, _ in entries if entry.action == "CordonDevice" and entry.outcome == "done"]
    assert [(entry.actor, entry.subject, entry.detail) for entry in noted] == [("person:otto", "box-9", "by dashboard")]

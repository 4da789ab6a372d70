"""A module passes only when its page is really there: what a proxy, a container or a tired database can fake."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import paramiko
import pytest

from implops.errors import HostError
from implops.site import Site
from implops.site.software import Expect, Module
from implops.verify import modules

PAGE = "<html><head><title>物料</title></head><body>{}</body></html>"
Reply = tuple[int, dict[str, str], bytes]


def html(body: str, status: int = 200, charset: str = "utf-8", declared: str | None = "utf-8") -> Reply:
    kind = "text/html" + (f"; charset={declared}" if declared else "")
    return status, {"Content-Type": kind}, PAGE.format(body).encode(charset)


class Forwarding:
    """A connection whose forwards end at a server on this machine; it answers with the script's replies in turn."""

    def __init__(self, site: Site, port: int) -> None:
        self.host, self.name, self.port = site.only("app"), site.only("app").name, port
        self.transport = self
        self.refuse: Exception | None = None

    def is_active(self) -> bool:
        return True

    def open_channel(self, kind: str, target: tuple[str, int], source: tuple[str, int], timeout: float) -> Any:
        import socket

        assert (kind, target) == ("direct-tcpip", (self.host.address, 80))
        if self.refuse:
            raise self.refuse
        return socket.create_connection(("127.0.0.1", self.port), timeout)


@dataclass
class Desk:
    site: Site
    connection: Forwarding
    replies: Iterator[Reply | Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=lambda: iter(()))
    seen: list[str] = field(default_factory=list)

    def ask(self, *replies: Any, expect: dict[str, Any] | None = None, **options: float) -> modules.Answer:
        """The replies in turn, the last one for ever."""
        self.replies = itertools.chain(replies, itertools.repeat(replies[-1])) if replies else iter(())
        module = Module(id="materials", name="物料", url="/his/materials.jsp", expect=expect or {"text": "物料清单"})
        given = {"deadline": 0.3, "interval": 0.01, "stable_for": 0.0, **options}
        return modules.ask(self.site, self.connection, module, **given)  # type: ignore[arg-type]


@pytest.fixture
def desk(site: Site) -> Iterator[Desk]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.seen.append(f"{self.headers['Host']}{self.path}")
            reply = next(made.replies)
            if callable(reply):
                reply(self)
                return
            status, headers, body = reply
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    made = Desk(site, Forwarding(site, server.server_address[1]))
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def code(answer: modules.Answer) -> str:
    return str(answer.error["key"]).rpartition(".")[2] if answer.error else answer.state


def test_a_module_that_shows_its_page_passes_under_the_name_users_type(desk: Desk) -> None:
    answer = desk.ask(html("物料清单 12 种"))
    assert (answer.state, answer.status, answer.bad, answer.error) == ("pass", 200, 0, None)
    assert answer.url == "http://his.his.example/his/materials.jsp"
    assert desk.seen == ["his.his.example/his/materials.jsp"]


GARBLED = html("物料清单", charset="utf-8", declared="gb18030")
WRONG: list[tuple[str, Any, dict[str, Any] | None]] = [
    ("text", html("系统繁忙,请稍后再试"), None),
    ("text", html("<!-- 物料清单 --><p>出错了</p>"), None),
    ("text", html("<script>title='物料清单'</script>出错了"), None),
    ("status", html("物料清单", status=500), None),
    ("status", html("物料清单", status=404), None),
    ("redirect", (302, {"Location": "/his/login.jsp"}, "物料清单".encode()), None),
    ("charset", GARBLED, {"text": "物料清单"}),
    ("charset", html("物料清单", declared="iso-8859-1"), None),
    ("charset", html("物料清单", charset="gb18030", declared="iso-8859-1"), None),
    ("charset", html("物料清单", charset="gb18030", declared="utf-8"), None),
    ("charset_wrong", (200, {}, b"<p>\xff\xfe\x00</p>"), None),
    ("charset_unknown", html("物料清单", declared="x-klingon"), None),
    ("no_json", html("物料清单"), {"json": {"status": "UP"}}),
    ("json", (200, {}, b'{"status": "DOWN"}'), {"json": {"status": "UP"}}),
    ("json", (200, {}, b'{"ok": 1}'), {"json": {"ok": True}}),
    ("json", (200, {}, b"[]"), {"json": {"db.ok": True}}),
    ("slow", lambda handler: (time.sleep(0.06), plain(handler)), {"text": "物料清单", "time": "50 ms"}),
    ("closed", lambda handler: handler.connection.shutdown(2), None),
    ("no_http", lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n") and None, None),
    ("broken", lambda handler: half(handler), None),
]  # fmt: skip


def plain(handler: BaseHTTPRequestHandler) -> None:
    body = html("物料清单")[2]
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    handler.close_connection = True


def half(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + html("物料清单")[2])
    handler.close_connection = True


@pytest.mark.parametrize(("fault", "reply", "expect"), WRONG, ids=[f"{n}-{one[0]}" for n, one in enumerate(WRONG)])
def test_a_page_that_is_not_the_module_fails_and_says_why(
    desk: Desk, fault: str, reply: Any, expect: dict[str, Any] | None
) -> None:
    answer = desk.ask(reply, expect=dict(expect) if expect else None)
    assert (answer.state, code(answer)) == ("fail", fault)
    assert modules.reason(answer.payload())


@pytest.mark.parametrize("declared", ["gb2312", "GBK", "gb18030"])
def test_chinese_pages_are_read_as_a_browser_reads_them(desk: Desk, declared: str) -> None:
    assert desk.ask(html("物料清单 㙍", charset="gb18030", declared=declared)).state == "pass"


def test_the_page_may_name_its_charset_itself_and_write_entities(desk: Desk) -> None:
    body = '<meta charset="gbk"><p>&#29289;&#26009;清单</p>'.encode("gbk")
    assert desk.ask((200, {"Content-Type": "text/html"}, body)).state == "pass"


def test_json_holds_with_nested_names(desk: Desk) -> None:
    good = (200, {"Content-Type": "application/json"}, b'{"status": "UP", "db": {"ok": true, "rows": 3}}')
    assert desk.ask(good, expect={"json": {"status": "UP", "db.ok": True, "db.rows": 3}}).state == "pass"


def test_a_module_that_is_still_starting_is_waited_for(desk: Desk) -> None:
    bad = html("starting", status=503)
    answer = desk.ask(bad, bad, bad, html("物料清单"), deadline=5, stable_for=0.05)
    assert (answer.state, answer.bad, answer.flaps, answer.error) == ("pass", 3, 0, None)


def test_a_module_that_starts_and_dies_fails(desk: Desk) -> None:
    answer = desk.ask(html("物料清单"), html("物料清单"), html("gone", status=502), deadline=0.2, stable_for=0.1)
    assert (answer.state, answer.flaps, code(answer)) == ("fail", 1, "status")


def test_a_module_that_flaps_never_passes(desk: Desk) -> None:
    replies = [html("物料清单"), html("down", status=502)] * 200
    answer = desk.ask(*replies, deadline=0.4, stable_for=0.2)
    assert answer.state == "fail" and answer.flaps > 2
    assert "时好时坏" in modules.reason(answer.payload())


def test_questions_do_not_come_in_step(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two modules that are asked in step would each meet the same one of two servers that take turns.
    pauses: list[float] = []
    monkeypatch.setattr(modules.time, "sleep", lambda seconds: pauses.append(seconds))
    desk.ask(html("登录"), deadline=0.2, interval=1.0)
    assert len(set(pauses)) > len(pauses) / 2 > 2
    assert all(0.6 <= one <= 1.4 for one in pauses)


def test_a_hiccup_that_heals_is_told(desk: Desk) -> None:
    answer = desk.ask(html("物料清单"), html("down", status=502), html("物料清单"), deadline=5, stable_for=0.05)
    assert (answer.state, answer.flaps) == ("warn", 1)
    assert "502" in modules.reason(answer.payload())


def test_a_silent_module_does_not_hold_us_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "ANSWER_SECONDS", 0.2)
    began = time.monotonic()
    answer = desk.ask(lambda handler: time.sleep(0.5), deadline=0.1)
    assert (answer.state, code(answer)) == ("fail", "timeout")
    assert time.monotonic() - began < 2


def test_a_page_that_drips_is_cut_off(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "ANSWER_SECONDS", 0.2)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(30):
            handler.wfile.write(b"x")
            time.sleep(0.02)
        handler.close_connection = True

    assert code(desk.ask(drip, deadline=0.1)) == "timeout"


def test_nothing_listens(desk: Desk) -> None:
    desk.connection.refuse = paramiko.ChannelException(2, "Connect failed")
    answer = desk.ask(deadline=0.05)
    assert (answer.state, code(answer), answer.status) == ("fail", "no_connection", None)


def test_a_server_that_forbids_forwarding_is_not_the_modules_fault(desk: Desk) -> None:
    desk.connection.refuse = paramiko.ChannelException(1, "Administratively prohibited")
    with pytest.raises(HostError) as caught:
        desk.ask()
    assert caught.value.key == "verify.no_forwarding" and caught.value.code == 3


def test_expectations_come_from_the_site_file() -> None:
    expect = Expect.model_validate({"json": {"a.b": True}, "time": "1.5 s"})
    assert (expect.status, expect.json_, expect.time) == (200, {"a.b": True}, 1500)


def test_the_release_that_has_to_answer_is_the_one_that_is_expected(site: Site) -> None:
    assert site.system
    about = {"status": 200, "text": "HIS {{ version }} {{ other }}", "json": {"v": "{{version}}", "n": 1}}
    mine = Module.model_validate({"id": "about", "name": "关于", "url": "/", "expect": about})
    new = site.model_copy(
        update={"system": site.system.model_copy(update={"modules": [*site.system.modules, mine], "version": r"2.0\1"})}
    )
    host = site.only("app")
    expect = modules.modules_of(new, host)[-1].expect
    assert (expect.text, expect.json_) == (r"HIS 2.0\1 {{ other }}", {"v": r"2.0\1", "n": 1})
    # A release before it has to answer as itself, and has not every module.
    older = modules.Older("1.9", frozenset({"about", "login"}))
    assert [one.id for one in modules.modules_of(new, host, older)] == ["login", "about"]
    assert modules.modules_of(new, host, older)[-1].expect.text == "HIS 1.9 {{ other }}"

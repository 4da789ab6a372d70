"""Ask a module of the business system whether it works: most often an HTTP request to the address that users type.

The request leaves from the application host itself, through our SSH connection, to the host's own address and the
proxy's port: so it takes no network path that the laptop may not have, and passes proxy, application and database as a
user's does. Whether users' networks reach that address is a flow, which ``check`` judges.

An answer holds only when all that the site file expects holds, and goes on holding: a 200 page without the text, a
page whose declared charset garbles it, a redirect to somewhere else, half a page and a service that flaps are failures.
"""

from __future__ import annotations

import contextlib
import html
import http.client
import io
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import paramiko

from implops import certificates, texts
from implops.errors import HostError
from implops.remote import Connection, ConnectionLost
from implops.site import Host, Site
from implops.site.software import Module
from implops.verify.kinds import ask as ask_kind
from implops.verify.kinds import fault as _fault
from implops.verify.kinds import subject
from implops.verify.tls import TlsChannel

# What a module may take to answer when the site file says nothing: a browser's user has given up long before.
ANSWER_SECONDS = 10.0
# Of the interval, at least and at most; about the interval in the mean.
_OUT_OF_STEP = (0.6, 1.4)
_BODY_LIMIT = 4 * 2**20
_KEPT = 4096
# What browsers do (WHATWG Encoding): these names stand for their supersets.
_CHARSETS = {"gb2312": "gb18030", "gbk": "gb18030", "us-ascii": "latin-1"}
_VERSION = re.compile(r"\{\{ *version *\}\}")
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What a module answered. ``state``: pass; warn (it holds now, but failed in between); fail.

    ``error`` is the last fault as ``{key, params}``, None when there was none. ``ms`` is the time of the last request,
    ``slowest_ms`` of the slowest that was answered. ``asked`` requests were made and ``bad`` of them failed; ``flaps``
    counts how often a good module turned bad. ``body`` is the beginning of the last page, for evidence.
    """

    module: str
    host: str
    url: str
    state: Literal["pass", "warn", "fail"]
    status: int | None
    ms: int
    slowest_ms: int
    asked: int
    bad: int
    flaps: int
    error: dict[str, Any] | None
    body: bytes
    kind: str = "url"

    def payload(self) -> dict[str, Any]:
        """The answer for a record: no bytes, no floats. ``reason`` says it in words."""
        kept = asdict(self)
        del kept["body"]
        return kept


@dataclass(frozen=True)
class _Reply:
    ms: int
    status: int | None = None
    error: dict[str, Any] | None = None
    body: bytes = b""
    # The same for as long as it is the same start of a service.
    start: str = ""


@dataclass(frozen=True)
class Older:
    """A release before the site file's that has to answer: its version, and the modules (ids) that it had."""

    version: str
    modules: frozenset[str]


def modules_of(site: Site, host: Host, older: Older | None = None) -> list[Module]:
    """The modules that are asked on this host, in the order of the site file. ``{{ version }}`` in what they expect is
    that of the release that has to answer: the site file's, or an ``older`` one, which has not every module.
    """
    if site.system is None:
        return []
    here = [one for one in site.system.modules if one.asked_role in host.roles]
    if older is None:
        return [_expecting(one, site.system.version) for one in here]
    return [_expecting(one, older.version) for one in here if one.id in older.modules]


def _expecting(module: Module, version: str) -> Module:
    def filled(value: Any) -> Any:
        return _VERSION.sub(lambda _: version, value) if isinstance(value, str) else value

    expect = module.expect
    json_ = {path: filled(value) for path, value in expect.json_.items()}
    return module.model_copy(update={"expect": expect.model_copy(update={"text": filled(expect.text), "json_": json_})})


def base_url(site: Site, host: Host) -> str:
    """``http://his.his.example``: what users type to reach this application host (its name, else its address)."""
    names = [name for name, target in site.dns.names.items() if target == host.name] if site.dns else []
    place = f"{names[0]}.{site.dns.zone}" if names and site.dns else host.address
    if site.web and site.web.tls:
        return f"https://{place}" + ("" if site.web.tls_port == 443 else f":{site.web.tls_port}")
    port = _port(site)
    return f"http://{place}" + ("" if port == 80 else f":{port}")


def _port(site: Site) -> int:
    """Of the proxy; of the system itself where the site has none."""
    if site.web is None:
        return site.backend_port
    return site.web.tls_port if site.web.tls else site.web.port


def ask(
    site: Site,
    connection: Connection,
    module: Module,
    *,
    deadline: float = 60.0,
    interval: float = 0.5,
    stable_for: float = 2.0,
) -> Answer:
    """Ask until the module has answered rightly for ``stable_for`` seconds on end, every ``interval`` seconds.

    The good time must begin within ``deadline`` seconds. A wrong answer is an Answer with state fail. Raises HostError
    when the question could not be put: the connection is lost, or its server forbids forwarding.
    """
    where = base_url(site, connection.host) + module.url if module.url else subject(module, connection.host.address)
    given = module.model_fields_set
    return _watch(
        lambda: _once(site, connection, module),
        Answer(module.id, connection.name, where, "fail", None, 0, 0, 0, 0, 0, None, b"", module.kind),
        deadline=module.deadline if module.deadline is not None else deadline,
        interval=module.interval if "interval" in given else interval,
        stable_for=module.stable_for if "stable_for" in given else stable_for,
    )


def ask_all(
    site: Site, connection: Connection, modules: Iterable[Module], *, deadline: float, interval: float = 0.5,
    stable_for: float = 2.0,
) -> list[Answer]:  # fmt: skip
    """``ask`` every module at the same time; the answers in the given order. Raises as ``ask`` does."""
    wanted = list(modules)

    def one(module: Module) -> Answer:
        return ask(site, connection, module, deadline=deadline, interval=interval, stable_for=stable_for)

    # sshd takes 10 channels of a connection at a time by default (MaxSessions counts sessions; forwards are cheap).
    with ThreadPoolExecutor(max_workers=max(1, min(8, len(wanted)))) as pool:
        return list(pool.map(one, wanted))


def reason(payload: dict[str, Any], language: str | None = None) -> str:
    """What an ``Answer.payload()`` says, in words: ``HTTP 200`` or the fault, and whether it came and went."""
    error = payload["error"]
    said = texts.say("verify.holds", lang=language) if payload["status"] is None else f"HTTP {payload['status']}"
    if error:
        said = texts.say(error["key"], lang=language, **error["params"])
    if payload["flaps"]:
        counts = {"asked": payload["asked"], "bad": payload["bad"]}
        return texts.say("verify.flapping", lang=language, said=said, **counts)
    return said


def _watch(
    put: Callable[[], _Reply], blank: Answer, *, deadline: float, interval: float, stable_for: float
) -> Answer:  # fmt: skip
    """Put the question again and again until it has held for long enough, or cannot any more.

    Not in step with the others that are asked at the same time: of servers that take turns each would always meet the
    same one.
    """
    began = time.monotonic()
    asked = bad = flaps = slowest = 0
    good_since: float | None = None
    start = ""
    last_error: dict[str, Any] | None = None
    while True:
        sent = time.monotonic()
        reply = put()
        asked += 1
        slowest = max(slowest, reply.ms if reply.status is not None or blank.kind != "url" else 0)
        held = False
        if good_since is not None and reply.error is None and reply.start != start:
            reply = replace(reply, error=_fault("restarted"))
        start = reply.start
        if reply.error is None:
            if good_since is None and sent - began > deadline:
                break
            good_since = sent if good_since is None else good_since
            held = sent - good_since >= stable_for
        else:
            bad, last_error = bad + 1, reply.error
            flaps += good_since is not None
            good_since = None
        if held or (good_since is None and time.monotonic() - began >= deadline):
            break
        time.sleep(interval * random.uniform(*_OUT_OF_STEP))  # noqa: S311 - no secret
    state: Literal["pass", "warn", "fail"] = "fail" if not held else "warn" if flaps else "pass"
    return Answer(blank.module, blank.host, blank.url, state, reply.status, reply.ms, slowest, asked, bad, flaps,
                  None if state == "pass" else last_error, reply.body[:_KEPT], blank.kind)  # fmt: skip


def _once(site: Site, connection: Connection, module: Module) -> _Reply:
    if module.kind != "url":
        began = time.monotonic()
        told = ask_kind(site, connection, module)
        return _Reply(_ms(began), start=told) if isinstance(told, str) else _Reply(_ms(began), error=told)
    limit = max(ANSWER_SECONDS, (module.expect.time or 0) / 1000 * 2)
    began = time.monotonic()
    try:
        raw = _exchange(site, connection, module, began + limit)
    except _Silent as silent:
        return _Reply(_ms(began), error=_fault(silent.code, **silent.params))
    took = _ms(began)
    try:
        response = http.client.HTTPResponse(_Bytes(raw))  # type: ignore[arg-type]
        response.begin()
    except (http.client.HTTPException, ValueError):
        return _Reply(took, error=_fault("no_http"), body=raw)
    try:
        body = response.read()
    except (http.client.HTTPException, ValueError):
        return _Reply(took, response.status, _fault("broken", bytes=len(raw)), raw)
    return _Reply(took, response.status, _judge(module, response, body, took), body)


def _judge(module: Module, response: http.client.HTTPResponse, body: bytes, ms: int) -> dict[str, Any] | None:
    """The first expectation that does not hold, or None."""
    expect = module.expect
    if response.status != expect.status:
        if 300 <= response.status < 400:
            place = response.getheader("Location", "-")[:200]
            return _fault("redirect", status=response.status, location=place)
        return _fault("status", status=response.status, expected=expect.status)
    if expect.text is not None and (fault := _text_fault(expect.text, response, body)):
        return fault
    if expect.json_ and (fault := _json_fault(expect.json_, body)):
        return fault
    if expect.time is not None and ms > expect.time:
        return _fault("slow", ms=ms, expected=expect.time)
    return None


def _text_fault(wanted: str, response: http.client.HTTPResponse, body: bytes) -> dict[str, Any] | None:
    charset = response.headers.get_content_charset() or _meta_charset(body) or "utf-8"
    undecodable: int | None = None
    try:
        if _contains(body.decode(_CHARSETS.get(charset, charset)), wanted):
            return None
    except LookupError:
        return _fault("charset_unknown", charset=charset[:40])
    except UnicodeDecodeError as error:
        undecodable = error.start
    for other in ("utf-8", "gb18030"):
        # The text is there, but a browser that believes the declaration shows something else.
        with contextlib.suppress(UnicodeDecodeError):
            if _contains(body.decode(other), wanted):
                return _fault("charset", charset=charset, real=other)
    if undecodable is not None:
        return _fault("charset_wrong", charset=charset, offset=undecodable)
    return _fault("text", text=wanted)


def _meta_charset(body: bytes) -> str | None:
    found = _META.search(body[:1024])
    return found[1].decode("ascii").lower() if found else None


def _contains(page: str, wanted: str) -> bool:
    # Comments and scripts are not shown to anybody: a text that stands only there proves nothing.
    shown = re.sub(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", "", page, flags=re.DOTALL | re.IGNORECASE)
    return wanted in html.unescape(shown)


def _json_fault(wanted: dict[str, Any], body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return _fault("no_json")
    for path, expected in wanted.items():
        found = document
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        # True is not 1 and "1" is not 1.
        if type(found) is not type(expected) or found != expected:
            shown = json.dumps(found, ensure_ascii=False)[:80]
            return _fault("json", path=path, found=shown, expected=json.dumps(expected, ensure_ascii=False))
    return None


class _Silent(Exception):
    """No answer: connection refused, timed out, or closed without a word."""

    def __init__(self, code: str, **params: Any) -> None:
        self.code, self.params = code, params


class _Bytes:
    """What http.client wants of a socket."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def makefile(self, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self.raw)


def _exchange(site: Site, connection: Connection, module: Module, end: float) -> bytes:
    """One request and everything that came back before the server closed. Raises _Silent, HostError."""
    host, port = connection.host, _port(site)
    place = base_url(site, host).partition("://")[2]
    # This host's own server shall answer, also where the proxy shares requests out (deploy_recipes/nginx.py).
    own = "X-Implops-Own: 1\r\n" if site.web else ""
    request = (
        f"GET {module.url} HTTP/1.1\r\nHost: {place}\r\n{own}"
        "User-Agent: implops-verify\r\nAccept: */*\r\nAccept-Language: zh-CN\r\nAccept-Encoding: identity\r\n"
        "Connection: close\r\n\r\n"
    )
    seconds = max(0.1, end - time.monotonic())
    try:
        channel = connection.transport.open_channel(
            "direct-tcpip", (host.address, port), ("127.0.0.1", 0), timeout=seconds
        )
    except paramiko.ChannelException as error:
        if error.code == 1:
            raise HostError("verify.no_forwarding", host=connection.name) from None
        raise _Silent("no_connection", address=host.address, port=port) from None
    except (paramiko.SSHException, EOFError, OSError):
        _ = connection.transport  # raises ConnectionLost when that is why
        raise _Silent("timeout", seconds=round(seconds)) from None
    with contextlib.closing(channel):
        try:
            channel.settimeout(seconds)
            line: paramiko.Channel | TlsChannel = channel
            if site.web and site.web.tls:
                line = TlsChannel(channel, place.partition(":")[0])
                if line.leaf != certificates.of(site).leaf:
                    raise _Silent("other_certificate")
            line.sendall(request.encode("ascii"))
            raw = _receive(line, end)
        except TimeoutError:
            raise _Silent("timeout", seconds=round(seconds)) from None
        except ssl.SSLError as error:
            raise _Silent("no_tls", why=error.reason or "-") from None
        except OSError:
            raise _Silent("closed") from None
    if not raw:
        if not connection.transport.is_active():
            raise ConnectionLost("remote.lost", host=connection.name)
        raise _Silent("closed")
    return raw


def _receive(channel: paramiko.Channel | TlsChannel, end: float) -> bytes:
    blocks: list[bytes] = []
    size = 0
    while size <= _BODY_LIMIT:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        channel.settimeout(left)
        block = channel.recv(65536)
        if not block:
            break
        blocks.append(block)
        size += len(block)
    return b"".join(blocks)


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)

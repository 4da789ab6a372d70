"""Two application hosts take turns: users notice nothing, and a bad release never reaches the second one."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator

import pytest
from power import environment, implops, ssh
from releases import fresh, last, prepare, write

from implops.deploy import drain
from implops.remote import connect
from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]
HOME = "/opt/implops/releases/his"
# Somebody prints a long report, or books something: it takes seconds, and must not be done twice.
SLOW = """<%@ page contentType="text/html;charset=UTF-8" %><% Thread.sleep(2500); %>
<%= request.getMethod() %> by <%= java.net.InetAddress.getLocalHost().getHostName() %>
"""


def two(text: str) -> str:
    """A second application host in the annotated site."""
    marker = "  dns1: {address: "
    network = text.split(marker)[1].split(",")[0].rpartition(".")[0]
    return text.replace(marker, f"  app2: {{address: {network}.15, roles: [app], owner: 信息科}}\n{marker}", 1)


def add_slow_page(site: Site) -> None:
    with zipfile.ZipFile(site.base / "release" / "his-1.0.0.war", "a") as war:
        war.writestr(zipfile.ZipInfo("slow.jsp", (2026, 1, 1, 0, 0, 0)), SLOW)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from fresh(tmp_path_factory.mktemp("roll"), two, add_slow_page)


class Client(threading.Thread):
    """A user at an address of his own (the front stays with one server for each) who asks for pages all the time."""

    def __init__(self, front: str, own: str, method: str, path: str, word: str) -> None:
        super().__init__(daemon=True)
        self.front, self.own, self.asked, self.word = front, own, (method, path), word
        self.said: list[str] = []
        self.bad: list[str] = []
        self.stop = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                connection = http.client.HTTPConnection(self.front, timeout=60, source_address=(self.own, 0))
                with contextlib.closing(connection):
                    connection.request(*self.asked, headers={"Connection": "close"})
                    answer = connection.getresponse()
                    body = answer.read().decode("utf-8")
                if answer.status == 200 and self.word in body:
                    self.said.append(body)
                else:
                    self.bad.append(f"{answer.status} {body[:80]}")
            except (OSError, http.client.HTTPException) as error:
                self.bad.append(repr(error))
            time.sleep(0.05)


@contextlib.contextmanager
def users(site: Site) -> Iterator[list[Client]]:
    """Six users at the front, each reading pages and sending a form; one who has the other host's address."""
    app1, app2 = (site.hosts[name].address for name in ("app1", "app2"))
    owns = [f"{app1.rpartition('.')[0]}.{201 + number}" for number in range(6)]
    for own in owns:
        subprocess.run(["ip", "address", "add", f"{own}/32", "dev", "lo"], check=True)
    clients: list[Client] = []
    try:
        for number, own in enumerate(owns):
            front = app2 if number == 5 else app1
            clients.append(Client(front, own, "GET", "/his/login.jsp", "登录"))
            clients.append(Client(front, own, "POST", "/his/slow.jsp", "POST by app"))
        yield clients
    finally:
        for one in clients:
            one.stop.set()
        for one in clients:
            one.join(70)
        for own in owns:
            subprocess.run(["ip", "address", "delete", f"{own}/32", "dev", "lo"], check=True)
    assert [one.bad for one in clients if one.bad] == []
    assert all(len(one.said) > 3 for one in clients)
    # Both servers were at work for them.
    assert {body.split()[-1] for one in clients if one.word.startswith("POST") for body in one.said} == {"app1", "app2"}


def current(site: Site, host: str) -> str:
    return ssh(site, host, f"readlink {HOME}/current").stdout.strip()


def away(site: Site) -> str:
    """What the fronts say about who gets no requests."""
    return "".join(
        ssh(site, name, "grep ' down;' /etc/nginx/implops-upstream.conf").stdout for name in ("app1", "app2")
    )


def test_1_an_upgrade_without_a_failed_request(site: Site) -> None:
    site = write(site, "1.0.1", mark="新版")
    prepare(site)
    with users(site):
        done = implops("deploy", site.path, "--yes", timeout=600)
    assert "app1 → app2" in done.stderr
    assert current(site, "app1") == current(site, "app2")
    assert current(site, "app1").startswith("1.0.1-")
    # The second host's turn began when every module of the first had answered.
    store = Store.of(site.state)
    run = store.events(kind="deploy.finished")[-1].run
    begun = next(one.sequence for one in store.events(run=run, kind="step.started")
                 if one.payload["step"] == "app_war@app2")  # fmt: skip
    first = [one for one in store.events(run=run, kind="module.finished") if one.payload["host"] == "app1"][:4]
    assert len(first) == 4
    assert all(one.payload["state"] == "pass" and one.sequence < begun for one in first)
    # The fronts were not touched by anything else while somebody was away from them.
    fronts = [one.sequence for one in store.events(run=run, kind="step.finished")
              if one.payload["recipe"] == "nginx"]  # fmt: skip
    assert len(fronts) == 2
    assert max(fronts) < store.events(run=run, kind="host.away")[0].sequence
    # Each was left by its users before anything of it was touched, and has them again.
    gone = store.events(run=run, kind="host.away")
    assert [(one.payload["host"], one.payload["left"]) for one in gone] == [("app1", 0), ("app2", 0)]
    assert [one.payload["host"] for one in store.events(run=run, kind="host.back")] == ["app1", "app2"]
    assert away(site) == ""


def test_2_a_run_that_changes_nothing_leads_nobody_away(site: Site) -> None:
    with users(site):
        implops("deploy", site.path, "--yes", timeout=600)
        time.sleep(15)  # every user has asked more than three times
    finished = last(site, "deploy.finished")
    assert (finished["conclusion"], finished["changed"]) == ("pass", 0)
    store = Store.of(site.state)
    run = store.events(kind="deploy.finished")[-1].run
    assert store.events(run=run, kind="host.away") == []
    assert len([one for one in store.events(run=run, kind="module.finished") if one.payload["state"] == "pass"]) >= 8


def test_3_a_bad_canary_stays_alone_and_goes_back(site: Site) -> None:
    before = current(site, "app2")
    site = write(site, "1.0.2", broken="materials.jsp")
    prepare(site)
    with users(site):
        done = implops("deploy", site.path, "--yes", code=1, timeout=600)
    assert "没有继续更新其余主机" in done.stderr
    assert "app1:没有恢复正常,各入口暂不分给请求" in done.stderr
    assert current(site, "app1") == current(site, "app2") == before
    assert "1.0.2" not in ssh(site, "app2", f"ls {HOME}").stdout
    assert last(site, "rollback.finished")["switched"] == ["app1"]
    assert away(site) == ""


def test_4_killed_while_a_host_is_away_the_others_serve_and_the_next_run_brings_it_back(site: Site) -> None:
    site = write(site, "1.0.3", mark="再新")
    prepare(site)
    command = [sys.executable, "-m", "implops.cli.main", "deploy", str(site.path), "--yes"]
    with users(site):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=environment())  # fmt: skip
        end = time.monotonic() + 200
        seen = len(Store.of(site.state).events(kind="host.away"))
        while len(Store.of(site.state).events(kind="host.away")) == seen:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        address = site.hosts["app1"].address
        assert away(site).count(f"server {address}:") == 2
        implops("deploy", site.path, "--yes", "--resume", "last", timeout=600)
    assert away(site) == ""
    assert current(site, "app1") == current(site, "app2")
    assert current(site, "app1").startswith("1.0.3-")
    implops("deploy", site.path, "--drift", timeout=300)


def test_5_back_by_hand_without_a_failed_request(site: Site) -> None:
    with users(site):
        implops("rollback", site.path, "--yes", timeout=600)
    assert current(site, "app1") == current(site, "app2")
    assert current(site, "app1").startswith("1.0.1-")
    assert away(site) == ""


def test_6_who_stays_away_is_mended_first_and_not_sent_users_before(site: Site) -> None:
    site = write(site, "1.0.4", mark="四")
    prepare(site)
    # As an earlier run leaves a host that it could not make good.
    hosts = site.with_role("app")
    with contextlib.ExitStack() as stack:
        open_ = {one.name: stack.enter_context(connect(site, one)) for one in hosts}
        drain.apart(site, open_, {"app2"})
        assert drain.away(site, open_) == {"app2"}
    ssh(site, "app2", "sudo -n systemctl stop tomcat10")
    address = site.hosts["app2"].address
    assert away(site).count(f"server {address}:") == 2
    # The fronts' own recipe leaves it there: a proxy that is set up anew is not what makes a host good.
    ssh(site, "app1", "sudo -n sed -i 's/fail_timeout=5s/fail_timeout=6s/' /etc/nginx/implops-upstream.conf")
    with users(site):
        done = implops("deploy", site.path, "--yes", timeout=600)
        assert "app2 → app1" in done.stderr
        time.sleep(5)
    store = Store.of(site.state)
    run = store.events(kind="deploy.finished")[-1].run
    assert [one.payload["host"] for one in store.events(run=run, kind="host.away")] == ["app1"]
    assert [one.payload["host"] for one in store.events(run=run, kind="host.back")] == ["app2", "app1"]
    written = [one for one in store.events(run=run, kind="step.finished") if one.payload["step"] == "nginx@app1"]
    assert written[0].payload["changed"] > 0
    assert away(site) == ""
    assert "fail_timeout=5s" in ssh(site, "app1", "grep fail_timeout /etc/nginx/implops-upstream.conf").stdout

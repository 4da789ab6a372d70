"""Two application hosts take turns: users notice nothing, and a bad release never reaches the second one."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from power import implops, ssh
from releases import fresh, last, prepare, write

from implops.site import Site
from implops.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.full]
HOME = "/opt/implops/releases/his"


def two(text: str) -> str:
    """A second application host in the annotated site."""
    marker = "  dns1: {address: "
    network = text.split(marker)[1].split(",")[0].rpartition(".")[0]
    return text.replace(marker, f"  app2: {{address: {network}.15, roles: [app], owner: 信息科}}\n{marker}", 1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from fresh(tmp_path_factory.mktemp("roll"), two)


class Client(threading.Thread):
    """A user who asks for a page all the time, by the address that users type."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.good, self.bad, self.stop = url, 0, [], threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with urllib.request.urlopen(self.url, timeout=60) as answer:  # noqa: S310
                    body = answer.read().decode("utf-8")
                    if answer.status == 200 and "登录" in body:
                        self.good += 1
                    else:
                        self.bad.append(f"{answer.status} {body[:80]}")
            except OSError as error:
                self.bad.append(repr(error))
            time.sleep(0.03)

    def end(self) -> None:
        self.stop.set()
        self.join(70)
        assert self.bad == []
        assert self.good > 50


def current(site: Site, host: str) -> str:
    return ssh(site, host, f"readlink {HOME}/current").stdout.strip()


def test_1_an_upgrade_without_a_failed_request(site: Site) -> None:
    site = write(site, "1.0.1", mark="新版")
    prepare(site)
    client = Client(f"http://{site.hosts['app1'].address}/his/login.jsp")
    done = implops("deploy", site.path, "--yes", timeout=600)
    client.end()
    assert "app1 → app2" in done.stderr
    assert current(site, "app1") == current(site, "app2")
    assert current(site, "app1").startswith("1.0.1-")
    # The second host's turn began when every module of the first had answered.
    events = Store.of(site.state).events(run=Store.of(site.state).events(kind="deploy.finished")[-1].run)
    begun = next(one.sequence for one in events if one.kind == "step.started" and one.payload["step"] == "app_war@app2")
    first = [one for one in events if one.kind == "module.finished" and one.payload["host"] == "app1"][:4]
    assert len(first) == 4
    assert all(one.payload["state"] == "pass" and one.sequence < begun for one in first)


def test_2_a_bad_canary_stays_alone_and_goes_back(site: Site) -> None:
    before = current(site, "app2")
    site = write(site, "1.0.2", broken="materials.jsp")
    prepare(site)
    client = Client(f"http://{site.hosts['app1'].address}/his/login.jsp")
    done = implops("deploy", site.path, "--yes", code=1, timeout=600)
    client.end()
    assert "没有继续更新其余主机" in done.stderr
    assert current(site, "app1") == current(site, "app2") == before
    assert "1.0.2" not in ssh(site, "app2", f"ls {HOME}").stdout
    assert last(site, "rollback.finished")["switched"] == ["app1"]

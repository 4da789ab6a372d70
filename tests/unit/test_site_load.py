"""A fault in the site file is refused with its file and line, and the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest

from implops.errors import SiteError
from implops.site import load

# what stands in the example, what a user wrote instead, the message, a word that the message must say.
# «» marks the text whose line the message must name.
FAULTS = [
    ("  customer: 某某医院", "  «custmer: 某某医院»", "site.unknown", "customer?"),
    ("  contract: HT-2026-018\n", "  «contract: HT-2026-018\n  contract: HT»\n", "site.duplicate", "contract"),
    ("memory: {need: 2 GB, want: 4 GB}", "«memory: {need: 2, want: 4 GB}»", "site.form.size", "16 GB"),
    ("memory: {need: 2 GB, want: 4 GB}", "«memory: {need: 2 Gb}»", "site.form.size", "2 Gb"),
    ("memory: {need: 2 GB, want: 4 GB}", "«memory: {need: 8 GB, want: 4 GB}»", "site.want_below_need", "want"),
    ("  db1:  {address: 10.77.1.11", "  «db1:»  {address: 10.77.1.911", "site.form.address", "10.77.1.911"),
    ("  app1: {address: 10.77.1.12", "  «app1:» {address: 10.77.1.11", "site.same_address", "db1"),
    ("roles: [dns], owner", "«roles: [dsn], owner»", "site.literal", "dns?"),
    ("  port: 22\n", "  «port: 70000»\n", "site.form.port", "1-65535"),
    ("  port: 22\n", "  «port: '22'»\n", "site.form.port", "22"),
    ("environment: test ", "«environment: prod» ", "site.literal", "production"),
    ("password: file:secrets/restic", "«password: hunter2-plain»", "site.form.secret", "file:PATH"),
    ('  - "app -> storage: 22/tcp"', '  - «"app => storage: 22"»', "site.flow", "app => storage"),
    ('  - "app -> storage: 22/tcp"', '  - «"ap -> storage: 22"»', "site.flow_end", "app?"),
    ("names: {his: app1}", "«names: {his: app2}»", "site.no_such_host", "app1?"),
    ("names: {his: app1}", "«names: {db1: app1}»", "site.name_taken", "db1"),
    ("  zone: Asia/Shanghai\n", "", "site.missing", "zone"),
    ("  data: /data/pg", "  «data: data/pg»", "site.form.path", "/data/pg"),
    ("  data: /data/pg", "  «data: '/data/pg; rm -rf /'»", "site.form.path", "rm -rf"),
    ("  data: /data/pg", "  «data: /data/../etc/pg»", "site.form.path", "/data/../etc/pg"),
    ("  owner: his_owner ", "  «owner: his-owner» ", "site.form.sql_name", "his-owner"),
    ("  owner: his_owner ", "  owner: his_app ", "site.same_role", ""),
    ("repository: {host: sto1", "«repository: {host: db1»", "site.not_storage", "db1"),
    ("url: /his/login.jsp", "«url: /his/login.jsp#$(id)»", "site.form.url", "$(id)"),
    ("{id: materials, ", "«{id: login, »", "site.same_module", "login"),
    ("every: daily 02:00", "«every: daily 25:00»", "site.type", "daily 25:00"),
    ("# vips: [10.77.1.100]", "«vips: [10.77.1.11]»", "site.same_address", "db1"),
    ("# vips: [10.77.1.100]", "«vips: [10.77.1.x]»", "site.form.address", "10.77.1.x"),
    ("# extensions: [pg_trgm]", "  «extensions: [pg-trgm]»", "site.form.sql_name", "pg-trgm"),
    ("  engine: postgresql\n  major: 15\n  name: his\n  data: /data/pg\n  encoding: UTF8",
     "  engine: mariadb\n  «extensions: [pg_trgm]»\n  major: 10\n  name: his\n  data: /data/my", "site.only_postgresql",
     "extensions"),
    ("port: 80}    # pool", "«port: 80, pool: 0}»    # pool", "site.type", "1"),
    ("# vips: ", "«accounts: {root: {hosts: [app]}}»  # ", "site.account_taken", "root"),
    ("# vips: ", "«accounts: {deploy: {hosts: [app]}}»  # ", "site.account_taken", "deploy"),
    ("# vips: ", "«accounts: {ops: {hosts: [ap]}}»  # ", "site.account_host", "app?"),
    ("# vips: ", "«accounts: {'ops;id': {hosts: [app]}}»  # ", "site.form.word", "ops;id"),
    ("# storage: ", "«storage: {shares: [{path: mnt, hosts: [app], user: tomcat}]}»  # ", "site.form.path", "mnt"),
    ("# storage: ", "«storage: {shares: [{path: /mnt, hosts: [ap], user: tomcat}]}»  # ", "site.flow_end", "app?"),
    ("# storage: ", "«storage: {shares: [{path: /mnt, hosts: [app], user: a, export: 'sto2:/srv'}]}»  # ",
     "site.no_such_host", "sto1?"),
    ("# storage: ", "«storage: {shares: [{path: /mnt, hosts: [app], user: a, export: 'sto1:srv; id'}]}»  # ",
     "site.type", "srv; id"),
    ("roles: [db], owner: 信息科 DBA", "roles: [db], «disks: {/dat: /dev/vdb}»", "site.disk_no_mount", "/data"),
    ("roles: [db], owner: 信息科 DBA", "roles: [db], «disks: {/backup: /dev/vdb}»", "site.disk_no_mount", "/data"),
    ("roles: [db], owner: 信息科 DBA", "roles: [db], «disks: {/data: /dev/../etc/x}»", "site.form.device", "by-id"),
    ("roles: [db], owner: 信息科 DBA", "roles: [db], «disks: {/data: '/dev/vdb; id'}»", "site.form.device", "; id"),
    ("roles: [db], owner: 信息科 DBA", "roles: [db], «disks: {/data: /data.img}»", "site.form.device", "/data.img"),
    ("waive: []", "waive: [«{id: DSK03, host: dbx, at: '1 %', reason: r, approver: a, until: 2026-12-31}»]",
     "site.no_such_host", "dbx"),
    ("waive: []", "attest: [{id: M01, title: a}, «{id: M01, title: b}»]", "site.same_attest", "M01"),
    ("waive: []", "attest: [«{id: M01, title: a, hosts: [db2]}»]", "site.no_such_host", "db1?"),
    ("waive: []", "attest: [«{id: UPS, title: a}»]", "site.type", "UPS"),
    ("waive: []", "attest: [«{id: M01, title: a, valid: 36 h}»]", "site.form.days", "36 h"),
    ("waive: []", "mend: «{due: 5}»", "site.form.duration", "5"),
    ("  network: 10.77.1.0/24", "  network: 10.77.2.0/24", "site.not_in_lab", "10.77.2.0/24"),
    ("  major: 15\n", "  «major: 17»\n", "site.release_lacks", "15"),
    ("jdk: {major: 17}", "«jdk: {major: 21}»", "site.release_lacks", "17"),
    ("  release: bookworm\n", "  release: bookworm\n  «releases: {app9: trixie}»\n", "site.no_such_host", "app1"),
    ("  locale: zh_CN.UTF-8\n", "  locale: zh_CN.UTF-8\n  «collation: gbk_bin»\n", "site.form.collation", "utf8mb4_"),
    ("  batch: 1 ", "  «batch: 0» ", "site.type", "batch"),
    ("  drain: 30 s", "  «drain: 11 min»", "site.type", "drain"),
    ("  rollback: automatic ", "  «rollback: auto» ", "site.literal", "automatic"),
    ('  # window: "22:00-06:00"', '  «window: "22-06"»', "site.type", "22-06"),
    ("profile: small ", "«profile: [small» ", "site.yaml", ""),
    ("  zone: Asia/Shanghai", "  «zone: Asia/Shangai»", "site.form.zone", "Asia/Shangai"),
    ("path: /backup/his,", "«path: /,»", "site.form.folder", "/data/pg"),
    ("  data: /data/pg", "  «data: /var/lib»", "site.form.folder", "/var/lib"),
    ("  name: his\n  data", "  «name: template1»\n  data", "site.reserved", "template1"),
    ("  owner: his_owner", "  «owner: tomcat»", "site.reserved", "tomcat"),
    ("  name: 某某医院 HIS 系统", "  «name: \"a\\nb\"»", "site.type", ""),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "word"), FAULTS, ids=[f"{one[2]}-{i}" for i, one in enumerate(FAULTS)])
def test_a_fault_names_its_line(example: Path, old: str, new: str, key: str, word: str) -> None:
    text = example.read_text(encoding="utf-8")
    assert text.count(old) >= 1, "the example changed: mend this case"
    marked = text.replace(old, new, 1)
    example.write_text(marked.replace("«", "").replace("»", ""), encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        load(example)
    assert caught.value.key == key
    assert caught.value.code == 2
    message = str(caught.value)
    assert word in message
    assert "\n" not in message
    assert message.startswith("site.yml:")
    if "«" in marked:
        first = marked[: marked.index("«")].count("\n") + 1
        last = marked[: marked.index("»")].count("\n") + 1
        named = int(message.split(":")[1].split(" ")[0])
        # YAML's own errors are noticed where the parser stumbles, at or after the fault.
        assert first <= named <= (last if key != "site.yaml" else last + 2)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("roles: [dns], owner", "roles: dns, owner", "列表"),
        ("max_connections: 100", "max_connections: 5", "20"),
        ("sudo: true", "sudo: perhaps", "true"),
        ("jdk: {major: 17}", "jdk: 17", "键值"),
        ("ntp: [10.77.1.13]", "ntp: []", "1 项"),
    ],
)
def test_a_wrong_type_is_explained_in_the_users_tongue(example: Path, old: str, new: str, word: str) -> None:
    example.write_text(example.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        load(example)
    assert caught.value.key == "site.type"
    assert word in str(caught.value)
    assert "should" not in str(caught.value)


def test_the_value_of_a_secret_is_not_repeated(example: Path) -> None:
    text = example.read_text(encoding="utf-8").replace("file:secrets/restic", "hunter2-plain")
    example.write_text(text, encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        load(example)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "key"),
    [(b"\xb9\xe3\xb6\xab: 1\n", "site.not_utf8"), (b"- a\n", "site.not_a_mapping"), (b"", "site.not_a_mapping")],
)
def test_what_is_no_site_file(example: Path, content: bytes, key: str) -> None:
    example.write_bytes(content)
    with pytest.raises(SiteError) as caught:
        load(example)
    assert caught.value.key == key


def test_a_missing_file_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(SiteError) as caught:
        load(tmp_path / "nowhere.yml")
    assert str(tmp_path / "nowhere.yml") in str(caught.value)


def test_the_example_is_read_as_written(example: Path) -> None:
    site = load(example)
    assert [host.name for host in site.with_role("db")] == ["db1"]
    assert site.only("storage").address == "10.77.1.14"
    assert site.roles["db"].memory is not None
    assert site.roles["db"].memory.need == 2 * 10**9
    assert site.database is not None
    assert site.database.shared_buffers == 128 * 2**20
    assert site.ssh.key == example.parent / "secrets/id_ed25519"
    assert site.is_lab


def test_flows_that_follow_from_roles_are_added_once(example: Path) -> None:
    site = load(example)
    flows = [(flow.source, flow.target, flow.port, flow.protocol) for flow in site.all_flows()]
    assert ("app", "db", 5432, "tcp") in flows
    assert ("*", "dns", 53, "udp") in flows
    assert flows.count(("app", "storage", 22, "tcp")) == 1


def test_comments_and_order_do_not_change_the_hash_but_values_do(example: Path, tmp_path: Path) -> None:
    before = load(example).model_sha256
    text = example.read_text(encoding="utf-8")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    head, rest = text.split("  port: 22\n", 1)
    assert rest.startswith("  sudo: true\n")
    swapped = "# a comment\n" + head + "  sudo: true   # moved\n  port: 22\n" + rest.removeprefix("  sudo: true\n")
    (moved / "site.yml").write_text(swapped, encoding="utf-8")
    assert load(moved / "site.yml").model_sha256 == before
    example.write_text(text.replace("port: 22", "port: 2222", 1), encoding="utf-8")
    assert load(example).model_sha256 != before

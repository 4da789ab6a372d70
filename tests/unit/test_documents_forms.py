"""The forms of check, deploy, backup, drill and verify, printed from records of runs that went well and badly."""

from __future__ import annotations

import json
from typing import Any

from implops.documents import render
from implops.documents.model import Cell, Document, Table
from implops.site import Site
from implops.store import Store, record
from implops.store.run import Run


def table(document: Document, title: str) -> list[list[str]]:
    found = next(part for part in document.parts if isinstance(part, Table) and title in part.title)
    return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in found.rows]


def header(document: Document, label: str) -> str:
    value = next(value for name, value in document.header.pairs if name == label)
    return value.text if isinstance(value, Cell) else value


def verdict(id: str, state: str, **more: Any) -> dict[str, Any]:
    empty = {"target": "", "severity": "fail", "required": "—", "actual": "—", "source": "", "note": "", "params": {}}
    return {"id": id, "state": state, **empty, **more}


WAIVED = {"reason": "扩容中", "approver": "李工", "until": "2026-12-31"}


def about(error: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"address": "10.77.1.11", "roles": ["db"], "virt": "kvm", "os": "Debian", "kernel": "6.1", "cpus": 4,
            "memory": 8 * 2**30, "disks": {"/": 40 * 2**30, "/data": 200 * 2**30}, "error": error}  # fmt: skip


def checked(store: Store, site: Site) -> str:
    asked = {"source": "db1", "source_address": "10.77.1.11", "target": "sto1", "address": "10.77.1.14", "port": "22",
             "protocol": "tcp", "why": "SFTP"}  # fmt: skip
    with record(store, site, "check", "王工/1", {}) as run:
        run.event("host.checked", {"host": "db1", "about": about(), "verdicts": [
            verdict("MEM01", "pass", actual="8 GiB", required="≥ 4 GiB", source="site"),
            verdict("SEC03", "fail", target="5432", actual="mysqld 0.0.0.0", note="port_taken", owner="信息科 DBA",
                    due="2026-11-30"),
            verdict("NET01", "fail", target="→ sto1:22/tcp", actual="timeout", owner="网络组", request=asked),
            verdict("DSK03", "waived", actual="85 %", params=WAIVED),
            verdict("TIM01", "error", note="reason.timeout", params={"detail": "chronyc"}),
        ]}, (run.keep(b"raw"),))  # fmt: skip
        away = {"key": "remote.timeout", "params": {"host": "app1", "address": "x", "port": "22", "seconds": "10"}}
        gone = [verdict(id, "absent", note=away["key"], params=away["params"]) for id in ("MEM01", "SEC03", "CPU01")]
        run.event("host.checked", {"host": "app1", "about": about(away), "verdicts": gone})
        missing = verdict("M01", "error", note="attest_missing", owner="机房", params={"title": "UPS"}) | {"host": "*"}
        run.event("site.checked", {"verdicts": [missing]})
        run.finish("fail", {"collected": "2026-11-24T10:00:00+08:00", "site_hash": "0" * 64})
    return run.id


def test_the_environment_sheet_says_who_does_what_until_when(store: Store, site: Site) -> None:
    document = render.build(store, checked(store, site), "ENV", "HIS-TEST-ENV-0001")
    titles = [part.title for part in document.parts if isinstance(part, Table)]
    assert titles == ["A 主机", "B 检查项", "C 客户待办", "C 附 网络开通申请", "D 豁免", "E 证据"]
    hosts = table(document, "主机")
    assert hosts[0][8] == "/ 40 GiB\n/data 200 GiB"
    assert [row[-1] for row in hosts] == ["✔ 已到位", "◌ 未到位"]
    rows = table(document, "检查项")
    # A host that is away is one line, not one for each of its checks; the totals count them all.
    assert [row[6] for row in rows] == ["✘ 不合格", "✘ 不合格", "◌ 未到位", "? 未检", "? 未检", "~ 豁免", "✔ 合格"]
    assert "全部 3 项" in rows[2][3]
    assert "未到位\u00a03" in header(document, "统计")
    assert rows[-1][3:8] == ["MEM01 内存容量", "≥ 4 GiB(站点文件)", "8 GiB", "✔ 合格", "E1"]
    assert rows[-1][8:] == ["—", "—"]
    assert rows[0][8:] == ["信息科 DBA(C 1)", "2026-11-30"]
    assert rows[1][8] == "网络组(C 2)"
    assert "命令超时:chronyc" in next(row for row in rows if "TIM01" in row[3])[5]
    assert next(row for row in rows if row[3].startswith("M01"))[1:3] == ["人工确认", "现场"]
    to_do = table(document, "客户待办")
    assert [row[0] for row in to_do] == ["1", "2", "3", "4", "5"]
    assert "mysqld 0.0.0.0(端口已被占用)" in to_do[0][3]
    assert [row[5] for row in to_do] == ["信息科 DBA", "网络组", "信息科", "信息科 DBA", "机房"]
    (asked,) = table(document, "网络开通申请")
    assert asked[1:8] == ["db1", "10.77.1.11", "sto1", "10.77.1.14", "22", "TCP", "SFTP"]
    assert table(document, "豁免")[0][3:] == ["扩容中", "李工", "2026-12-31"]
    evidence = table(document, "证据")
    assert [(row[0], row[1], row[3], len(row[4])) for row in evidence] == [("E1", "db1", "1", 64)]
    assert "不合格" in header(document, "结论")


def step(run: Run, name: str, state: str, **more: Any) -> None:
    recipe, _, host = name.partition("@")
    about = {"step": name, "host": host, "recipe": recipe, "key": "k"}
    run.event("step.started", {**about, "expected": more.pop("expected", [])})
    for op, status, *did in more.pop("ops", []):
        run.event("op.finished", {"step": name, "op": op, "status": status, "ms": 5, **dict(*did)})
    values = {"changed": 0, "same": 0, "ms": 1200, "error": None, "probes": [], "key": "k", **more}
    run.event("step.finished", {"step": name, "host": host, "recipe": recipe, "state": state, **values})


def test_the_installation_record_of_a_failed_and_resumed_run(store: Store, site: Site) -> None:
    opened = checked(store, site)
    start = {"check_run": opened, "bundle_sha256": "b" * 64, "resumed": False}
    with record(store, site, "deploy", "王工/1", start) as run:
        failed = {"code": "failed", "op": "recipe.postgresql.initdb", "detail": "initdb: error: disk full\n"}
        ops = [("recipe.os_base.zone", "changed"), ("recipe.os_base.hosts", "changed")]
        zone = {"id": "zone:Asia/Shanghai", "state": "ok", "ms": 1}
        step(run, "os_base@db1", "good", changed=2, ops=ops, probes=[zone])
        step(run, "postgresql@db1", "failed", error=failed, ops=[("recipe.postgresql.initdb", "failed")],
             expected=["systemd:postgresql@15-main.service"])  # fmt: skip
        run.finish("fail", {"release": None, "backup_run": None})
    # Taken up again with a bundle that was built anew.
    anew = {**start, "resumed": True, "bundle_sha256": "d" * 64, "bundle": "HIS-1.0.0-new.tar"}
    with record(store, site, "deploy", "王工/1", anew, run.id) as again:
        step(again, "os_base@db1", "kept", probes=[{"id": "zone", "state": "ok", "ms": 1}])
        step(again, "postgresql@db1", "good", changed=1, ops=[("recipe.postgresql.initdb", "changed")])
        module = {"module": "login", "host": "app1", "name": "登录", "requirement": "SRS-1", "url": "http://his/login"}
        again.event("module.finished", {**module, "state": "pass", "status": 200, "ms": 12, "error": None})
        release = {"name": "his", "version": "1.0.0", "id": f"1.0.0-{run.id}"}
        again.finish("pass", {"release": release, "backup_run": None})
    document = render.build(store, run.id, "INST", "HIS-TEST-INST-0001")
    assert "续跑 1 次" in header(document, "版次/检查轮次")
    rows = table(document, "安装步骤")
    assert [row[9] for row in rows] == ["完成", "失败", "已完成过,现仍符合要求", "完成"]
    assert rows[0][4:8] == ["设置时区,写 /etc/hosts", "时区:Asia/Shanghai", "符合", "2"]
    # It did not come so far as to be asked.
    assert rows[1][4:7] == ["✘ 在指定数据目录初始化实例", "服务运行:postgresql@15-main.service", "未验证"]
    assert "disk full" in table(document, "异常")[0][2]
    first, last = table(document, "发布版本")
    assert (first[2], first[4], last[2], last[4]) == ("—", "b" * 16, f"1.0.0-{run.id}", "d" * 16)
    assert last[8] == "首装"
    # Counted once a step, as it ended: two steps, two good.
    assert "步骤 2 个,完成 2 个,改动 1 处" in header(document, "统计")
    assert table(document, "系统模块")[0][4] == "HTTP 200"


def test_the_installation_record_shows_commands_answers_sources_and_files(store: Store, site: Site) -> None:
    files = {"tool": "0.1.0", "key": "SHA256:abc", "signer": "王工", "origins": ["Debian bookworm"], "debs": 184,
             "dated": "2026-11-25T02:22:30+00:00", "files": [
                 {"name": "his.war", "sha256": "a" * 64, "size": 2048, "kind": "artifact", "key": "system.artifact"},
                 {"name": "1.sql", "sha256": "c" * 64, "size": 10, "kind": "schema", "key": "system.schema[0]"},
                 {"name": "old.tar", "sha256": "d" * 64, "size": 10, "kind": "artifact", "key": ""}]}  # fmt: skip
    store.append("bundle.finished", {"sha256": "b" * 64, "size": 3 * 2**20}, run="BUILT", operator="李工/2")
    start = {
        "check_run": checked(store, site), "bundle_sha256": "b" * 64, "bundle": "HIS-1.tar", "resumed": False,
        "source": files,
        "parameters": {"os_base@db1": {"zone": "Asia/Shanghai", "ntp": "10.1.1.1", "sysctl.vm.swappiness": "10",
                                       "people": "a"}},
        "files": {"os_base@db1": {"zone": ["/etc/timezone"], "sysctl": ["/etc/sysctl.d/60-implops.conf"],
                                  "ntp": ["/etc/chrony/x.sources", "/etc/systemd/timesyncd.conf.d/x.conf"]}},
    }  # fmt: skip
    wrote = {"path": "/etc/chrony/x.sources", "mode": "644", "owner": "root:root", "sha256": "f" * 64}
    hidden = {"path": "/etc/key", "mode": "600", "owner": "root:root", "sha256": ""}
    ran = {"text": "set -e\n  dpkg -i x", "cut": 0, "sha256": ""}
    ops = [
        ("recipe.os_base.time_servers", "changed", {"files": [wrote, hidden], "more": 3}),
        ("recipe.os_base.zone", "failed", {"commands": [ran]}),
        ("recipe.os_base.hosts", "same"),
    ]
    names = [{"id": f"dns:{one}.his", "state": "bad", "ms": 1, "said": ""} for one in "abcd"]
    bad = [{"id": "own-thing:x", "state": "bad", "ms": 1, "said": "timed out / really"}, *names]
    probes = [{"id": "tcp:10.1.1.1:53", "state": "ok", "ms": 1}, *bad]
    with record(store, site, "deploy", "王工/1", start) as run:
        step(run, "os_base@db1", "failed", ops=ops, probes=probes, error={"code": "probe", "probes": ["x"]})
        step(run, "nginx@app1", "blocked", error={"code": "needs", "steps": []})
        run.finish("fail", {"release": None, "backup_run": None})
    document = render.build(store, run.id, "INST", "N-1")
    bundle, packages, war, schema, old = table(document, "来源")
    assert bundle[:3] == ["HIS-1.tar", "安装包", "implops 0.1.0 制作,制作人 李工/2"]
    assert bundle[4:] == ["3 MiB", "b" * 16, "王工 SHA256:abc"]
    assert packages[:3] == ["184 个软件包", "系统软件包", "软件源 Debian bookworm"]
    assert war[:3] == ["his.war", "业务系统程序", "实施人员提供(system.artifact)"]
    assert schema[1:3] == ["库表文件", "实施人员提供(system.schema)"]
    assert old[1:3] == ["程序文件", "—"]
    failed, blocked = table(document, "安装步骤")
    assert failed[5] == "端口可连接:10.1.1.1:53\nown-thing:x\n域名解析:a.his, b.his, c.his 等 4 项"
    assert failed[6].splitlines() == ["✘ own-thing:x", "✘ 域名解析:a.his, b.his, c.his 等 4 项",
                                      "应答:timed out / really", "其余 1 项符合"]  # fmt: skip
    assert blocked[4:9] == ["—"] * 5
    rows = table(document, "命令")
    assert [row[:2] + row[-1:] for row in rows] == [["1", "db1", "已更改"], ["1", "db1", "✘ 失败"]]
    assert rows[0][4].splitlines() == [f"→ /etc/chrony/x.sources 644 root:root {'f' * 16}", "→ /etc/key 600 root:root",
                                       "…另有 3 条"]  # fmt: skip
    assert rows[1][4] == "set -e ⏎ dpkg -i x"
    # A host chooses between two files: the one that it got. What the recipe does not say is not guessed.
    assert {row[0]: row[4] for row in table(document, "参数")} == {
        "zone": "/etc/timezone", "sysctl.vm.swappiness": "/etc/sysctl.d/60-implops.conf",
        "ntp": "/etc/chrony/x.sources", "people": "—",
    }  # fmt: skip


def test_a_record_of_before_commands_were_kept_still_prints(store: Store, site: Site) -> None:
    start = {"check_run": checked(store, site), "bundle_sha256": "b" * 64, "resumed": False,
             "parameters": {"os_base@db1": {"zone": "Asia/Shanghai"}}}  # fmt: skip
    with record(store, site, "deploy", "王工/1", start) as run:
        run.event("step.started", {"step": "os_base@db1", "host": "db1", "recipe": "os_base", "key": "k"})
        run.event("op.finished", {"step": "os_base@db1", "op": "recipe.os_base.zone", "status": "changed", "ms": 5})
        probes = [{"id": "zone:x", "state": "bad", "ms": 1}]
        ended = {"state": "failed", "changed": 1, "same": 0, "ms": 9, "error": None, "probes": probes, "key": "k"}
        run.event("step.finished", {"step": "os_base@db1", "host": "db1", "recipe": "os_base", **ended})
        run.finish("fail", {"release": None, "backup_run": None})
    document = render.build(store, run.id, "INST", "N-1")
    assert "D 附 命令" not in [part.title for part in document.parts if isinstance(part, Table)]
    assert table(document, "来源")[0][1:5] == ["安装包", "—", "—", "—"]
    assert table(document, "安装步骤")[0][4:7] == ["设置时区", "时区:x", "✘ 时区:x"]
    assert table(document, "参数")[0][4] == "—"


def test_the_installation_record_of_an_upgrade_that_went_back(store: Store, site: Site) -> None:
    opened = checked(store, site)
    gates = [
        {"gate": "promotion", "state": "override", "ground": "gate.promotion_none", "reason": "紧急"},
        {"gate": "change", "state": "pass", "ground": "李工", "reason": ""},
        {"gate": "window", "state": "skip", "ground": "", "reason": ""},
    ]
    start = {
        "check_run": opened, "bundle_sha256": "b" * 64, "bundle": "HIS-2.0.0.tar", "release_sha256": "c" * 64,
        "resumed": False, "change": "CHG-7", "gates": gates, "before": {"app1": "1.0.0-A"}, "window": "22:00-06:00",
        "parameters": {"app_war@app1": {"version": "2.0.0", "source.password": "***#" + "b" * 16, "keys": "*** a",
                                        "unit": "sha256:" + "2" * 16, "new": "sha256:" + "3" * 16, "none": ""}},
        "recipes": {"app_war": "e" * 64},
        "access": [{"url": "http://his.his.example", "host": "app1"}],
    }  # fmt: skip
    before = {"app_war@app1": {"version": "1.0.0", "source.password": "***#" + "a" * 16, "keys": "*** a",
                               "unit": "sha256:" + "1" * 16}}  # fmt: skip
    with record(store, site, "deploy", "o", {**start, "parameters": before}) as good:
        good.finish("pass", {"release": {"name": "his", "version": "1.0.0", "id": "1.0.0-A"}})
    # One that failed set nothing that counts.
    store.append("deploy.started", {**start, "parameters": start["parameters"]}, run="FAILED", operator="o")
    with record(store, site, "deploy", "王工/1", start) as run:
        saved = backed_up(store, site, member("db1"), "pass")
        run.event("database.saved", {"run": saved, "member": f"{saved}-db1-database"})
        step(run, "app_war@app1", "failed", error={"code": "module", "modules": ["物料"]})
        about = {"release": {"id": "1.0.0-A", "version": "1.0.0"}, "leaving": {"app1": "2.0.0-B"}, "switched": ["app1"],
                 "migrated": [], "backup": None, "reason": "", "of_run": run.id, "automatic": True}  # fmt: skip
        run.event("deploy.rolled_back", about)
        with record(store, site, "rollback", "王工/1", {**about, "resumed": False}) as back:
            step(back, "app_war@app1", "good", changed=2)
            back.finish("pass", {**about, "modules": [], "changed": 2})
        release = {"name": "his", "version": "2.0.0", "id": "2.0.0-B"}
        run.finish("fail", {"release": release, "backup_run": None, "rollback_run": back.id})
    document = render.build(store, run.id, "INST", "N-1")
    assert table(document, "发布版本")[0][1:4] == ["1.0.0-A", "2.0.0-B", "HIS-2.0.0.tar"]
    assert table(document, "发布版本")[0][7:] == ["22:00-06:00", "升级"]
    rows = table(document, "前置条件")
    assert rows[1][1:] == ["! 越过", "上一级环境没有记录", "紧急"]
    assert rows[2][2] == "变更单 CHG-7,批准人 李工"
    assert table(document, "备份")[0][2] == "db1 数据库"
    # Only what differs from the deployment before.
    assert [row[:3] for row in table(document, "参数")] == [
        ["source.password", "***", "***(已变更)"], ["unit", "长文本", "长文本(已变更)"], ["version", "1.0.0", "2.0.0"],
    ]  # fmt: skip
    assert table(document, "异常")[0][2:] == ["更新后模块不符合要求(物料)", "已回滚"]
    assert table(document, "回滚")[0][0] == "升级未通过验证,自动"
    assert table(document, "回滚")[0][2:] == ["已执行", "合格"]
    assert table(document, "访问信息")[0][0] == "http://his.his.example"
    shown = render.build(store, back.id, "INST", "N-2")
    assert "回滚" in shown.title
    assert table(shown, "发布版本")[0][1:3] == ["2.0.0-B", "1.0.0-A"]
    assert table(shown, "发布版本")[0][8] == "回滚"


def member(host: str, **more: Any) -> dict[str, Any]:
    times = {"started": "2026-11-24T02:00:00+08:00", "finished": "2026-11-24T02:00:04+08:00", "ms": 4000}
    about = {"run": f"r-{host}", "job": "database", "host": host, "state": "complete", "error": None, "members": []}
    return {**about, **times, **more}


def backed_up(store: Store, site: Site, one: dict[str, Any], conclusion: str) -> str:
    assert site.backup
    policy = site.backup.model_dump(mode="json", exclude={"repository"})
    start = {"trigger": "manual", "policy": policy, "repository": {"host": "sto1", "path": "/backup/his"}}
    with record(store, site, "backup", "王工/1", start) as run:
        answer = {"members": [{"fingerprint": {"public.a": [3, "1", "2"]}}]}
        run.event("backup.member", one, (run.keep(json.dumps(answer).encode()),))
        run.finish(conclusion, {"objects": ["database"], "members": []})
    return run.id


def test_the_backup_record_names_what_lies_where_and_what_failed(store: Store, site: Site) -> None:
    dump = {"role": "pg-db", "name": "his.dump", "bytes": 2048, "growth": 1024, "tables": 9}
    dump |= {"snapshot": "abcdef0123", "sha256": "f" * 64}
    document = render.build(store, backed_up(store, site, member("db1", members=[dump]), "pass"), "BAK", "N-1")
    row = table(document, "本次备份")[0]
    assert row[3] == "数据库 his.dump"
    assert row[10] == "abcdef01"
    assert "9 项表指纹" in row[12]
    assert table(document, "备份策略")[0][1:4] == ["每天 02:00", "日备 7 份,周备 4 份,月备 12 份", "每周"]
    bad = member("db1", state="failed", error={"code": "repository_full", "detail": "No space left"})
    document = render.build(store, backed_up(store, site, bad, "fail"), "BAK", "N-2")
    assert "磁盘已满" in table(document, "本次备份")[0][13]
    assert "失败 1 项" in header(document, "统计")


def test_the_drill_record_shows_every_table_and_the_first_difference(store: Store, site: Site) -> None:
    backed_up(store, site, member("db1"), "pass")
    drilled = member(
        "db1", backup={"run": "r-db1", "started": "2026-11-24T02:00:00+08:00", "age_s": 3600}, restore_ms=2300,
        verdict="different", rows=3, tables={"compared": 1, "equal": 0, "different": 1},
        first_difference={"name": "public.a", "expected": [3, "1", "2"], "found": [2, "1", "2"]},
        error={"code": "different", "detail": "public.a"},
    )  # fmt: skip
    with record(store, site, "drill", "王工/1", {}) as run:
        run.event("drill.member", drilled)
        run.finish("fail", {"objects": ["database"], "members": []})
    document = render.build(store, run.id, "DRILL", "N-3")
    row = table(document, "演练结果")[0]
    assert row[7:9] == ["2.3 s", "1 h 0 min"]
    assert "不一致:public.a" in row[10]
    assert table(document, "逐表核对") == [["public.a", "3", "1 2", "不一致"]]


def test_the_system_sheet_prints_what_was_expected(store: Store, site: Site) -> None:
    with record(store, site, "verify", "王工/1", {}) as run:
        error = {"key": "verify.reason.status", "params": {"status": 500, "expected": 200}}
        module = {"module": "m", "host": "app1", "name": "物料", "requirement": "SRS-4", "url": "/his"}
        asked = {"state": "fail", "status": 500, "ms": 8, "expect": {"status": 200, "text": "物料"}}
        run.event("module.finished", {**module, **asked, "error": error})
        check = {"check": "test_a.py::test_b", "host": "db1", "state": "error", "said": "away", "ms": 1}
        run.event("system_check.finished", check)
        run.finish("fail", {})
    document = render.build(store, run.id, "SYS", "N-4")
    row = table(document, "系统模块")[0]
    assert row[6] == "HTTP 200,含“物料”"
    assert "500" in row[7]
    assert table(document, "系统检查项")[0][6] == "? 未检"

"""A deployed site whose database is MariaDB: what differs from PostgreSQL."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from mutation.fault import Fault, Step, python, shadow, shell, site

if TYPE_CHECKING:
    from mutation.bench import Bench

_ASK = "mariadb --no-defaults -S /run/mysqld/mysqld.sock -NBe"


def _set(name: str, value: str) -> Step:
    """A variable of the running server, and back to what it was."""

    def call(bench: Bench, host: str) -> Callable[[], None]:
        was = bench.shell(host, f"{_ASK} 'select @@global.{name}'").strip()

        def put(text: str) -> None:
            word = text if text.isdigit() else f"'{text}'"
            bench.shell(host, f"{_ASK} {shlex.quote(f'set global {name} = {word}')}")

        put(value)
        return lambda: put(was)

    return python(call, touches=f"mariadb:{name}")


def _sql(do: str, undo: str) -> Step:
    return shell(f"{_ASK} {shlex.quote(do)}", f"{_ASK} {shlex.quote(undo)}", "db1", "mariadb:rights")


def maria(id: str, host: str, what: str, steps: tuple[Step, ...], state: str, actual: str | re.Pattern[str],
          **more: object) -> Fault:  # fmt: skip
    return Fault(id, host, what, steps, state, actual, scene="mariadb", **more)  # type: ignore[arg-type]


FAULTS = [
    maria("LIM04", "db1", "the kernel has few slots for asynchronous writes", (shadow("/proc/sys/fs/aio-max-nr", "40000"),),
          "warn", re.compile("[1-4][0-9]{4}"), kind="S"),
    maria("DB01", "db1", "the product wants another version of the database",
          (site(("MEM04: {want: 100}", "MEM04: {want: 100}\n      DB01: {need: [mariadb 11.8]}")),), "fail",
          "mariadb 10.11"),
    maria("DB02", "db1", "new databases know Western letters only", (_set("collation_server", "latin1_swedish_ci"),),
          "fail", "latin1", target="character_set_server", follows={"DB03": "the order of those letters"}),
    maria("DB03", "db1", "new databases sort as the old three-byte encoding", (_set("collation_server", "utf8mb3_bin"),),
          "fail", "utf8mb3_bin", target="collation_server", follows={"DB02": "the encoding of that order"}),
    maria("DB04", "db1", "names of tables do not tell small from capital letters",
          (shell("printf '[mariadbd]\\nlower_case_table_names = 1\\n' > /etc/mysql/mariadb.conf.d/99-x.cnf; "
                 "systemctl restart mariadb", "rm /etc/mysql/mariadb.conf.d/99-x.cnf; systemctl restart mariadb"),),
          "fail", "1", whole=True),
    maria("DB05", "db1", "twenty connections for pools of sixty", (_set("max_connections", "20"),), "fail", "20"),
    maria("DB06", "db1", "a small cache", (_set("innodb_buffer_pool_size", "16777216"),), "warn", "16 MiB",
          target="innodb_buffer_pool_size"),
    maria("DB07", "db1", "a commit is not forced to disk", (_set("innodb_flush_log_at_trx_commit", "2"),), "fail", "2",
          target="innodb_flush_log_at_trx_commit"),
    maria("DB08", "db1", "the owner may not make tables",
          (_sql("revoke create on his.* from his_owner@localhost", "grant create on his.* to his_owner@localhost"),),
          "fail", "ALTER INDEX REFERENCES", target="his_owner"),
    maria("DB09", "app1", "the application may come from the server itself only",
          (_sql("rename user 'his_app'@'@app1@' to 'his_app'@'localhost'",
                "rename user 'his_app'@'localhost' to 'his_app'@'@app1@'"),), "fail", re.compile(".+"), target="→ db1"),
    maria("DB10", "db1", "the server lives in another zone", (_set("time_zone", "+00:00"),), "warn", "+00:00"),
    maria("DB11", "db1", "long values are refused", (_set("max_allowed_packet", "1048576"),), "warn", "1 MiB",
          target="max_allowed_packet"),
    maria("DB11", "db1", "values that do not fit are cut", (_set("sql_mode", ""),), "warn", "—", target="sql_mode"),
    maria("DB12", "db1", "the site file says another directory than the server has",
          (site(("data: /data/mysql\n", "data: /data/other\n")),), "fail", "/data/mysql", target="datadir",
          follows={"DSK10": "the other directory belongs to nobody"}),
]  # fmt: skip

"""``make demo``: four bare hosts and a folder of customer files become a running, backed-up, documented system.

Every step is the command that an engineer types; the demo only adds what happens at a customer's besides: two faults
that nobody knew of, and one file whose declared encoding is wrong.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples" / "his"))

from build import build  # noqa: E402 - the demo's own build script, beside the sources of the system

from implops import kit, lab  # noqa: E402
from implops.site import load  # noqa: E402

FOLDER, OUT = ROOT / "demo-site", ROOT / "demo-out"
SITE = FOLDER / "site.yml"
# What stands on a customer's server and on his firewall without anybody knowing.
LISTENER = "systemd-run -q --unit=old-database systemd-socket-activate -l {address}:5432 /bin/cat"
FIREWALL = ["OUTPUT", "-p", "tcp", "-d", "{address}", "--dport", "5432", "-j", "DROP"]


class Story:
    """Phases with their times; a command that does not end as told ends the story."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.times: list[tuple[str, float]] = []
        self.title = ""

    def phase(self, title: str) -> None:
        self.finish_phase()
        self.title, self.phase_began = title, time.monotonic()
        print(f"\n\033[1m== {len(self.times) + 1}. {title}\033[0m", flush=True)

    def finish_phase(self) -> None:
        if self.title:
            seconds = time.monotonic() - self.phase_began
            self.times.append((self.title, seconds))
            print(f"   ({seconds:.1f} s)", flush=True)
        self.title = ""

    def implops(self, *arguments: str, code: int = 0) -> None:
        """Show the command and run it; ``code`` is the exit code that the story expects."""
        print(f"\033[36m$ implops {' '.join(arguments)}\033[0m", flush=True)
        command = [sys.executable, "-m", "implops.cli.main", *arguments]
        done = subprocess.run(command, cwd=FOLDER, stdin=subprocess.DEVNULL)
        if done.returncode != code:
            raise SystemExit(f"demo: 应以退出码 {code} 结束,实际为 {done.returncode}: implops {' '.join(arguments)}")
        if code:
            print(f"   退出码 {code},符合预期", flush=True)

    def summary(self) -> None:
        print("\n\033[1m== 用时\033[0m")
        for number, (title, seconds) in enumerate(self.times, start=1):
            print(f"{seconds:8.1f} s  {number}. {title}")
        print(f"{time.monotonic() - self.began:8.1f} s  合计")


def prepare() -> None:
    """The folder that an engineer carries: site file, release, mappings, the customer's files, secrets."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    shutil.copyfile(kit.annotated_site(), SITE)
    for name in ("data", "mappings"):
        shutil.copytree(ROOT / "examples" / name, FOLDER / name)
    build(FOLDER / "release" / "his-1.0.0.war")
    shutil.copytree(ROOT / "examples" / "his" / "schema", FOLDER / "release" / "schema")
    (FOLDER / "secrets").mkdir(mode=0o700)
    for name in ("db_app", "db_import", "restic"):
        with os.fdopen(os.open(FOLDER / "secrets" / name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(18) + "\n")
    declare("big5")


def declare(encoding: str) -> None:
    """What the mapping of the areas says about its file."""
    path = FOLDER / "mappings" / "areas.yml"
    lines = path.read_text(encoding="utf-8").splitlines()
    source = f"source: {{file: ../data/areas.csv, encoding: {encoding}}}"
    lines = [source if one.startswith("source:") else one for one in lines]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def plant() -> None:
    site = load(SITE)
    address = site.hosts["db1"].address
    inside("db1", *LISTENER.format(address=address).split())
    firewall("app1", "-A", address)


def mend() -> None:
    inside("db1", "systemctl", "stop", "old-database")
    firewall("app1", "-D", load(SITE).hosts["db1"].address)


def inside(name: str, *command: str) -> None:
    done = lab.enter(load(SITE), name, command)
    if done.returncode:
        raise SystemExit(f"demo: {name}: {done.stderr.strip()}")


def firewall(name: str, order: str, address: str) -> None:
    """In the host's own network, with this machine's iptables: bare hosts have none."""
    words = [word.format(address=address) for word in FIREWALL]
    command = ["nsenter", "-t", str(lab.leader(load(SITE), name)), "-n", "--", "iptables", order, *words]
    subprocess.run(command, check=True)


def tell(story: Story) -> None:
    site = "site.yml"
    story.phase("启动四台裸机(演练环境)")
    prepare()
    story.implops("lab", "up", site)
    story.phase("首次环境检查:查出两处真实故障")
    plant()
    story.implops("check", site, "-q", code=1)
    story.phase("检查未通过,部署被拒绝")
    story.implops("deploy", site, "--yes", code=5)
    story.phase("排除故障后复检")
    mend()
    print("   db1 上占用 5432 端口的程序已停止;app1 到 db1:5432 的防火墙规则已删除")
    story.implops("check", site, "-q")
    story.phase("制作安装包")
    story.implops("bundle", "build", site)
    story.phase("部署")
    story.implops("deploy", site, "--yes")
    story.phase("导入前备份数据库")
    story.implops("backup", "run", site, "--only", "database")
    story.phase("导入基础数据:一个文件的编码声明有误,被拒绝")
    story.implops(
        "record", "approve", site, "--subject", "import", "--approver", "项目经理 李工", "--reason", "上线初始化"
    )
    story.implops("import", "check", site, code=2)
    story.phase("改正编码后校验、导入,随后完整备份")
    declare("gb18030")
    story.implops("import", "check", site)
    story.implops("import", "run", site, "--yes")
    story.phase("系统检查")
    story.implops("verify", site)
    story.phase("恢复演练")
    story.implops("backup", "drill", site)
    story.implops("record", "verify", site)
    story.finish_phase()


def documents() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree(FOLDER / "out", OUT)
    print("\n\033[1m== 文档\033[0m")
    for path in sorted(OUT.glob("*.docx")):
        print(f"   demo-out/{path.name}  (.xlsx .html)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    keep = parser.parse_args().keep
    os.environ.setdefault("IMPLOPS_OPERATOR", "王工/E1024")
    os.environ.setdefault("COLUMNS", "120")
    story = Story()
    if SITE.exists():
        subprocess.run([sys.executable, "-m", "implops.cli.main", "lab", "down", str(SITE)], stdin=subprocess.DEVNULL)
    try:
        tell(story)
        documents()
        address = load(SITE).hosts["app1"].address
        story.summary()
        print(f"\n系统地址:http://his.his.example/his/login.jsp(在本机:http://{address}/his/login.jsp)")
        if keep:
            print("演练环境仍在运行;结束时执行:.venv/bin/implops lab down demo-site/site.yml")
    finally:
        if not keep:
            subprocess.run(
                [sys.executable, "-m", "implops.cli.main", "lab", "down", str(SITE), "-q"], stdin=subprocess.DEVNULL
            )


if __name__ == "__main__":
    main()

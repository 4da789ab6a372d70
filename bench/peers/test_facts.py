"""Twelve assertions over the same facts, as a testinfra user writes them."""


def test_release(host):
    assert host.system_info.distribution == "debian"


def test_arch(host):
    assert host.system_info.arch


def test_backlog(host):
    assert host.sysctl("net.core.somaxconn") >= 0


def test_files(host):
    assert host.sysctl("fs.file-max") >= 0


def test_root(host):
    assert host.mount_point("/").exists


def test_fstab(host):
    assert host.file("/etc/fstab").exists


def test_port(host):
    assert host.socket("tcp://22").is_listening


def test_time(host):
    assert host.service("chrony").is_enabled


def test_user(host):
    assert host.user("deploy").exists


def test_umask(host):
    assert host.file("/etc/login.defs").contains("UMASK")


def test_names(host):
    assert host.file("/etc/hosts").contains("localhost")


def test_package(host):
    assert host.package("openssh-server").is_installed

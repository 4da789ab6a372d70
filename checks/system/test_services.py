"""The services of a deployed site: each runs as its own user, starts with the host, and keeps to its address."""

import pytest

SERVICES = {
    "db": [("postgresql@15-main", "postgres")],
    "app": [("tomcat10", "tomcat"), ("nginx", "www-data")],
    "dns": [("named", "bind")],
}


def _services(site, host):
    about = site.hosts[host.backend.hostname]
    found = [service for role in about.roles for service in SERVICES.get(role, [])]
    if not found:
        pytest.skip("no service of ours on this host")
    return found


def test_services_run_and_start_with_the_host(host, site):
    for name, _ in _services(site, host):
        assert host.service(name).is_running, name
        # PostgreSQL's own unit starts its clusters.
        assert name.startswith("postgresql") or host.service(name).is_enabled, name


def test_services_do_not_run_as_root(host, site):
    for _, user in _services(site, host):
        assert host.check_output("ps -u %s -o pid= | wc -l", user).strip() != "0", user


def test_nothing_failed(host):
    assert host.check_output("systemctl list-units --state=failed --no-legend --plain") == ""

"""The services of a deployed site: each runs as its own user, starts with the host, and keeps to its address."""

import pytest


def _services(site, host):
    """(unit, account) of every service that the site file asks this host for."""
    roles, found = site.hosts[host.backend.hostname].roles, []
    database, web, system = site.database, site.web, site.system
    if "db" in roles and database and not database.existing:
        postgresql = (f"postgresql@{database.major}-main", "postgres")
        found.append(postgresql if database.engine == "postgresql" else ("mariadb", "mysql"))
    if "app" in roles and web:
        found += [(f"tomcat{web.tomcat}", "tomcat")] if web.tomcat else []
        found.append(("nginx", "www-data"))
    if "app" in roles and system and system.kind != "war":
        found.append((f"app-{system.name}", f"app-{system.name}"[:32]))
    if "dns" in roles and site.dns:
        found.append(("named", "bind"))
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

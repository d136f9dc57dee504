"""docker-compose.yml: as the Compose specification wants it, whole, pinned, and hardened as before."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.deploy.files import DEPLOY, ROOT, read_yaml
from tests.test_house_rules import setting_names

compose_spec = pytest.importorskip("compose_spec", reason="the extra dev is not installed")

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


def mounts() -> list[tuple[str, str, str]]:
    """Service, source and target of every mount."""
    return [
        (name, *str(volume).split(":")[:2])
        for name, it in SERVICES.items()
        for volume in it.get("volumes", ())
    ]


def test_it_is_what_compose_understands() -> None:
    """Read by a strict implementation of the specification, which refuses unknown keys and values."""
    compose_spec.PyCompose.from_yaml(TEXT).validate()


@pytest.mark.parametrize(
    ("good", "bad"),
    [("restart: unless-stopped", "restart: maybe"), ("read_only: true", "readonly: true"), (":8000:", ":x:")],
)
def test_mistakes_would_be_seen(good: str, bad: str) -> None:
    """The check is a check: a wrong value, a wrong key and a wrong port are refused."""
    assert good in TEXT
    with pytest.raises(ValueError):  # noqa: PT011 (its messages are the package's own)
        compose_spec.PyCompose.from_yaml(TEXT.replace(good, bad, 1)).validate()


def test_every_file_it_mounts_exists() -> None:
    """Docker would make an empty folder of a missing one, and the service would start without its configuration."""
    files = [source for _, source, _ in mounts() if source.startswith(".")]
    assert files
    assert [source for source in files if not (ROOT / source).exists()] == []


def test_every_volume_it_mounts_is_declared_and_used() -> None:
    """Named volumes, both ways."""
    named = {source for _, source, _ in mounts() if not source.startswith(".")}
    assert named == yaml.safe_load(TEXT)["volumes"].keys()


def test_prometheus_gets_all_its_rules() -> None:
    """What its configuration names is mounted beside it."""
    names = {"prometheus.yml", *read_yaml(DEPLOY / "prometheus" / "prometheus.yml")["rule_files"]}
    mounted = {target for name, _, target in mounts() if name == "prometheus"}
    assert {f"/etc/prometheus/{name}" for name in names} <= mounted


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    """The provisioning names the service of Prometheus and the folder that the dashboard is mounted in."""
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = read_yaml(folder / "datasources" / "prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = read_yaml(folder / "dashboards" / "kowairo.yml")["providers"]
    targets = {target for name, _, target in mounts() if name == "grafana"}
    assert f"{provider['options']['path']}/kowairo.json" in targets
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in targets
    assert json.loads((DEPLOY / "grafana" / "kowairo.json").read_text(encoding="utf-8"))["uid"] == "kowairo"


def test_images_are_pinned_to_a_version() -> None:
    """No image moves by itself; ours is built here."""
    for name, service in SERVICES.items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$|@sha256:", service["image"]) or name == "kowairo"


def test_every_service_is_hardened_and_local() -> None:
    """No capability, no way to get one, and no port that another machine can reach."""
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert SERVICES["kowairo"]["read_only"]
    assert SERVICES["redis"]["read_only"]


def test_what_redis_acknowledges_is_on_the_disk() -> None:
    """A record that says it is durable survives a kill of Redis, and nothing is evicted to make room."""
    words = SERVICES["redis"]["command"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    assert ("redis", "redis", "/data") in mounts()


def test_the_service_uses_redis_and_keeps_its_spool() -> None:
    """Its settings exist; the folder that the image lets it write to is on a volume."""
    environment = SERVICES["kowairo"]["environment"]
    assert environment["KOWAIRO_STORE__URL"] == "redis://redis:6379/0"
    assert set(environment) <= set(setting_names())
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (spool,) = re.findall(r"KOWAIRO_STORE__SPOOL_PATH=(\S+)", dockerfile)
    (folder,) = [target for name, _, target in mounts() if name == "kowairo"]
    assert spool.startswith(f"{folder}/")
    assert f"-o kowairo -g kowairo -m 0700 {folder}" in dockerfile


def test_secrets_have_no_default() -> None:
    """Compose refuses to start without them rather than with a known one."""
    for variable in ("KOWAIRO_API_KEYS", "GRAFANA_PASSWORD"):
        assert re.search(rf"\$\{{{variable}:\?", TEXT)

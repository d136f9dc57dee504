"""The Helm chart, rendered by Helm's own engine and held against Kubernetes' own schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from app.settings import load_settings
from app.telemetry.metrics import Metrics
from tests.deploy.files import CHART, DEPLOY, FAST_LOADER, alerts, promtool, read_yaml
from tests.test_house_rules import setting_names

helm = pytest.importorskip("helm_python", reason="the extra dev is not installed")
kubernetes = pytest.importorskip("kubernetes_validate", reason="the extra dev is not installed")

Values = dict[str, Any]
Manifest = dict[str, Any]

KUBERNETES = ("1.25", "1.31", "1.37")
CUSTOM: dict[str, set[str]] = {
    "ServiceMonitor": {"jobLabel", "selector", "endpoints"},
    "PrometheusRule": {"groups"},
    "ScaledObject": {
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "cooldownPeriod",
        "advanced",
        "triggers",
    },
}
"""Kinds that Kubernetes itself does not know, and what we write in them. Packages that model them (cloudcoil) take a
minute to import and accept unknown fields, so tests look at these by hand."""

REDIS: Values = {"redis": {"secretName": "redis"}, "auth": {"secretName": "keys", "secretKey": "api"}}
SITES: dict[str, Values] = {
    "alone": {},
    "redis": {**REDIS, "replicaCount": 3},
    "persistent": {**REDIS, "spool": {"persistent": True, "size": "5Gi", "storageClassName": "fast"}},
    "hpa": {**REDIS, "autoscaling": {"mode": "hpa"}},
    "keda": {**REDIS, "autoscaling": {"mode": "keda"}, "spool": {"persistent": True}},
    "watched": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "runbookUrl": "https://wiki.example/runbooks"},
        "grafanaDashboard": {"enabled": True},
    },
    "everything": {
        **REDIS,
        "image": {"digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
        "env": {"KOWAIRO_LOG_LEVEL": "warning", "KOWAIRO_CARRIERS__TWILIO__LINE": "sales"},
        "secretEnv": {"KOWAIRO_CARRIERS__TWILIO__SECRETS": {"name": "carriers", "key": "twilio"}},
        "runtimeClassName": "nvidia",
        "priorityClassName": "high",
        "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "4Gi"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "voice"},
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "serviceAccount": {"annotations": {"a": "b"}},
        "networkPolicy": {
            "ingressFrom": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
            ],
            "extraEgress": [{"ports": [{"port": 4318, "protocol": "TCP"}]}],
        },
        "drain": {"graceSeconds": 600, "timeoutSeconds": 30},
        "podDisruptionBudget": {"maxUnavailable": "25%"},
    },
    "bare": {
        "serviceAccount": {"create": False},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
}


@cache
def rendered(values: str, name: str) -> str:
    """Every object that the chart makes of these values, all of it JSON text (to be kept, and never changed)."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(json.loads(values))
        files = chart.render(json.loads(values), name=name, namespace="prod")
    texts = [text for file, text in sorted(files.items()) if file.endswith(".yaml")]
    return json.dumps([it for text in texts for it in yaml.load_all(text, Loader=FAST_LOADER) if it])


def render(values: Values, *, name: str = "demo") -> list[Manifest]:
    """Every object that the chart makes of these values."""
    found: list[Manifest] = json.loads(rendered(json.dumps(values, sort_keys=True), name))
    return found


def one(manifests: list[Manifest], kind: str) -> Manifest:
    """The only object of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def workload(values: Values) -> Manifest:
    """The Deployment or StatefulSet."""
    (found,) = [it for it in render(values) if it["kind"] in {"Deployment", "StatefulSet"}]
    return found


def pod(values: Values) -> Manifest:
    """The spec of the pods."""
    found: Manifest = workload(values)["spec"]["template"]["spec"]
    return found


def environment(values: Values) -> dict[str, Any]:
    """The variables of the container: text, or where the secret is."""
    (container,) = pod(values)["containers"]
    names = [variable["name"] for variable in container["env"]]
    assert len(set(names)) == len(names)
    return {
        variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]
    }


@pytest.mark.parametrize("values", SITES.values(), ids=SITES)
def test_lint_has_nothing_to_say(values: Values) -> None:
    """Helm's linter, strictly; only a missing icon is accepted."""
    report = helm.lint(CHART, values, strict=True, with_subcharts=True)
    assert report["errors"] == []
    assert {message["error"] for message in report["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", SITES.values(), ids=SITES)
def test_kubernetes_takes_every_object(values: Values, version: str) -> None:
    """Against its schemas, in which unknown fields are faults."""
    manifests = render(values)
    assert manifests
    for manifest in manifests:
        if manifest["kind"] in CUSTOM:
            assert manifest["spec"].keys() <= CUSTOM[manifest["kind"]]
        else:
            kubernetes.validate(manifest, version, strict=True)


def test_the_schemas_would_see_a_mistake() -> None:
    """The check is a check: a misspelt field is refused."""
    manifest = workload({})
    manifest["spec"]["template"]["spec"]["terminationGracePeriod"] = 40
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(manifest, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("values", SITES.values(), ids=SITES)
def test_selectors_find_the_pods(values: Values) -> None:
    """Service, budget, policy and monitor select labels that the pods and the Service really have."""
    manifests = render(values)
    labels = workload(values)["spec"]["template"]["metadata"]["labels"].items()
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            assert spec["selector"].items() <= labels
        elif manifest["kind"] in {"PodDisruptionBudget", "Deployment", "StatefulSet"}:
            assert spec["selector"]["matchLabels"].items() <= labels
        elif manifest["kind"] == "NetworkPolicy":
            assert spec["podSelector"]["matchLabels"].items() <= labels
        elif manifest["kind"] == "ServiceMonitor":
            assert (
                spec["selector"]["matchLabels"].items()
                <= one(manifests, "Service")["metadata"]["labels"].items()
            )


@pytest.mark.parametrize("values", SITES.values(), ids=SITES)
def test_pods_have_no_more_rights_than_they_need(values: Values) -> None:
    """Nobody's root, no capability, nothing to write to but two volumes, no token of the cluster."""
    spec = pod(values)
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/var/lib/kowairo"}


@pytest.mark.parametrize("values", SITES.values(), ids=SITES)
def test_pods_are_asked_and_ended_as_the_service_wants(values: Values) -> None:
    """Health, readiness, and more time to end than the service itself takes; no variable that hides its port."""
    spec = pod(values)
    (container,) = spec["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["startupProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    given = environment(values)
    own = sum(
        float(given[f"KOWAIRO_STREAM__{name}_S"])
        for name in ("DRAIN_GRACE", "DRAIN_TIMEOUT", "FAREWELL_TIMEOUT")
    )
    assert spec["terminationGracePeriodSeconds"] >= own + 10
    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize("values", SITES.values(), ids=SITES)
def test_the_service_would_take_its_settings(values: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable is a setting, and its value one that the service accepts."""
    secrets = {
        "KOWAIRO_AUTH__API_KEYS": "0123456789abcdef",
        "KOWAIRO_STORE__URL": "redis://redis:6379/0",
        "KOWAIRO_CARRIERS__TWILIO__SECRETS": '{"auth_token": "0123456789abcdef"}',
    }
    fields = {"KOWAIRO_CARRIERS__TWILIO__SECRETS", "KOWAIRO_CARRIERS__TWILIO__LINE"}
    assert environment(values).keys() <= set(setting_names()) | fields
    for name, value in environment(values).items():
        monkeypatch.setenv(name, value if isinstance(value, str) else secrets[name])
    load_settings()


def test_secrets_are_referred_to() -> None:
    """Keys and the address of the store, which may hold a password, come from Secrets."""
    given = environment(SITES["everything"])
    assert given["KOWAIRO_AUTH__API_KEYS"] == {"secretKeyRef": {"name": "keys", "key": "api"}}
    assert given["KOWAIRO_STORE__URL"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert given["KOWAIRO_CARRIERS__TWILIO__SECRETS"] == {
        "secretKeyRef": {"name": "carriers", "key": "twilio"}
    }
    assert not any(manifest["kind"] == "Secret" for values in SITES.values() for manifest in render(values))


@pytest.mark.parametrize(
    "values",
    [
        {"env": {"KOWAIRO_AUTH__API_KEYS": "0123456789abcdef"}},
        {"env": {"KOWAIRO_STORE__URL": "redis://:secret@redis"}},
        {"env": {"KOWAIRO_CARRIERS__TWILIO__SECRETS": "{}"}},
        {"env": {"KOWAIRO_CARRIERS__TWILIO__PATH_SECRET": "x"}},
        {"env": {"KOWAIRO_CARRIERS__TWILIO": "{}"}},
        {"env": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=x"}},
        {"env": {"KOWAIRO_PORT": "9000"}},
        {"env": {"PATH": "/"}},
        {"env": {"KOWAIRO_STREAM__MAX_CALLS": 100}},
        {"secretEnv": {"KOWAIRO_AUTH__API_KEYS": "0123456789abcdef"}},
        {"redis": {"url": "redis://redis"}},
        {"replicas": 3},
        {"image": {"digest": "latest"}},
        {"autoscaling": {"mode": "vpa"}},
        {"drain": {"timeoutSeconds": 0}},
        {"spool": {"size": "lots"}},
    ],
    ids=json.dumps,
)
def test_values_that_are_wrong_are_refused(values: Values) -> None:
    """The schema knows every value; one that is misspelt, of another type, or a secret, does not pass."""
    with pytest.raises(helm.HelmValuesError):
        render(values)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"replicaCount": 2}, "more than one pod needs Redis"),
        ({"autoscaling": {"mode": "hpa"}}, "more than one pod needs Redis"),
        ({"spool": {"persistent": True}}, "of no use without Redis"),
        ({**REDIS, "autoscaling": {"minReplicas": 5, "maxReplicas": 2}}, "minReplicas is above"),
    ],
)
def test_what_cannot_work_is_refused(values: Values, why: str) -> None:
    """Found out while rendering, not in production."""
    with pytest.raises(helm.HelmRenderError, match=why):
        render(values)


def test_the_spool_survives_its_pod_only_where_asked_for() -> None:
    """A StatefulSet with a volume each; otherwise a Deployment whose folder goes with the pod."""
    lasting = workload(SITES["persistent"])
    assert lasting["kind"] == "StatefulSet"
    (claim,) = lasting["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "spool"
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    headless = lasting["spec"]["serviceName"]
    names = {it["metadata"]["name"]: it for it in render(SITES["persistent"]) if it["kind"] == "Service"}
    assert names[headless]["spec"]["clusterIP"] == "None"
    fleeting = workload(SITES["redis"])
    assert fleeting["kind"] == "Deployment"
    assert {"name": "spool", "emptyDir": {"sizeLimit": "1Gi"}} in fleeting["spec"]["template"]["spec"][
        "volumes"
    ]


def scaled() -> Iterator[tuple[Manifest, set[str]]]:
    """The target of each autoscaler, and the metrics it looks at."""
    hpa = one(render(SITES["hpa"]), "HorizontalPodAutoscaler")["spec"]
    yield hpa["scaleTargetRef"], {metric["pods"]["metric"]["name"] for metric in hpa["metrics"]}
    keda = one(render(SITES["keda"]), "ScaledObject")["spec"]
    queries = [trigger["metadata"]["query"] for trigger in keda["triggers"]]
    selector = '{namespace="prod",service="demo-kowairo"}'
    assert all(query.startswith("sum(") and query.endswith(f"{selector})") for query in queries)
    yield keda["scaleTargetRef"], {query.removeprefix("sum(").split("{")[0] for query in queries}


def test_autoscalers_look_at_metrics_of_the_service() -> None:
    """Calls and backlog, which exist; each scales the workload that there is, whose replicas are then left to it."""
    exposed = {family.name for family in Metrics().registry.collect()}
    for (target, metrics), kind in zip(scaled(), ("Deployment", "StatefulSet"), strict=True):
        assert target == {"apiVersion": "apps/v1", "kind": kind, "name": "demo-kowairo"}
        assert metrics == {"kowairo_calls_active", "kowairo_backlog_seconds"} <= exposed
    assert "replicas" not in workload(SITES["hpa"])["spec"]
    assert workload(SITES["redis"])["spec"]["replicas"] == 3


def test_the_rules_go_along() -> None:
    """The same groups as in deploy/prometheus, promtool takes them, and runbooks are linked where the site has them."""
    rule = one(render(SITES["watched"]), "PrometheusRule")
    names = [group["name"] for group in rule["spec"]["groups"]]
    files = [DEPLOY / "prometheus" / f"{name}.rules.yml" for name in ("recording", "alerts")]
    assert names == [group["name"] for path in files for group in read_yaml(path)["groups"]]
    carried = {it["alert"]: it for group in rule["spec"]["groups"] for it in group["rules"] if "alert" in it}
    assert carried.keys() == alerts().keys()
    for name, it in carried.items():
        assert it["expr"] == alerts()[name]["expr"]
        assert it["annotations"]["runbook_url"] == f"https://wiki.example/runbooks#{name.lower()}"


def test_promtool_takes_the_rules_of_the_chart(tmp_path: Any) -> None:
    """What the operator would hand to Prometheus."""
    rule = one(render(SITES["watched"]), "PrometheusRule")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
    promtool("check", "rules", "rules.yml", folder=tmp_path)


def test_the_job_is_called_kowairo_whatever_the_release_is_called() -> None:
    """The rules and the dashboard ask for it by that name."""
    manifests = render({"serviceMonitor": {"enabled": True}, "nameOverride": "emotions"}, name="eu-1")
    monitor, service = one(manifests, "ServiceMonitor"), one(manifests, "Service")
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "kowairo"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"


def test_the_dashboard_goes_along() -> None:
    """The committed one, word for word."""
    carried = one(render(SITES["watched"]), "ConfigMap")["data"]["kowairo.json"]
    assert json.loads(carried) == json.loads(
        (DEPLOY / "grafana" / "kowairo.json").read_text(encoding="utf-8")
    )


def test_the_way_out_is_narrow() -> None:
    """Names, Redis, and HTTPS to public addresses: no pod of the cluster, no metadata service of a cloud."""
    rules = one(render(SITES["redis"]), "NetworkPolicy")["spec"]["egress"]
    ports = [sorted({port["port"] for port in rule["ports"]}) for rule in rules]
    assert ports == [[53], [6379], [443, 8443]]
    four = rules[2]["to"][0]["ipBlock"]
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(four["except"])


def test_every_value_is_in_the_schema_and_has_a_default() -> None:
    """Values and schema cannot drift apart."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def names(part: dict[str, Any], prefix: str = "") -> set[str]:
        found = set()
        for name, inner in part.get("properties", {}).items():
            found |= {f"{prefix}{name}"} | names(inner, f"{prefix}{name}.")
        return found

    def given(part: dict[str, Any], prefix: str = "") -> set[str]:
        found = set()
        for name, inner in part.items():
            found.add(f"{prefix}{name}")
            if isinstance(inner, dict) and f"{prefix}{name}." in inside:
                found |= given(inner, f"{prefix}{name}.")
        return found

    known = names(schema)
    inside = {name.rsplit(".", 1)[0] + "." for name in known if "." in name}
    assert given(read_yaml(CHART / "values.yaml")) == known - {"global"}


def test_the_chart_is_of_this_version() -> None:
    """The image that is started by default is the one this repository builds."""
    chart = read_yaml(CHART / "Chart.yaml")
    project = (CHART.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{chart["appVersion"]}"\n' in project

"""The manifests are what a cluster takes, and agree with the service they run."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from app.errors import ConfigurationError
from app.run.application import create_app
from app.settings.planning import plan_of
from app.settings.settings import Settings, load

REPOSITORY: Final = Path(__file__).resolve().parents[1]
K8S: Final = REPOSITORY / "k8s"
BASE: Final = K8S / "base"
MANY_NODES: Final = K8S / "object-store"
KAFKA: Final = K8S / "kafka"
VERSIONS: Final = ("1.29", kubernetes_validate.latest_version())
MANIFESTS: Final = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")

Manifest = dict[str, Any]


def manifest(name: str) -> Manifest:
    (only,) = yaml.safe_load_all((BASE / f"{name}.yaml").read_text("utf-8"))
    return dict(only)


def kustomization(shape: Path) -> Manifest:
    return dict(yaml.safe_load((shape / "kustomization.yaml").read_text("utf-8")))


def rendered_by_kubectl(shape: Path) -> list[Manifest]:
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is not installed; on Debian: apt install kubernetes-client"
    done = subprocess.run([kubectl, "kustomize", shape], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def pod() -> Manifest:
    return dict(manifest("statefulset")["spec"]["template"]["spec"])


def container() -> Manifest:
    (only,) = pod()["containers"]
    return dict(only)


def settings(directory: Path, **variables: str) -> Settings:
    """What the service makes of the ConfigMap, with the variables of the container."""
    return load(BASE / "parquet-sink.toml", variables)


def probes() -> dict[str, Manifest]:
    return {name: probe for name, probe in container().items() if name.endswith("Probe")}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_cluster_takes_each_manifest(path: Path, version: str) -> None:
    kubernetes_validate.validate(manifest(path.stem), version, strict=True)


def test_the_kustomization_lists_every_manifest() -> None:
    assert sorted(kustomization(BASE)["resources"]) == [path.name for path in MANIFESTS]


@pytest.mark.parametrize("shape", [BASE, MANY_NODES, KAFKA], ids=lambda path: path.name)
def test_the_image_tag_is_the_version_of_the_package(shape: Path) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]

    assert kustomization(shape)["images"] == [{"name": container()["image"], "newTag": project["version"]}]


def test_the_configuration_is_valid_and_asks_for_keys(tmp_path: Path) -> None:
    found = settings(tmp_path, PARQUET_SINK__AUTH__ADMIN_TOKEN="a-token-of-the-operator")

    assert not found.server.on_loopback
    assert found.journal.acknowledge == "fsync"


def test_the_placeholders_of_the_secret_do_not_start_the_service(tmp_path: Path) -> None:
    secret = manifest("secret")["stringData"]

    with pytest.raises(ConfigurationError, match=r"auth\.admin_token: this is a placeholder"):
        settings(tmp_path, PARQUET_SINK__AUTH__ADMIN_TOKEN=secret["admin-token"])
    (key,) = [line for line in secret["api-keys.txt"].splitlines() if not line.startswith("#")]
    assert "REPLACE-ME" in key.partition(":")[0]


def test_everything_durable_lies_on_the_one_claimed_volume(tmp_path: Path) -> None:
    (claim,) = manifest("statefulset")["spec"]["volumeClaimTemplates"]
    (mount,) = [m for m in container()["volumeMounts"] if m["name"] == claim["metadata"]["name"]]
    found = settings(tmp_path)

    assert "subPath" not in mount
    for path in (found.journal.path, found.sink.path):
        assert path.is_relative_to(mount["mountPath"])


def test_every_mounted_file_is_where_the_configuration_looks_for_it(tmp_path: Path) -> None:
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in container()["volumeMounts"]}
    variables = {entry["name"]: entry.get("value") for entry in container()["env"]}
    (volume,) = [v for v in pod()["volumes"] if v["name"] == "secret"]
    key_file = mounts["secret"] / volume["secret"]["items"][0]["path"]

    assert settings(tmp_path).auth.api_keys_file == key_file
    assert volume["secret"]["items"][0]["key"] in manifest("secret")["stringData"]
    (generated,) = kustomization(BASE)["configMapGenerator"]
    for key in generated["files"]:
        assert variables["PARQUET_SINK_CONFIG"] == str(mounts["config"] / key)


def test_a_pod_has_time_to_drain(tmp_path: Path) -> None:
    """The drain timeout counts twice: for requests under way, and for writing what is buffered."""
    assert pod()["terminationGracePeriodSeconds"] > 2 * settings(tmp_path).server.drain_timeout


def test_the_pod_fits_the_memory_it_may_use(tmp_path: Path) -> None:
    found = settings(tmp_path)
    limit = container()["resources"]["limits"]["memory"]

    assert limit.endswith("Gi")
    assert int(limit[:-2]) << 30 > 2 * (found.server.max_inflight_size + found.sink.max_buffered_size)


def test_the_volume_holds_the_largest_journal_and_files_beside_it(tmp_path: Path) -> None:
    (claim,) = manifest("statefulset")["spec"]["volumeClaimTemplates"]
    storage = claim["spec"]["resources"]["requests"]["storage"]

    assert storage.endswith("Gi")
    assert int(storage[:-2]) << 30 > 4 * settings(tmp_path).journal.max_size


def test_probes_ask_for_calls_that_exist(tmp_path: Path) -> None:
    calls = create_app(plan_of(Settings())).openapi()["paths"]
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}

    assert sorted(probes()) == ["livenessProbe", "readinessProbe", "startupProbe"]
    for probe in probes().values():
        assert probe["httpGet"]["path"] in calls
        assert ports[probe["httpGet"]["port"]] == settings(tmp_path).server.port
    assert probes()["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert probes()["livenessProbe"]["httpGet"]["path"] == "/health"


def test_selectors_find_the_pods() -> None:
    labels = manifest("statefulset")["spec"]["template"]["metadata"]["labels"]
    headless = manifest("service-headless")

    assert manifest("statefulset")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("service")["spec"]["selector"] == labels
    assert headless["spec"]["selector"] == labels
    assert manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert manifest("statefulset")["spec"]["serviceName"] == headless["metadata"]["name"]


def test_the_pod_meets_the_restricted_standard() -> None:
    security = {**pod()["securityContext"], **container()["securityContext"]}

    assert security["runAsNonRoot"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["readOnlyRootFilesystem"] is True


def test_nodes_that_share_a_bucket_have_names_and_journals_of_their_own(tmp_path: Path) -> None:
    patch = yaml.safe_load((MANY_NODES / "statefulset.yaml").read_text("utf-8"))
    (only,) = patch["spec"]["template"]["spec"]["containers"]
    (entry,) = only["env"]
    file = MANY_NODES / "parquet-sink.toml"
    found = load(
        file, {"PARQUET_SINK__AUTH__ADMIN_TOKEN": "a-token-of-the-operator", entry["name"]: "parquet-sink-0"}
    )
    (mount,) = [m for m in container()["volumeMounts"] if m["name"] == "data"]

    assert entry["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert found.server.node_id == "parquet-sink-0"
    assert found.journal.path.is_relative_to(mount["mountPath"])
    assert patch["spec"]["replicas"] > 1


@pytest.mark.heavy
@pytest.mark.parametrize("shape", [K8S, MANY_NODES], ids=lambda path: path.name)
def test_kubectl_renders_what_a_cluster_takes(shape: Path) -> None:
    rendered = rendered_by_kubectl(shape)

    assert len(rendered) == len(MANIFESTS) + 1
    for found in rendered:
        for version in VERSIONS:
            kubernetes_validate.validate(found, version, strict=True)
        if found["kind"] != "Namespace":
            assert found["metadata"]["namespace"] == "parquet-sink"


@pytest.mark.parametrize("role", ["ingest", "writer"])
def test_the_pods_with_kafka_keep_nothing(tmp_path: Path, role: str) -> None:
    deployment = yaml.safe_load((KAFKA / f"{role}.yaml").read_text("utf-8"))
    spec = deployment["spec"]["template"]["spec"]
    (only,) = spec["containers"]
    variables = {entry["name"]: entry["value"] for entry in only["env"] if "value" in entry}
    del variables["PARQUET_SINK_CONFIG"]
    token = {"PARQUET_SINK__AUTH__ADMIN_TOKEN": "a-token-of-the-operator"}
    found = load(KAFKA / "parquet-sink.toml", {**variables, **token})
    mounts = {mount["mountPath"]: mount["name"] for mount in only["volumeMounts"]}
    secrets = {each["name"]: each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each}

    assert found.server.role == role
    assert found.journal.type == "kafka"
    assert found.journal.properties_file is not None
    of_kafka = yaml.safe_load((KAFKA / "secret.yaml").read_text("utf-8"))
    assert secrets[mounts[str(found.journal.properties_file.parent)]] == of_kafka["metadata"]["name"]
    assert found.journal.properties_file.name in of_kafka["stringData"]
    assert found.sink.url is not None
    assert not any("persistentVolumeClaim" in volume for volume in spec["volumes"])
    assert spec["securityContext"].items() <= pod()["securityContext"].items()
    assert only["securityContext"] == container()["securityContext"]
    assert spec["terminationGracePeriodSeconds"] > 2 * found.server.drain_timeout


@pytest.mark.heavy
def test_kubectl_renders_front_ends_and_writers_without_volumes() -> None:
    rendered = rendered_by_kubectl(KAFKA)

    for found in rendered:
        for version in VERSIONS:
            kubernetes_validate.validate(found, version, strict=True)
    kinds = sorted(found["kind"] for found in rendered)
    assert kinds.count("Deployment") == 2
    assert "StatefulSet" not in kinds
    (service,) = [found for found in rendered if found["kind"] == "Service"]
    front_ends, writers = [
        found["spec"]["template"]["metadata"]["labels"] for found in rendered if found["kind"] == "Deployment"
    ]
    assert service["spec"]["selector"].items() <= front_ends.items()
    assert not service["spec"]["selector"].items() <= writers.items()


@pytest.mark.heavy
@pytest.mark.parametrize("shape", [K8S, MANY_NODES, KAFKA], ids=lambda path: path.name)
def test_every_pod_is_pinned_spread_protected_and_rolled_by_a_change(shape: Path) -> None:
    rendered = rendered_by_kubectl(shape)
    (config,) = [found["metadata"]["name"] for found in rendered if found["kind"] == "ConfigMap"]
    budgets = [found["spec"] for found in rendered if found["kind"] == "PodDisruptionBudget"]
    owners = [found for found in rendered if found["kind"] in ("StatefulSet", "Deployment")]

    assert re.fullmatch(r"parquet-sink-[a-z0-9]{10}", config), "a hash of what it holds"
    assert len(budgets) == len(owners)
    for owner in owners:
        template = owner["spec"]["template"]
        (only,) = template["spec"]["containers"]
        assert re.fullmatch(r"parquet-sink:\d+\.\d+\.\d+", only["image"])
        assert config in [each.get("configMap", {}).get("name") for each in template["spec"]["volumes"]]
        spread = template["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == [
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        ]
        labels = template["metadata"]["labels"]
        for each in spread:
            assert each["labelSelector"]["matchLabels"].items() <= labels.items()
        matching = [each for each in budgets if each["selector"]["matchLabels"].items() <= labels.items()]
        assert len(matching) == 1, "a budget is of one controller, and a pod of one budget"


@pytest.mark.heavy
def test_monitoring_finds_the_pods_and_their_token() -> None:
    rendered = {found["kind"]: found for found in rendered_by_kubectl(K8S / "monitoring")}
    monitor = rendered["PodMonitor"]["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    labels = manifest("statefulset")["spec"]["template"]["metadata"]["labels"]

    assert sorted(rendered) == ["ConfigMap", "PodMonitor", "PrometheusRule"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["jobLabel"]] == "parquet-sink", "the job that the alerts name"
    assert endpoint["port"] in [port["name"] for port in container()["ports"]]
    assert endpoint["authorization"]["credentials"]["key"] in manifest("secret")["stringData"]
    assert all(found["metadata"]["namespace"] == "parquet-sink" for found in rendered.values())


def test_writers_are_scaled_by_a_metric_that_there_is() -> None:
    scaler = yaml.safe_load((KAFKA / "autoscaler-writer.yaml").read_text("utf-8"))
    page = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
    (metric,) = scaler["spec"]["metrics"]

    assert f"| `{metric['pods']['metric']['name']}` |" in page
    for version in VERSIONS:
        kubernetes_validate.validate(scaler, version, strict=True)

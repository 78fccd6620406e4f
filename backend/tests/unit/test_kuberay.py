"""The Ray cluster's manifests: pods hold to Kubernetes' schemas, the rest to KubeRay's documents.

No schema of KubeRay is at hand: its fields are those of its API reference for ``ray.io/v1``.
"""

import re
import shlex
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from eventlink.cli import program
from eventlink.config import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "deploy" / "k8s" / "ray"
OBJECTS = [
    found
    for path in sorted(FOLDER.glob("*.yaml"))
    for found in yaml.safe_load_all(path.read_text())
]
[CLUSTER] = [found for found in OBJECTS if found["kind"] == "RayCluster"]
[NIGHTLY] = [found for found in OBJECTS if found["kind"] == "CronJob"]
[POLICY] = [found for found in OBJECTS if found["kind"] == "NetworkPolicy"]
HEAD, [WORKERS] = CLUSTER["spec"]["headGroupSpec"], CLUSTER["spec"]["workerGroupSpecs"]
TEMPLATES = {
    "head": HEAD["template"],
    "workers": WORKERS["template"],
    "driver": NIGHTLY["spec"]["jobTemplate"]["spec"]["template"],
}
KUBERNETES = ("1.27", kubernetes_validate.latest_version())
FIELDS = {
    "cluster": {"headGroupSpec", "workerGroupSpecs"},
    "head": {"rayStartParams", "template"},
    "workers": {
        "groupName",
        "replicas",
        "minReplicas",
        "maxReplicas",
        "rayStartParams",
        "template",
    },
}


def container(name: str) -> dict[str, Any]:
    [found] = TEMPLATES[name]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("found", [NIGHTLY, POLICY], ids=lambda found: str(found["kind"]))
def test_what_is_kubernetes_own_holds_to_its_schemas(found: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", ["head", "workers"])
def test_the_cluster_s_pods_hold_to_kubernetes_schemas(name: str, version: str) -> None:
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "template": TEMPLATES[name]}
    kubernetes_validate.validate(pod, version, strict=True)
    pod["template"] = {**TEMPLATES[name], "spex": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, version, strict=True)


def test_the_cluster_has_the_fields_that_kuberay_documents() -> None:
    assert (CLUSTER["apiVersion"], CLUSTER["kind"]) == ("ray.io/v1", "RayCluster")
    assert set(CLUSTER["spec"]) == FIELDS["cluster"]
    assert set(HEAD) == FIELDS["head"]
    assert set(WORKERS) == FIELDS["workers"]
    assert WORKERS["minReplicas"] <= WORKERS["replicas"] <= WORKERS["maxReplicas"]
    for group in (HEAD, WORKERS):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_only_the_workers_offer_cpus_and_as_many_as_they_ask_for() -> None:
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    asked = container("workers")["resources"]["requests"]["cpu"]
    assert WORKERS["rayStartParams"]["num-cpus"] == asked
    assert "--num-cpus=0" in container("driver")["args"][0]


def test_probes_ask_ports_that_are_open() -> None:
    for name, params in (("head", {}), ("workers", WORKERS["rayStartParams"])):
        [port] = container(name)["ports"]
        for probe in ("readinessProbe", "livenessProbe"):
            assert container(name)[probe]["tcpSocket"]["port"] == port["containerPort"]
        assert params.get("node-manager-port", "6379") == str(port["containerPort"])


def test_the_driver_finds_the_cluster_and_runs_our_command() -> None:
    [address] = [e["value"] for e in container("driver")["env"] if e["name"] == "RAY_ADDRESS"]
    assert address == f"{CLUSTER['metadata']['name']}-head-svc:6379"
    assert container("driver")["command"] == ["bash", "-ec"]
    join, run = container("driver")["args"][0].splitlines()
    assert shlex.split(join)[:3] == ["ray", "start", "--address=$RAY_ADDRESS"]
    command, name, *words = shlex.split(run.removeprefix("exec "))
    assert command == "eventlink"
    typer.main.get_command(program()).commands[name].make_context(name, words)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", TEMPLATES)
def test_pods_are_alike_confined_and_quiet(name: str) -> None:
    spec = TEMPLATES[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container(name)["image"] == container("driver")["image"]
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container(name)["env"]
    mounted = {mount["name"] for mount in container(name)["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_only_ray_s_own_pods_reach_ray() -> None:
    chosen = POLICY["spec"]["podSelector"]["matchLabels"]
    for template in TEMPLATES.values():
        assert template["metadata"]["labels"] == chosen
    assert POLICY["spec"]["ingress"] == [{"from": [{"podSelector": {"matchLabels": chosen}}]}]


def test_the_image_can_be_built_with_ray() -> None:
    dockerfile = (PROJECT_ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG EXTRAS=$", dockerfile, re.MULTILINE)
    assert "--editable .$EXTRAS" in dockerfile
    assert "--build-arg EXTRAS=[ray]" in (FOLDER / "cluster.yaml").read_text()


def test_the_files_that_operators_are_told_of_exist() -> None:
    text = (PROJECT_ROOT / "docs" / "scaling.md").read_text()
    told = re.findall(r"--filename (\S+)", text)
    assert {FOLDER / "cluster.yaml", FOLDER / "recompute.yaml"} <= {PROJECT_ROOT / f for f in told}
    assert all((PROJECT_ROOT / file).is_file() for file in told)

"""What is deployed fits the code: files exist, commands parse, settings are ours, schemas hold.

No container is started here.
"""

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from eventlink.cli import program
from eventlink.config import PROJECT_ROOT, Settings
from eventlink.web.health import PATIENCE
from eventlink.web.health import router as probes

DOCKERFILE = (PROJECT_ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
MANIFESTS = sorted((PROJECT_ROOT / "deploy" / "k8s").glob("*.yaml"))
OBJECTS = [
    (path.name, found) for path in MANIFESTS for found in yaml.safe_load_all(path.read_text())
]
PODS = [
    (found["kind"], template["spec"])
    for _, found in OBJECTS
    if (template := found.get("spec", {}).get("jobTemplate", found).get("spec", {}).get("template"))
]
KUBERNETES = ("1.27", "1.30", kubernetes_validate.latest_version())
"""The oldest that has all that is used, one between, and the newest whose schemas are at hand."""
ENVIRONMENT = {name.upper() for name in Settings.model_fields}
COMMANDS = typer.main.get_command(program()).commands  # type: ignore[attr-defined]


def parses(words: list[str]) -> None:
    """Check that a command is one of ours, down to its options' values."""
    if words[0] == "python":
        script = words[1]
        assert (PROJECT_ROOT / script).is_file()
        command = re.search(r'main\(\["(\w+)"', (PROJECT_ROOT / script).read_text())
        assert command is not None
        words = [command.group(1), *words[2:]]
    else:
        assert words[0] == "eventlink"
        words = words[1:]
    # Both raise if a word or value is not understood; neither runs anything.
    COMMANDS[words[0]].make_context(words[0], words[1:])


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, lines joined and comments left out."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    joined = lines.replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def images() -> set[str]:
    return {spec["containers"][0]["image"] for _, spec in PODS}


# The image --------------------------------------------------------------------------------------


def test_the_image_has_two_stages_and_does_not_run_as_root() -> None:
    found = instructions()
    assert [words.split()[2] for name, words in found if name == "FROM"] == ["build", "backend"]
    assert len({words.split()[0] for name, words in found if name == "FROM"}) == 1
    assert [words for name, words in found if name == "USER"] == ["10001"]
    assert "useradd --uid 10001" in DOCKERFILE


def test_the_image_is_of_a_python_that_the_project_allows() -> None:
    [version] = set(re.findall(r"FROM python:3\.(\d+)-", DOCKERFILE))
    assert int(version) >= 11


def test_what_is_copied_exists_and_is_let_through() -> None:
    ignored = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for name, words in instructions():
        if name == "COPY" and not words.startswith("--from"):
            for source in words.split()[:-1]:
                assert (PROJECT_ROOT / source).exists(), source
                assert f"!{source}" in ignored, source


def test_only_what_the_lock_names_is_installed() -> None:
    installing = [
        command
        for name, words in instructions()
        if name == "RUN"
        for command in words.split("&&")
        if " pip " in f" {command} ".replace("/pip ", " pip ")
    ]
    assert len(installing) == 3
    assert "--require-hashes" in installing[0]
    assert "--requirement requirements.lock" in installing[0]
    assert all("--no-index --find-links /wheels" in command for command in installing[1:])


def test_the_image_keeps_the_layout_that_migrations_are_found_by() -> None:
    copied = {tuple(words.split()) for name, words in instructions() if name == "COPY"}
    migrations = "backend/migrations"
    assert (migrations, migrations) in copied
    assert ("--from=build", "/app", "/app") in copied
    assert "--editable ." in DOCKERFILE
    assert (PROJECT_ROOT / migrations / "env.py").is_file()


def test_the_image_serves_and_looks_after_itself() -> None:
    by_name: dict[str, list[str]] = {}
    for name, words in instructions():
        by_name.setdefault(name, []).append(words)
    [command] = by_name["CMD"]
    parses(yaml.safe_load(command))
    [check] = by_name["HEALTHCHECK"]
    port = re.search(r"127\.0\.0\.1:(\d+)(/\w+)", check)
    assert port is not None
    assert port.group(1) == by_name["EXPOSE"][0]
    assert port.group(2) in {route.path for route in probes.routes}  # type: ignore[attr-defined]
    script = yaml.safe_load(check.partition("CMD ")[2])
    assert script[:2] == ["python", "-c"]
    compile(script[2], "the health check", "exec")


# Compose ----------------------------------------------------------------------------------------


def test_compose_has_the_four_services_of_one_image() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"postgres", "migrate", "backend", "worker"}
    ours = [services[name] for name in ("migrate", "backend", "worker")]
    assert len({service["image"] for service in ours}) == 1
    assert {service["build"]["target"] for service in ours} == {"backend"}


@pytest.mark.parametrize("service", ["migrate", "worker"])
def test_compose_s_commands_exist(service: str) -> None:
    parses(COMPOSE["services"][service]["command"])


def test_compose_starts_everything_in_order() -> None:
    services = COMPOSE["services"]
    after = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    healthy, done = "service_healthy", "service_completed_successfully"
    assert after["migrate"] == {"postgres": healthy}
    assert after["backend"] == after["worker"] == {"postgres": healthy, "migrate": done}
    assert "pg_isready" in services["postgres"]["healthcheck"]["test"][1]
    assert services["migrate"]["restart"] == "no"


def test_the_worker_s_probes_check_the_file_that_it_touches() -> None:
    [worker] = [
        spec["containers"][0] for _, spec in PODS if "worker" in spec["containers"][0]["command"]
    ]
    probe = worker["livenessProbe"]["exec"]["command"]
    service = COMPOSE["services"]["worker"]
    for command, check in (
        (worker["command"], probe),
        (service["command"], service["healthcheck"]["test"][1:]),
    ):
        parses(check)
        pulse = command[command.index("--pulse") + 1]
        assert check == ["eventlink", "check-worker", pulse]
        assert pulse.startswith("/tmp/")  # noqa: S108 (the only folder that can be written to)


def test_compose_keeps_the_database_and_publishes_only_to_this_machine() -> None:
    services = COMPOSE["services"]
    [volume] = services["postgres"]["volumes"]
    assert volume.split(":")[0] in COMPOSE["volumes"]
    assert "ports" not in services["postgres"]
    assert all(port.startswith("127.0.0.1:") for port in services["backend"]["ports"])


def test_compose_sets_only_settings_and_asks_only_for_what_the_example_has() -> None:
    example = set(examples())
    for name in ("migrate", "backend", "worker"):
        assert set(COMPOSE["services"][name]["environment"]) <= ENVIRONMENT
        assert COMPOSE["services"][name]["env_file"] == ".env"
    asked = set(re.findall(r"\$\{([A-Z_]+)", (PROJECT_ROOT / "docker-compose.yml").read_text()))
    assert asked <= example | {"EVENTLINK_REVISION"}


# Settings ---------------------------------------------------------------------------------------


def examples() -> dict[str, tuple[str, str]]:
    """Read .env.example: name to the comment above it and the value."""
    text = (PROJECT_ROOT / ".env.example").read_text()
    found = re.findall(r"((?:^# .*\n)*?)^(?:# )?([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE)
    return {
        name: (" ".join(line.removeprefix("# ") for line in told.splitlines()), value)
        for told, name, value in found
    }


def test_the_example_has_every_setting_with_its_meaning_and_default() -> None:
    found = examples()
    assert set(found) == ENVIRONMENT | {"POSTGRES_PASSWORD"}
    for name, field in Settings.model_fields.items():
        told, value = found[name.upper()]
        assert field.description is not None
        assert field.description in told
        if isinstance(field.default, Path):
            assert PROJECT_ROOT / value == field.default
        elif field.default in {None, ""}:
            assert value == ""
        else:
            assert value == str(field.default).lower()


def test_the_example_holds_no_secret() -> None:
    assert {
        examples()[name][1] for name in ("SECRET_KEY", "METRICS_TOKEN", "POSTGRES_PASSWORD")
    } == {""}


# Kubernetes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "found", [found for _, found in OBJECTS], ids=[f"{file}-{one['kind']}" for file, one in OBJECTS]
)
def test_manifests_hold_to_kubernetes_schemas(found: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(found, version, strict=True)


def test_a_manifest_with_a_misspelt_field_would_be_noticed() -> None:
    wrong = yaml.safe_load(yaml.safe_dump(OBJECTS[0][1]))
    wrong["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


def test_everything_is_deployed() -> None:
    kinds = Counter(found["kind"] for _, found in OBJECTS)
    assert kinds == {
        "ConfigMap": 1,
        "CronJob": 1,
        "Deployment": 2,
        "Job": 1,
        "PodDisruptionBudget": 2,
        "Secret": 1,
        "Service": 1,
        "ServiceAccount": 1,
    }
    assert len(images()) == 1


@pytest.mark.parametrize(("kind", "spec"), PODS)
def test_pods_run_our_commands_without_privileges(kind: str, spec: dict[str, Any]) -> None:
    del kind
    [container] = spec["containers"]
    parses(container["command"])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert f"USER {spec['securityContext']['runAsUser']}" in DOCKERFILE
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    assert {"requests", "limits"} <= set(container["resources"])
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize(("kind", "spec"), PODS)
def test_pods_are_configured_by_settings_that_exist(kind: str, spec: dict[str, Any]) -> None:
    del kind
    sources = {
        (found["kind"], found["metadata"]["name"]): found.get("data", found.get("stringData"))
        for _, found in OBJECTS
    }
    for source in spec["containers"][0]["envFrom"]:
        [(reference, named)] = source.items()
        data = sources[
            reference.replace("configMapRef", "ConfigMap").replace("secretRef", "Secret"),
            named["name"],
        ]
        assert set(data) <= ENVIRONMENT
    account = ("ServiceAccount", spec["serviceAccountName"])
    assert account in sources


def test_selectors_find_their_pods() -> None:
    labels = {
        found["metadata"]["name"]: found["spec"]["template"]["metadata"]["labels"]
        for _, found in OBJECTS
        if found["kind"] == "Deployment"
    }
    for _, found in OBJECTS:
        if found["kind"] in {"Deployment", "PodDisruptionBudget"}:
            assert found["spec"]["selector"]["matchLabels"] == labels[found["metadata"]["name"]]
        if found["kind"] == "Service":
            assert found["spec"]["selector"] == labels[found["metadata"]["name"]]


def test_probes_ask_routes_that_exist_and_readiness_leaves_time_for_its_answer() -> None:
    [container] = [spec["containers"][0] for _, spec in PODS if "ports" in spec["containers"][0]]
    paths = {route.path for route in probes.routes}  # type: ignore[attr-defined]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["readinessProbe"]["timeoutSeconds"] > PATIENCE
    command = container["command"]
    assert command[command.index("--port") + 1] == str(container["ports"][0]["containerPort"])


def test_the_night_s_retrain_is_queued_by_the_script() -> None:
    [spec] = [found["spec"] for _, found in OBJECTS if found["kind"] == "CronJob"]
    assert spec["concurrencyPolicy"] == "Forbid"
    container = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert shlex.join(container["command"]) == (
        "python backend/scripts/enqueue_scheduled_jobs.py --retrain-ml --top-n 50"
    )


# What operators are told --------------------------------------------------------------------------


def test_the_metrics_that_operators_are_told_of_exist() -> None:
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    code = (PROJECT_ROOT / "backend" / "eventlink" / "web" / "telemetry.py").read_text()
    given = set(re.findall(r'"(eventlink_\w+)"', code))
    told = set(re.findall(r"\b(eventlink_\w+)", text))
    assert told
    for name in told:
        base = re.sub(r"_(total|bucket|count|sum|info)$", "", name)
        assert name in given or base in given, name
    for name in given:
        assert name in text, name


def test_the_files_that_operators_are_told_of_exist() -> None:
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    for file in re.findall(r"--filename (\S+)", text):
        assert (PROJECT_ROOT / file).is_file(), file

"""The files to deploy with: each is valid by the tool that reads it, and says of drain and probes what the code does.

No container engine runs here, so that images are neither built nor pulled.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from prismq.cli.main import main
from prismq.config import WorkerConfig, load_settings
from prismq.config.models import Settings
from prismq.config.server import ServerConfig
from prismq.domain.account import Role

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
FOREIGN = ("keda.sh/", "kustomize.config.k8s.io/")  # kinds that Kubernetes itself has no schema of
STOP_GRACE_S = 5.0


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def every_document() -> list[dict[str, Any]]:
    return [one for path in MANIFESTS for one in documents(path)]


def of_kind(kind: str, name: str | None = None) -> list[dict[str, Any]]:
    return [one for one in every_document() if one["kind"] == kind and name in (None, one["metadata"]["name"])]


def known_variables() -> set[str]:
    return {
        variable
        for model in (Settings, WorkerConfig, ServerConfig)
        for key in model.model_fields
        for variable in model.env_variables(key)
    }


# -- Kubernetes


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", ["1.33", "1.37"])
def test_manifests_hold_to_the_schemas_of_kubernetes(path: Path, version: str) -> None:
    checked = 0
    for one in documents(path):
        assert "\t" not in str(one)
        if one["apiVersion"].startswith(FOREIGN):
            continue
        kubernetes_validate.validate(one, version, strict=True)
        checked += 1
    assert checked or path.stem == "kustomization"


def test_a_manifest_with_a_slip_would_be_found() -> None:
    [deployment] = of_kind("Deployment", "prismq-worker")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.37", strict=True)


def test_selectors_find_the_pods_that_they_are_for() -> None:
    pods = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in of_kind("Deployment")}
    for one in of_kind("PodDisruptionBudget"):
        wanted = one["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= pods[one["metadata"]["name"]].items()
    for one in of_kind("NetworkPolicy"):
        assert one["spec"]["podSelector"]["matchLabels"].items() <= pods[one["metadata"]["name"]].items()
    [service] = of_kind("Service")
    assert service["spec"]["selector"].items() <= pods["prismq-server"].items()
    for one in [*of_kind("HorizontalPodAutoscaler"), *of_kind("ScaledObject")]:
        assert one["spec"]["scaleTargetRef"]["name"] in pods


def test_pods_have_probes_and_may_do_little() -> None:
    for deployment in of_kind("Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        [container] = spec["containers"]
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] in ports
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert "memory" in container["resources"]["limits"]


def test_the_probe_port_is_the_one_that_workers_are_told() -> None:
    [config] = of_kind("ConfigMap")
    [container] = of_kind("Deployment", "prismq-worker")[0]["spec"]["template"]["spec"]["containers"]

    assert str(container["ports"][0]["containerPort"]) == config["data"]["PRISMQ_WORKER_PROBE_PORT"]
    assert config["data"]["PRISMQ_WORKER_PROCESSES"] == "1"


def test_a_pod_gets_the_time_that_its_drain_may_take() -> None:
    [config] = of_kind("ConfigMap")
    spec = of_kind("Deployment", "prismq-worker")[0]["spec"]["template"]["spec"]
    hook = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
    waits_s = int(re.search(r"--timeout (\d+)s", hook)[1])  # type: ignore[index]
    grace_s = float(config["data"]["PRISMQ_WORKER_SHUTDOWN_GRACE_SECONDS"])

    assert spec["terminationGracePeriodSeconds"] >= waits_s + grace_s + 2 * STOP_GRACE_S + 10
    assert main(["workers", "drain", "--help"]) == 0


def test_both_autoscalers_divide_by_the_slots_of_a_pod_and_read_what_is_served() -> None:
    [config] = of_kind("ConfigMap")
    [hpa], [keda] = of_kind("HorizontalPodAutoscaler"), of_kind("ScaledObject")
    [trigger] = keda["spec"]["triggers"]
    slots = config["data"]["PRISMQ_WORKER_CONCURRENCY"]

    assert trigger["metadata"]["targetValue"] == slots
    assert hpa["spec"]["metrics"][0]["external"]["target"]["averageValue"] == slots
    assert trigger["metadata"]["url"].endswith("/api/v1/scaling/slots")
    from prismq.server.routes.scaling import Wanted

    assert trigger["metadata"]["valueLocation"] in Wanted.model_fields


# -- versions and variables


def images() -> list[str]:
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text(encoding="utf-8"))
    found = [one["image"] for one in compose["services"].values()]
    for one in every_document():
        spec = one.get("spec", {}).get("template", {}).get("spec", {}) if isinstance(one.get("spec"), dict) else {}
        found += [container["image"] for container in spec.get("containers", ())]
    text = (DEPLOY / "container/Containerfile").read_text(encoding="utf-8")
    base = re.search(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)
    assert base is not None
    return [*found, f"python:{base[1]}"]


@pytest.mark.parametrize("image", sorted(set(images())))
def test_an_image_has_a_whole_version(image: str) -> None:
    name, _, tag = image.partition(":")

    assert name
    assert re.match(r"v?\d+\.\d+(\.\d+)?(-|$)", tag), image


def test_every_variable_of_ours_is_a_setting_and_its_value_one_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text(encoding="utf-8"))
    sets: list[dict[str, str]] = [one["data"] for one in of_kind("ConfigMap")]
    sets += [
        {**compose["x-prismq"]["environment"], **one.get("environment", {})} for one in compose["services"].values()
    ]
    env_file = (DEPLOY / "systemd/prismq.env").read_text(encoding="utf-8")
    sets.append(dict(re.findall(r"^(\w+)=(.*)$", env_file, re.MULTILINE)))
    units = "".join(path.read_text(encoding="utf-8") for path in UNITS)
    sets.append(dict(re.findall(r"^Environment=(\w+)=(.*)$", units, re.MULTILINE)))

    for given in sets:
        ours = {key: value for key, value in given.items() if key.startswith("PRISMQ_")}
        assert set(ours) <= known_variables(), set(ours) - known_variables()
        with monkeypatch.context() as patch:
            for key in known_variables():
                patch.delenv(key, raising=False)
            for key, value in ours.items():
                patch.setenv(key, re.sub(r"\$\{(?:\w+):-(\w+)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "x", value)))
            patch.chdir(DEPLOY)
            load_settings()


# -- the compose file


@pytest.fixture
def composed(tmp_path: Path) -> dict[str, Any]:
    """What podman-compose makes of the file. It asks podman for its version even then, so there is one that answers."""
    engine = tmp_path / "podman"
    engine.write_text("#!/bin/sh\necho 'podman version 5.4.0'\n")
    engine.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "podman_compose", "--file", str(DEPLOY / "compose/compose.yaml"), "config"],
        env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin", "POSTGRES_PASSWORD": "p", "GRAFANA_PASSWORD": "g"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def test_the_compose_file_is_read_by_podman_compose(composed: dict[str, Any]) -> None:
    services = composed["services"]

    assert set(services) == {
        "postgres", "redis", "setup", "server", "worker", "prometheus", "alertmanager", "grafana", "collector"
    }  # fmt: skip
    environment = services["worker"]["environment"]
    environment = environment if isinstance(environment, dict) else dict(one.split("=", 1) for one in environment)
    assert environment["PRISMQ_DATABASE_URL"] == "postgresql://prismq:p@postgres:5432/prismq"


def test_what_services_wait_for_and_mount_is_there(composed: dict[str, Any]) -> None:
    services, volumes = composed["services"], composed["volumes"]
    for name, one in services.items():
        waits = one.get("depends_on", {})
        assert set(waits) <= set(services), name
        for other, how in waits.items() if isinstance(waits, dict) else ():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], other
        for mount in one.get("volumes", ()):
            source = mount.split(":")[0] if isinstance(mount, str) else mount["source"]
            if source.startswith("./kit"):
                continue  # made by `prismq kit`
            assert (DEPLOY / "compose" / source).exists() if source.startswith(".") else source in volumes, source


def test_only_loopback_is_published_and_the_worker_gets_the_time_to_drain(composed: dict[str, Any]) -> None:
    for one in composed["services"].values():
        for port in one.get("ports", ()):
            assert str(port).startswith("127.0.0.1:"), port
    worker = composed["services"]["worker"]
    assert float(worker["stop_grace_period"].rstrip("s")) >= 30 + 2 * STOP_GRACE_S + 10


def test_a_stack_without_passwords_is_refused(tmp_path: Path) -> None:
    text = (DEPLOY / "compose/compose.yaml").read_text(encoding="utf-8")

    assert "${POSTGRES_PASSWORD:?" in text
    assert "${GRAFANA_PASSWORD:?" in text
    for line in (DEPLOY / "compose/.env.example").read_text(encoding="utf-8").splitlines():
        if "PASSWORD" in line:
            assert line.endswith("="), line


def test_the_example_application_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMQ_QUEUE_DB_PATH", str(tmp_path / "queue.db"))
    from prismq.worker.loading import load

    app = load(f"{DEPLOY / 'compose/app/tasks.py'}:q", None)

    assert set(app.handlers) == {"tasks.greet"}


# -- the job that sets a database up


@pytest.mark.skipif(shutil.which("sh") is None, reason="a shell script for containers; Windows has no sh")
def test_setup_makes_the_tokens_once_and_brings_them_back_when_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "queue.db"
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    assert main(["init", str(path)]) == 0
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PRISMQ_QUEUE_DB_PATH": str(path),
    }

    def setup() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(DEPLOY / "container/setup.sh"), str(secrets), "prismq:viewer", "admin:admin"],
            env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip

    setup()
    first = {file.name: file.read_text() for file in secrets.iterdir()}
    setup()
    again = {file.name: file.read_text() for file in secrets.iterdir()}
    (secrets / "prismq.token").unlink()
    setup()
    renewed = {file.name: file.read_text() for file in secrets.iterdir()}

    assert set(first) == {"prismq.token", "admin.token"}
    assert first == again
    assert renewed["admin.token"] == first["admin.token"]
    assert renewed["prismq.token"] != first["prismq.token"]
    assert all(text.strip() and len(text.split()) == 1 for text in renewed.values())
    from prismq import PrismQ

    with PrismQ(path) as q:
        assert {one.name: one.role for one in q.store.accounts.tokens()} == {
            "prismq": Role.VIEWER, "admin": Role.ADMIN
        }  # fmt: skip


# -- systemd


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="a tool of systemd, which only Linux has")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_are_understood_by_systemd(unit: Path, tmp_path: Path) -> None:
    """The program is put where this machine has it; all else is checked as it is."""
    text = unit.read_text(encoding="utf-8")
    program = Path(sys.executable).with_name("prismq")
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/prismq/venv/bin/prismq", str(program)))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )

    ours = [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="a tool of systemd, which only Linux has")
def test_a_unit_with_a_slip_would_be_found(tmp_path: Path) -> None:
    copy = tmp_path / "slip.service"
    copy.write_text(f"[Service]\nExecStart={sys.executable}\nKilMode=mixed\n")

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )

    assert "KilMode" in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="a tool of systemd, which only Linux has")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_are_judged_well_protected(unit: Path, tmp_path: Path) -> None:
    """systemd's own score of exposure: 0 is none, 10 is all; below 3 it says OK."""
    shutil.copy(unit, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", str(tmp_path / unit.name)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-600:] + done.stderr


def test_a_unit_leaves_the_worker_the_time_to_drain() -> None:
    text = (DEPLOY / "systemd/prismq-worker.service").read_text(encoding="utf-8")
    env = (DEPLOY / "systemd/prismq.env").read_text(encoding="utf-8")
    grace_s = float(re.search(r"SHUTDOWN_GRACE_SECONDS=(\d+)", env)[1])  # type: ignore[index]
    stops_s = float(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1])  # type: ignore[index]

    assert "KillMode=mixed" in text
    assert stops_s >= grace_s + 2 * STOP_GRACE_S + 10


@pytest.mark.skipif(shutil.which("sh") is None, reason="a shell script; Windows has no sh")
def test_the_kit_is_made_for_the_stack(tmp_path: Path, composed: dict[str, Any]) -> None:
    shutil.copy(DEPLOY / "compose/kit.sh", tmp_path)
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", str(tmp_path / "kit.sh")], env=env, capture_output=True, timeout=60, check=True)
    read = {path.name: path for path in (tmp_path / "kit").rglob("*") if path.is_file()}

    prometheus = yaml.safe_load(read["prometheus.yml"].read_text(encoding="utf-8"))
    [job] = [one for one in prometheus["scrape_configs"] if "authorization" in one]
    assert job["static_configs"][0]["targets"] == ["server:8000"]
    assert job["authorization"]["credentials_file"] == "/secrets/prismq.token"
    assert prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["alertmanager:9093"]
    mounts = dict(str(one).split(":")[:2] for one in composed["services"]["grafana"]["volumes"])
    dashboards = yaml.safe_load((tmp_path / "kit/grafana/provisioning/dashboards/prismq.yaml").read_text())
    assert dashboards["providers"][0]["options"]["path"] == mounts["./kit/grafana/dashboards"]
    sources = yaml.safe_load((tmp_path / "kit/grafana/provisioning/datasources/prismq.yaml").read_text())
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    for service, folder in (("prometheus", "prometheus"), ("alertmanager", "prometheus")):
        file = next(one for one in composed["services"][service]["command"] if one.startswith("--config.file="))
        assert (tmp_path / "kit" / folder / Path(file).name).is_file()

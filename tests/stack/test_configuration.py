"""The files of the operations pack, each read by the program it is for."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import LAYERS, PROMETHEUS_FLAGS
from stack_build import HERE

COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
COMBINATIONS = [chosen for many in range(len(LAYERS) + 1) for chosen in itertools.combinations(LAYERS, many)]


def _run(*command: str | Path, folder: Path = HERE) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("layers", COMBINATIONS, ids="+".join)
def test_the_collector_accepts_every_combination_of_layers(binaries: Path, layers: tuple[str, ...]):
    """The Collector validates its configuration with any layers on top, in any number."""
    configs = [f"--config={HERE / 'collector' / name}.yaml" for name in ("otelcol", *layers)]
    _run(binaries / "otelcol", "validate", *configs)


def test_layers_keep_out_of_each_others_lists():
    """Lists replace each other: no two layers set the same list, so that they go together in any order."""
    lists = [
        (pipeline, key)
        for layer in LAYERS
        for pipeline, what in _yaml(HERE / "collector" / f"{layer}.yaml")["service"]["pipelines"].items()
        for key in what
    ]
    assert sorted(lists) == sorted(set(lists))


def test_every_layer_starts_with_the_memory_limiter():
    """Where a layer replaces the processors of a pipeline that receives, the memory limiter stays the first."""
    received = [
        what["processors"][0]
        for name in ("otelcol", *LAYERS)
        for pipeline, what in _yaml(HERE / "collector" / f"{name}.yaml")["service"]["pipelines"].items()
        if pipeline != "traces/export" and "processors" in what
    ]
    assert set(received) == {"memory_limiter"}


def test_jaeger_accepts_its_configuration(binaries: Path):
    """Jaeger validates its configuration."""
    _run(binaries / "jaeger", "validate", f"--config={HERE / 'jaeger/jaeger.yaml'}")


def test_prometheus_accepts_its_configuration(binaries: Path):
    """The checker finds nothing wrong with the configuration, its targets and the rules beside it."""
    _run(binaries / "promtool", "check", "config", HERE / "prometheus/prometheus.yaml")


def test_alertmanager_accepts_its_configuration(binaries: Path):
    """The checker finds nothing wrong, and pages what is critical."""
    config = f"--config.file={HERE / 'alertmanager/alertmanager.yaml'}"
    _run(binaries / "amtool", "check-config", HERE / "alertmanager/alertmanager.yaml")
    routes = [
        _run(binaries / "amtool", "config", "routes", "test", config, f"severity={it}")
        for it in ("critical", "warning")
    ]
    assert routes == ["pager\n", "tickets\n"]


def test_everything_listens_on_loopback_unless_told_otherwise():
    """Without a variable, no configuration file of Collector and Jaeger listens beyond this machine."""
    files = [*(HERE / "collector").glob("*.yaml"), HERE / "jaeger/jaeger.yaml"]
    text = "".join(path.read_text() for path in files)
    assert {default.split(":")[0] for default in re.findall(r"-(?:http://)?([\w.]+:\d+)\}", text)} == {"127.0.0.1"}
    assert "0.0.0.0" not in text


def test_the_compose_file_fits_its_schema():
    """compose.yaml is what the Compose specification allows."""
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    _run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", HERE / "compose.yaml")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_bounded_and_without_rights(name: str):
    """Image with a full version, ports on loopback, limits of memory and processor, read-only, not root."""
    service = SERVICES[name]
    assert re.fullmatch(r"[\w.-]+\.\w+/[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []
    assert service["mem_limit"]
    assert service["cpus"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert name == "permissions" or not service["user"].startswith("0")
    left = (service["mem_limit"], service.get("environment", {}).get("GOMEMLIMIT"))
    assert left[1] is None or _bytes(left[1]) <= 0.85 * _bytes(left[0])


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "volumes" in service])
def test_what_a_service_mounts_is_there(name: str):
    """Folders that are mounted exist here, read-only; everything else is a declared volume."""
    for mount in SERVICES[name]["volumes"]:
        source, *rest = mount.split(":")
        if source.startswith("."):
            assert rest[-1] == "ro"
            assert (HERE / source).is_dir(), source
        else:
            assert source in COMPOSE["volumes"]
    assert (HERE / "alertmanager" / "webhook-url").read_text().startswith("http")


def test_what_is_asked_for_health_can_answer():
    """Services with a health check; the others say in the file why they have none."""
    assert {name for name, service in SERVICES.items() if "healthcheck" in service} == {
        "prometheus",
        "alertmanager",
        "grafana",
    }


def test_compose_and_stack_start_prometheus_alike():
    """Both start Prometheus with the same features and retention."""
    assert set(SERVICES["prometheus"]["command"]) >= set(PROMETHEUS_FLAGS)


def test_compose_names_layers_that_exist():
    """The profile `full` adds the layers for its servers, and they are in the folder that is mounted."""
    text = (HERE / "full.env").read_text()
    assert re.findall(r"/etc/otelcol/([\w-]+)\.yaml", text) == ["loki", "tempo"]
    assert {path.stem for path in (HERE / "collector").glob("*.yaml")} == {"otelcol", *LAYERS}


def test_the_manifest_lists_what_the_configuration_uses():
    """Every component of the builder's manifest is used by some layer, and of the version that is built."""
    manifest = _yaml(HERE / "collector-builder.yaml")
    modules = (HERE / "collector" / "go.mod").read_text()
    listed = [it["gomod"] for kind, many in manifest.items() if kind != "dist" for it in many]
    assert [it for it in listed if it not in modules] == []
    used = {
        f"{kind}/{name.split('/')[0].replace('_', '')}"
        for layer in ("otelcol", *LAYERS)
        for kind in ("receivers", "processors", "exporters", "connectors", "extensions")
        for name in _yaml(HERE / "collector" / f"{layer}.yaml").get(kind, {})
    }
    there = {
        f"{kind}/{_type(it['gomod'], kind)}"
        for kind, many in manifest.items()
        if kind not in {"dist", "providers"}
        for it in many
    }
    assert used == there


def _type(gomod: str, kind: str) -> str:
    name = gomod.split(maxsplit=1)[0].rsplit("/", 1)[-1].removesuffix(kind.removesuffix("s"))
    return {"otlp": "otlpgrpc"}.get(name, name) if kind == "exporters" else name


def _yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def _bytes(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([a-zA-Z]+)", text).groups()
    return int(number) * {"m": 2**20, "MiB": 2**20, "g": 2**30, "GiB": 2**30}[unit]

"""The Helm values: what the chart makes of them, and the Jobs that the real launcher creates."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

from pipelines.runs.queue import open_queue
from pipelines.runs.worker import WorkerTask
from resources.clock import unique_id
from tests.support.helm_chart import (
    list_unknown_keys,
    read_values,
    render_container_context,
    render_deployment,
    render_instance,
)
from tests.support.paths import ROOT

pytestmark = pytest.mark.deploy
validate = pytest.importorskip("kubernetes_validate", reason="pip install -e '.[deploy-check]'")
from tests.support.kubernetes_api import run_kubernetes_api  # noqa: E402 (needs kubernetes_validate)

VALUES = read_values()
SERVERS = {
    "webserver": VALUES["dagsterWebserver"],
    "daemon": VALUES["dagsterDaemon"],
    "code": VALUES["dagster-user-deployments"]["deployments"][0],
}


def test_the_chart_knows_every_key() -> None:
    assert list_unknown_keys(VALUES) == []


def test_a_misspelled_key_is_found() -> None:
    values = json.loads(json.dumps(VALUES))
    values["dagsterDaemon"]["livenesProbe"] = values["dagsterDaemon"].pop("livenessProbe")

    assert list_unknown_keys(values) == ["dagsterDaemon.livenesProbe"]


@pytest.mark.parametrize("name", SERVERS)
def test_the_servers_are_valid_and_unprivileged(name: str) -> None:
    manifest = render_deployment(name, SERVERS[name], VALUES)

    validate.validate(manifest, validate.latest_version(), strict=True)
    assert SERVERS[name]["podSecurityContext"]["runAsNonRoot"]
    assert SERVERS[name]["image"] == VALUES["dagsterWebserver"]["image"]


def test_commands_in_the_pod_of_the_code_server_can_open_the_instance_of_the_image() -> None:
    """The chart gives this pod only the password, and mounts no dagster.yaml."""
    needed = set(re.findall(r"env: (\w+)", (ROOT / "deploy" / "dagster.yaml").read_text()))
    values = {variable["name"]: variable["value"] for variable in SERVERS["code"]["env"]}
    database = VALUES["postgresql"]

    assert needed == {*values, "DAGSTER_PG_PASSWORD"}
    assert values == {
        "DAGSTER_PG_HOST": database["postgresqlHost"],
        "DAGSTER_PG_DB": database["postgresqlDatabase"],
        "DAGSTER_PG_USERNAME": database["postgresqlUsername"],
    }


def test_a_wrong_probe_is_found() -> None:
    server = SERVERS["daemon"] | {"livenessProbe": {"exec": {"command": "dagster-daemon liveness-check"}}}

    with pytest.raises(validate.ValidationError):
        validate.validate(render_deployment("daemon", server, VALUES), validate.latest_version(), strict=True)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The Job of a run of one asset, as the launcher sent it to the Kubernetes API."""
    monkeypatch.setenv("LEDGER_LAKE__URI", str(tmp_path / "lake"))
    image = VALUES["dagsterWebserver"]["image"]
    target = InProcessWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(
            LoadableTargetOrigin(executable_path=sys.executable, module_name="pipelines.definitions"),
            container_image=f"{image['repository']}:{image['tag']}",
            container_context=render_container_context(VALUES),
            location_name="lookout-ledger",
        )
    )
    run_id = unique_id()
    with run_kubernetes_api(tmp_path) as (api, kubeconfig):
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(render_instance(VALUES, str(kubeconfig))))
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            with open_queue(instance, target) as queue:
                queue.submit(
                    WorkerTask(run_id, ["execution_health"], {"dagster/partition": "2026-10-06"}, {})
                )
            with WorkspaceProcessContext(instance, target) as context:
                instance.launch_run(run_id, context.create_request_context())
        (manifest,) = api.manifests.values()
        yield manifest


# Dagster reads its own deprecated property when it loads a location in this process
@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning")
def test_the_job_of_a_run_has_the_settings_of_the_code_server(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert container["image"] == "registry.example.com/lookout-ledger:0.1.0"
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert {"secretRef": {"name": "lookout-ledger"}} in container["envFrom"]
    assert {"name": "settings", "mountPath": "/etc/lookout-ledger", "readOnly": True} in container[
        "volumeMounts"
    ]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["serviceAccountName"] == "lookout-ledger"
    assert pod["restartPolicy"] == "Never"
    assert job["spec"]["backoffLimit"] == 0

"""What Dagster's Helm chart 1.13 makes of deploy/helm/values.yaml, for the parts that the values set.

Written after the chart's templates; the chart itself is not part of this repository.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from tests.support.paths import ROOT

Values = dict[str, Any]

VALUES = ROOT / "deploy" / "helm" / "values.yaml"

_IMAGE = {"repository", "tag", "pullPolicy"}
_POD = {"podSecurityContext", "securityContext", "resources", "nodeSelector", "affinity", "tolerations"}
_PROBES = {"livenessProbe", "readinessProbe", "startupProbe"}
_SERVER = {*_POD, *_PROBES, "image", "env", "envConfigMaps", "envSecrets", "volumes", "volumeMounts"}
_SERVER |= {"annotations", "labels", "deploymentLabels"}
KEYS: dict[str, set[str]] = {
    "": {
        "global",
        "dagsterWebserver",
        "dagsterDaemon",
        "dagster-user-deployments",
        "runLauncher",
        "postgresql",
        "generatePostgresqlPasswordSecret",
        "serviceAccount",
        "additionalInstanceConfig",
        "retention",
        "telemetry",
        "computeLogManager",
        "imagePullSecrets",
        "ingress",
    },
    "global": {"postgresqlSecretName", "dagsterHome", "serviceAccountName", "celeryConfigSecretName"},
    "dagsterWebserver": {*_SERVER, "replicaCount", "service", "pathPrefix", "enableReadOnly", "workspace"},
    "dagsterWebserver.image": _IMAGE,
    "dagsterWebserver.service": {"type", "port", "annotations"},
    "dagsterDaemon": {
        *_SERVER,
        "enabled",
        "runCoordinator",
        "runMonitoring",
        "runRetries",
        "heartbeatTolerance",
    },
    "dagsterDaemon.image": _IMAGE,
    "dagsterDaemon.runCoordinator": {"enabled", "type", "config"},
    "dagster-user-deployments": {"enabled", "enableSubchart", "imagePullSecrets", "deployments"},
    "deployment": {
        *_SERVER,
        "name",
        "port",
        "dagsterApiGrpcArgs",
        "codeServerArgs",
        "includeConfigInLaunchedRuns",
        "service",
    },
    "deployment.image": _IMAGE,
    "runLauncher": {"type", "config"},
    "runLauncher.config": {"k8sRunLauncher"},
    "runLauncher.config.k8sRunLauncher": {
        "image",
        "imagePullPolicy",
        "jobNamespace",
        "loadInclusterConfig",
        "kubeconfigFile",
        "envConfigMaps",
        "envSecrets",
        "envVars",
        "volumeMounts",
        "volumes",
        "labels",
        "resources",
        "schedulerName",
        "securityContext",
        "failPodOnRunFailure",
        "runK8sConfig",
    },
    "runLauncher.config.k8sRunLauncher.runK8sConfig": {
        "containerConfig",
        "podSpecConfig",
        "podTemplateSpecMetadata",
        "jobSpecConfig",
        "jobMetadata",
    },
    "postgresql": {
        "enabled",
        "image",
        "postgresqlHost",
        "postgresqlUsername",
        "postgresqlPassword",
        "postgresqlDatabase",
        "postgresqlParams",
        "postgresqlScheme",
        "service",
    },
    "serviceAccount": {"create", "name", "annotations"},
    "retention": {"enabled", "schedule", "sensor", "autoMaterialize"},
    "retention.sensor": {"purgeAfterDays"},
    "retention.sensor.purgeAfterDays": {"skipped", "success", "failure", "started"},
}
"""The keys that the chart's schema allows where it forbids others, by path."""


def read_values() -> Values:
    """Return the values that this repository ships."""
    values: Values = yaml.safe_load(VALUES.read_text())
    return values


def list_unknown_keys(values: Values) -> list[str]:
    """Return the paths of keys that the chart's schema does not have."""
    sections = {path: _get(values, path) for path in KEYS if not path.startswith("deployment")}
    for deployment in values["dagster-user-deployments"]["deployments"]:
        sections |= {"deployment": deployment, "deployment.image": deployment["image"]}
    return sorted(
        f"{path}.{key}" for path, section in sections.items() for key in section.keys() - KEYS[path]
    )


def render_instance(values: Values, kubeconfig: str) -> Values:
    """Return the sections of dagster.yaml that contain the launcher and the additional configuration."""
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    run = launcher["runK8sConfig"]
    managers = {"NoOpComputeLogManager": "dagster._core.storage.noop_compute_log_manager"}
    log_manager = values["computeLogManager"]["type"]
    return {
        "compute_logs": {"module": managers[log_manager], "class": log_manager},
        "run_launcher": {
            "module": "dagster_k8s",
            "class": "K8sRunLauncher",
            "config": {
                "load_incluster_config": False,  # the chart: True; the tests have no cluster
                "kubeconfig_file": kubeconfig,
                "job_namespace": "ledger",
                "image_pull_policy": launcher["imagePullPolicy"],
                "service_account_name": values["global"]["serviceAccountName"],
                "dagster_home": "/opt/dagster/dagster_home",
                "instance_config_map": "dagster-instance",
                "postgres_password_secret": "dagster-postgresql-secret",
                "env_config_maps": ["dagster-pipeline-env"],
                "security_context": launcher["securityContext"],
                "run_k8s_config": {
                    "container_config": run["containerConfig"],
                    "pod_spec_config": run["podSpecConfig"],
                    "job_spec_config": run["jobSpecConfig"],
                },
            },
        },
        **values["additionalInstanceConfig"],
    }


def render_container_context(values: Values) -> Values:
    """Return the context that the code server gives to runs (`includeConfigInLaunchedRuns`)."""
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    return {
        "k8s": {
            "image_pull_policy": deployment["image"]["pullPolicy"],
            "env_config_maps": ["dagster-lookout-ledger-user-env"],
            "env_secrets": [secret["name"] for secret in deployment["envSecrets"]],
            "volumes": deployment["volumes"],
            "volume_mounts": deployment["volumeMounts"],
            "env": deployment["env"],
            "service_account_name": values["global"]["serviceAccountName"],
        }
    }


def render_deployment(name: str, server: Values, values: Values) -> Values:
    """Return the Deployment of a server, with all its parts that the values set."""
    image = server["image"]
    container = {
        "name": name,
        "image": f"{image['repository']}:{image['tag']}",
        "imagePullPolicy": image["pullPolicy"],
        "securityContext": server["securityContext"],
        "resources": server["resources"],
        "env": server.get("env", []),
        "envFrom": [{"secretRef": secret} for secret in server.get("envSecrets", ())],
        "volumeMounts": server.get("volumeMounts", []),
        **{probe: server[probe] for probe in _PROBES & server.keys()},
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": server.get("replicaCount", 1),
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": values["global"]["serviceAccountName"],
                    "securityContext": server["podSecurityContext"],
                    "containers": [container],
                    "volumes": server.get("volumes", []),
                },
            },
        },
    }


def _get(values: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for key in filter(None, path.split(".")):
        values = values.get(key, {})
    return values

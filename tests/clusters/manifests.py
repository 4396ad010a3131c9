"""What must hold of the manifests in clusters/kubernetes/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.clusters.deployment import File, walk

SCHEMA = yaml.safe_load((Path(__file__).parent / "kuberay.yaml").read_text())


def fits_the_schema(file: File) -> None:
    from jsonschema import Draft202012Validator

    errors = list(Draft202012Validator(SCHEMA).iter_errors(file.content))
    assert not errors, errors[0].context or errors[0].message


def pods(file: File) -> Iterator[dict[str, Any]]:
    """The pods that a manifest describes."""
    for key, value in walk(file.content):
        if key in ("template", "submitterPodTemplate"):
            yield value["spec"]


def containers(file: File) -> Iterator[dict[str, Any]]:
    """All containers, with the one that KubeRay adds for the autoscaler."""
    for pod in pods(file):
        yield from pod["containers"]
    if "autoscalerOptions" in file.content["spec"]:
        yield file.content["spec"]["autoscalerOptions"]


def asks_for_the_token(file: File) -> None:
    assert file.content["spec"]["authOptions"] == {"mode": "token"}


def leaves_the_head_idle(file: File) -> None:
    spec = file.content["spec"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in str(spec["headGroupSpec"])


def scales_from_none(file: File) -> None:
    spec = file.content["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert 0 < spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 1800
    for group in spec["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]


def runs_without_privileges(file: File) -> None:
    """Kubernetes' restricted profile, https://kubernetes.io/docs/concepts/security."""
    for pod in pods(file):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(file):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


def holds_no_right_that_it_does_not_need(file: File) -> None:
    """Only the head's pod, whose autoscaler asks for pods, talks to Kubernetes' API."""
    for pod in pods(file):
        head = pod["containers"][0]["name"] == "ray-head"
        assert pod.get("automountServiceAccountToken", True) is head


def limits_what_it_takes(file: File) -> None:
    for container in containers(file):
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]
        assert {"cpu", "memory"} <= set(resources["limits"])


def tolerates_what_its_nodes_are_tainted_with(file: File) -> None:
    for group in file.content["spec"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        tolerated = {each["key"] for each in pod.get("tolerations", [])}
        gpus = "nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]
        assert ("nvidia.com/gpu" in tolerated) is gpus
        spot = group["labels"]["market-type"] == "spot"
        clouds = {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"}
        assert clouds & tolerated == (clouds if spot else set())
        assert ("nodeSelector" in pod) is spot
        assert (group.get("priority", 0) > 0) is spot
        if gpus:
            assert pod["containers"][0]["image"].endswith("-gpu")


def lets_only_its_own_in(file: File) -> None:
    spec = file.content["spec"]
    assert spec["podSelector"]["matchLabels"] == {"ray.io/cluster": "raydl"}
    assert spec["policyTypes"] == ["Ingress"]
    for rule in spec["ingress"]:
        assert all(each["podSelector"]["matchLabels"] for each in rule["from"])

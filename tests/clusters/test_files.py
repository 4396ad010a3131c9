"""The files in clusters/ are right, as far as that can be known without a cloud.

Each check is also shown the faults that it is there for.
"""

from collections.abc import Callable
from importlib.metadata import version

import pytest
from packaging.version import Version

from tests.clusters import deployment, manifests
from tests.clusters.deployment import CLUSTERS, File, pinned

CLOUDS = ("aws-cpu.yaml", "aws-gpu.yaml", "gcp-gpu.yaml", "azure-gpu.yaml")
LAUNCHED = (*CLOUDS, "onprem.yaml")
RAY = "kubernetes/raycluster.yaml"
JOB = "kubernetes/rayjob.yaml"
POLICY = "kubernetes/networkpolicy.yaml"
ALL = tuple(
    str(each.relative_to(CLUSTERS)) for each in sorted(CLUSTERS.rglob("*")) if each.is_file()
)

CHECKS: dict[Callable[[File], None], tuple[str, ...]] = {
    deployment.ray_accepts_it: (*LAUNCHED, "laptop.yaml"),
    deployment.names_the_pinned_ray: (*CLOUDS, RAY, JOB, "Dockerfile"),
    deployment.holds_no_secret: ALL,
    deployment.opens_no_port: ALL,
    deployment.asks_for_the_token: (*LAUNCHED, "laptop.yaml"),
    deployment.starts_the_workers_of_a_list: ("onprem.yaml",),
    deployment.leaves_the_head_idle: (*LAUNCHED, "laptop.yaml"),
    deployment.shows_the_dashboard_on_loopback_only: (*LAUNCHED, "laptop.yaml"),
    deployment.installs_what_is_pinned: LAUNCHED,
    deployment.sets_the_head_up_as_the_provider_needs: CLOUDS,
    deployment.scales_from_none: (*CLOUDS, "laptop.yaml"),
    deployment.prefers_spot: CLOUDS,
    deployment.names_fields_of_the_cloud: CLOUDS,
    manifests.fits_the_schema: (RAY, JOB, POLICY),
    manifests.asks_for_the_token: (RAY,),
    manifests.leaves_the_head_idle: (RAY,),
    manifests.scales_from_none: (RAY,),
    manifests.runs_without_privileges: (RAY, JOB),
    manifests.holds_no_right_that_it_does_not_need: (RAY, JOB),
    manifests.limits_what_it_takes: (RAY, JOB),
    manifests.tolerates_what_its_nodes_are_tainted_with: (RAY,),
    manifests.lets_only_its_own_in: (POLICY,),
}

# What a check must find: (check, file, what stands there, what is put in its place).
FAULTS = [
    (deployment.ray_accepts_it, "aws-cpu.yaml", "max_workers: 16\n", "max_worker: 16\n"),
    (deployment.ray_accepts_it, "aws-gpu.yaml", "GPU: 1", "GPU: 0.5"),
    (deployment.ray_accepts_it, "gcp-gpu.yaml", "head_node_type: head", "head_node_type: chief"),
    (deployment.ray_accepts_it, "azure-gpu.yaml", "ssh_user: ubuntu", "user: ubuntu"),
    (deployment.ray_accepts_it, "onprem.yaml", "worker_ips: [192.0.2.11]", "worker_ips: none"),
    (deployment.ray_accepts_it, "laptop.yaml", "resources: {CPU: 0}", "resource: {CPU: 0}"),
    (deployment.names_the_pinned_ray, "aws-cpu.yaml", ":2.60.0-", ":2.59.0-"),
    (deployment.names_the_pinned_ray, "gcp-gpu.yaml", "2.60.0-py311-gpu", "latest.0-gpu"),
    (
        deployment.names_the_pinned_ray,
        "Dockerfile",
        "rayproject/ray:2.60.0",
        "rayproject/ray:2.9.0",
    ),
    (deployment.names_the_pinned_ray, RAY, 'rayVersion: "2.60.0"', 'rayVersion: "2.6.0"'),
    (deployment.names_the_pinned_ray, RAY, "ray2.60.0-gpu", "ray2.60.1-gpu"),
    (deployment.names_the_pinned_ray, JOB, "ray2.60.0", "ray2.61.0"),
    (deployment.holds_no_secret, "laptop.sh", "head=", "export RAY_AUTH_TOKEN=0a1b2c3d4e5f\nhead="),
    (deployment.holds_no_secret, "aws-cpu.yaml", "region:", "aws_secret_access_key: wJalrX/bPx\n#"),
    (deployment.holds_no_secret, "aws-gpu.yaml", "ImageId:", "Key: AKIAIOSFODNN7EXAMPLE #"),
    (deployment.opens_no_port, "onprem.yaml", "=127.0.0.1", "=0.0.0.0"),
    (deployment.opens_no_port, "aws-cpu.yaml", "region:", "security_group: {} #"),
    (deployment.opens_no_port, "gcp-gpu.yaml", "--env RAY", "-p 8265:8265, --env RAY"),
    (deployment.opens_no_port, RAY, "serviceType: ClusterIP", "serviceType: LoadBalancer"),
    (deployment.opens_no_port, RAY, "enableIngress: false", "enableIngress: true"),
    (deployment.opens_no_port, RAY, "containerPort: 8265", "containerPort: 8265, hostPort: 8265"),
    (deployment.asks_for_the_token, "aws-cpu.yaml", "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=none"),
    (deployment.asks_for_the_token, "azure-gpu.yaml", "~/.ray/auth_token:", "~/.ray/token:"),
    (deployment.asks_for_the_token, "onprem.yaml", "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"),
    (deployment.starts_the_workers_of_a_list, "onprem.yaml", "v2=0", "v2=1"),
    (deployment.starts_the_workers_of_a_list, "onprem.yaml", "min_workers: 1", "min_workers: 0"),
    (deployment.leaves_the_head_idle, "gcp-gpu.yaml", "{CPU: 0}", "{CPU: 2}"),
    (deployment.leaves_the_head_idle, "onprem.yaml", "--num-cpus=0 ", ""),
    (deployment.leaves_the_head_idle, "laptop.yaml", "{CPU: 0}", "{}"),
    (deployment.shows_the_dashboard_on_loopback_only, "aws-gpu.yaml", "=127.0.0.1", "=::"),
    (deployment.shows_the_dashboard_on_loopback_only, "onprem.yaml", "--dashboard-host", "--host"),
    (deployment.installs_what_is_pinned, "onprem.yaml", "-c ~/raydl/", "-r ~/raydl/"),
    (deployment.installs_what_is_pinned, "aws-gpu.yaml", "--quiet -c ~/raydl/", "-r ~/raydl/"),
    (deployment.installs_what_is_pinned, "aws-cpu.yaml", "constraints.txt ~/raydl", "x raydl"),
    (
        deployment.sets_the_head_up_as_the_provider_needs,
        "azure-gpu.yaml",
        "azure-identity==1.23.1",
        "",
    ),
    (deployment.scales_from_none, "aws-gpu.yaml", "min_workers: 0", "min_workers: 1"),
    (deployment.scales_from_none, "azure-gpu.yaml", "cache_stopped_nodes: false", ""),
    (deployment.scales_from_none, "gcp-gpu.yaml", "minutes: 5", "minutes: 500"),
    (deployment.prefers_spot, "aws-cpu.yaml", "MarketType: spot", "MarketType: capacity-block"),
    (deployment.prefers_spot, "azure-gpu.yaml", "priority: Spot", "priority: Regular"),
    (deployment.prefers_spot, "gcp-gpu.yaml", "provisioningModel: SPOT", ""),
    (deployment.prefers_spot, "gcp-gpu.yaml", "priority: 1", "priority: 0"),
    (deployment.names_fields_of_the_cloud, "aws-cpu.yaml", "VolumeSize: 100", "Size: 100"),
    (deployment.names_fields_of_the_cloud, "aws-gpu.yaml", "VolumeSize: 200", 'VolumeSize: "200"'),
    (deployment.names_fields_of_the_cloud, "azure-gpu.yaml", "osDiskSize:", "osDiskSizeGB:"),
    (deployment.names_fields_of_the_cloud, "gcp-gpu.yaml", "onHostMaintenance", "onMaintenance"),
    (manifests.fits_the_schema, RAY, "authOptions", "authOption"),
    (manifests.fits_the_schema, RAY, "ray.io/v1\n", "ray.io/v1alpha1\n"),
    (manifests.fits_the_schema, RAY, "maxReplicas: 16", "maxReplica: 16"),
    (manifests.fits_the_schema, RAY, "memory: 32Gi", "memory: 32GB"),
    (manifests.fits_the_schema, RAY, 'num-cpus: "0"', "num-cpus: 0"),
    (manifests.fits_the_schema, JOB, "clusterSelector", "clusterSelectors"),
    (manifests.fits_the_schema, JOB, "restartPolicy: Never", "restartPolicy: Sometimes"),
    (manifests.fits_the_schema, JOB, "submissionMode", "shutdownAfterJobFinishes: true\n  x"),
    (manifests.fits_the_schema, POLICY, "ingress:", "ingres:"),
    (manifests.asks_for_the_token, RAY, "mode: token", "mode: disabled"),
    (manifests.leaves_the_head_idle, RAY, 'num-cpus: "0"', 'num-cpus: "2"'),
    (manifests.scales_from_none, RAY, "version: v2", "version: v1"),
    (manifests.scales_from_none, RAY, "minReplicas: 0", "minReplicas: 1"),
    (manifests.runs_without_privileges, RAY, "Escalation: false", "Escalation: true"),
    (manifests.runs_without_privileges, RAY, "runAsUser: 1000", "runAsUser: 0"),
    (manifests.runs_without_privileges, JOB, "drop: [ALL]", "drop: [NET_RAW]"),
    (manifests.holds_no_right_that_it_does_not_need, JOB, "ServiceAccountToken: false", "x: 0"),
    (manifests.limits_what_it_takes, RAY, "limits: *cpu", "limits: {cpu: '8'}"),
    (manifests.tolerates_what_its_nodes_are_tainted_with, RAY, "nvidia.com/gpu, op", "gpu, op"),
    (manifests.tolerates_what_its_nodes_are_tainted_with, RAY, "gke-spot, op", "gke, op"),
    (manifests.tolerates_what_its_nodes_are_tainted_with, RAY, "ray2.60.0-gpu", "ray2.60.0-cpu"),
    (manifests.lets_only_its_own_in, POLICY, "{raydl/submitter: ", "{} #"),
]


@pytest.mark.parametrize(
    ("check", "name"),
    [(check, name) for check, names in CHECKS.items() for name in names],
    ids=lambda given: given if isinstance(given, str) else given.__name__,
)
def test_file(check, name):
    check(File.read(name))


@pytest.mark.parametrize(("check", "name", "was", "put"), FAULTS)
def test_fault_is_found(check, name, was, put):
    text = File.read(name).text
    assert was in text
    with pytest.raises(AssertionError):
        check(File(name, text.replace(was, put)))


def test_every_check_is_shown_a_fault():
    assert {check for check, *_ in FAULTS} == set(CHECKS)


@pytest.mark.parametrize("package", ["ray", "torch", "torchvision"])
def test_what_is_pinned_is_what_is_tested(package):
    tested = Version(Version(version(package)).public)
    if tested > Version(pinned()[package]):
        pytest.skip(f"{package} {tested} is newer than clusters/constraints.txt, which can follow")
    assert tested == Version(pinned()[package])

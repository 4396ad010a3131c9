"""What must hold of every file in clusters/, as checks that raise an AssertionError."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CLUSTERS = Path(__file__).parents[2] / "clusters"


class File(NamedTuple):
    """A file of the folder, as it is or with a fault put in."""

    name: str
    text: str

    @classmethod
    def read(cls, name: str) -> "File":
        return cls(name, (CLUSTERS / name).read_text())

    @property
    def content(self) -> Any:
        return yaml.safe_load(self.text)


def pinned() -> dict[str, str]:
    """The versions of constraints.txt, by package."""
    lines = File.read("constraints.txt").text.splitlines()
    pins = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {name: version for name, _, version in pins}


def names_the_pinned_ray(file: File) -> None:
    """Whatever is said of Ray's version, in images and elsewhere, is the pinned one."""
    said = re.findall(
        r"(?:\bray:|:ray|rayVersion: \"|\bray==|ray\[.*?\]==)([\w.]+\.\d+)", file.text
    )
    assert said
    assert set(said) == {pinned()["ray"]}


def holds_no_secret(file: File) -> None:
    named = r"(?i)(password|secret|token|access_?key|api_?key)[\"']?\s*[:=]\s*[\"']?[\w+/=.-]{8,}"
    known = r"AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|gh[pousr]_\w{20,}|-----BEGIN|\beyJ[\w-]{20,}"
    assert not re.search(named, file.text)
    assert not re.search(known, file.text)


def opens_no_port(file: File) -> None:
    """Nothing listens to the world: the way in is ssh, or Kubernetes' port-forward."""
    assert "0.0.0.0" not in file.text
    assert "::/0" not in file.text
    for key, value in walk(file.content if file.name.endswith(".yaml") else {}):
        assert key not in ("security_group", "SecurityGroups", "hostPort", "hostNetwork"), key
        if key == "run_options":
            flags = {word.partition("=")[0] for option in value for word in option.split()}
            assert flags.isdisjoint({"-p", "-P", "--publish", "--publish-all"})
        if key == "serviceType":
            assert value == "ClusterIP"
        if key == "enableIngress":
            assert value is False


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a YAML document with its value, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from walk(value)
    elif isinstance(node, list):
        for each in node:
            yield from walk(each)


# Of the files of Ray's cluster launcher.


def ray_accepts_it(file: File) -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        validate_config(prepare_config(file.content))
    except (ValidationError, RuntimeError, ValueError, KeyError) as error:
        raise AssertionError(str(error)) from error


def starts(file: File) -> tuple[str, str]:
    """The commands that start Ray on the head and on a worker."""
    (head,) = (each for each in file.content["head_start_ray_commands"] if "ray start" in each)
    (worker,) = (each for each in file.content["worker_start_ray_commands"] if "ray start" in each)
    return head, worker


def asks_for_the_token(file: File) -> None:
    """Every process of Ray on every node has the mode and the token's file."""
    if file.name == "laptop.yaml":
        assert "env RAY_AUTH_MODE=token " in File.read("laptop.sh").text
        return
    assert file.content["file_mounts"].get("~/.ray/auth_token") == "~/.ray/auth_token"
    if "docker" in file.content:
        assert "--env RAY_AUTH_MODE=token" in file.content["docker"]["run_options"]
    else:
        shell = file.content["setup_commands"][0]
        assert "'export RAY_AUTH_MODE=token " in shell
        assert shell.endswith(">> ~/.bashrc")


def starts_the_workers_of_a_list(file: File) -> None:
    """Ray's second autoscaler does not, whatever `ray up` says; the first does."""
    assert "RAY_enable_autoscaler_v2=0 ray start " in starts(file)[0]
    workers = len(file.content["provider"]["worker_ips"])
    assert file.content["min_workers"] == file.content["max_workers"] == workers


def leaves_the_head_idle(file: File) -> None:
    types = file.content.get("available_node_types")
    if types is None:  # Ray counts the CPUs of machines that it finds
        assert "--num-cpus=0 " in starts(file)[0]
    else:
        assert types[file.content["head_node_type"]]["resources"] == {"CPU": 0}


def shows_the_dashboard_on_loopback_only(file: File) -> None:
    command = File.read("laptop.sh").text if file.name == "laptop.yaml" else starts(file)[0]
    assert re.findall(r"--dashboard-host[= ](\S+)", command) == ["127.0.0.1"]


def installs_what_is_pinned(file: File) -> None:
    """Every installation of raydl is held to the constraints, on the head and on workers."""
    content = file.content
    for group in ("head", "worker"):
        commands = content.get("setup_commands", []) + content.get(f"{group}_setup_commands", [])
        installed = [each for each in commands if re.search(r"pip install .*~/raydl( |$)", each)]
        assert len(installed) == 1
        assert "-c ~/raydl/clusters/constraints.txt" in installed[0]
    assert content["file_mounts"]["~/raydl"] == "."


def sets_the_head_up_as_the_provider_needs(file: File) -> None:
    """Ray's own defaults, which the file replaces, install the provider's client on the head."""
    import ray.autoscaler

    provider = file.content["provider"]["type"]
    path = Path(ray.autoscaler.__file__).parent / provider / "defaults.yaml"
    for command in yaml.safe_load(path.read_text())["head_setup_commands"]:
        assert command in file.content["head_setup_commands"]


def scales_from_none(file: File) -> None:
    content = file.content
    workers = {**content["available_node_types"]}
    del workers[content["head_node_type"]]
    assert all(each["min_workers"] == 0 < each["max_workers"] for each in workers.values())
    assert 0 < content["idle_timeout_minutes"] <= 30
    # An idle node is ended: one that is only stopped still costs its disk.
    if content["provider"]["type"] in ("aws", "azure"):
        assert content["provider"].get("cache_stopped_nodes") is False


SPOT = {
    "aws": lambda node: node.get("InstanceMarketOptions", {}).get("MarketType") == "spot",
    "gcp": lambda node: node.get("scheduling", {}).get("provisioningModel") == "SPOT",
    "azure": lambda node: node["azure_arm_parameters"].get("priority") == "Spot",
}


def prefers_spot(file: File) -> None:
    """What is labelled spot is, and nothing else; it comes first; the head is not among it."""
    is_spot = SPOT[file.content["provider"]["type"]]
    priorities: dict[bool, list[int]] = {True: [], False: []}
    for name, node in file.content["available_node_types"].items():
        spot = is_spot(node["node_config"])
        if name == file.content["head_node_type"]:
            assert not spot
        else:
            assert node["labels"]["market-type"] == ("spot" if spot else "on-demand")
            priorities[spot].append(node.get("priority", 0))
    assert min(priorities[True]) > max(priorities[False])


def names_fields_of_the_cloud(file: File) -> None:
    """What Ray hands on unseen to the cloud's API has the fields of that API."""
    provider = file.content["provider"]["type"]
    for node in file.content["available_node_types"].values():
        _FIELDS[provider](node["node_config"])


def _aws(node: dict[str, Any]) -> None:
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    operation = get_session().get_service_model("ec2").operation_model("RunInstances")
    counted = node | {"MinCount": 1, "MaxCount": 1}
    report = ParamValidator().validate(counted, operation.input_shape)
    assert not report.has_errors(), report.generate_report()


def _azure(node: dict[str, Any]) -> None:
    from ray.autoscaler._private import _azure

    template = Path(_azure.__file__).parent / "azure-vm-template.json"
    kinds = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}
    parameters = json.loads(template.read_text())["parameters"]
    assert set(node) == {"azure_arm_parameters"}
    for name, value in node["azure_arm_parameters"].items():
        assert isinstance(value, kinds[parameters[name]["type"]]) if name in parameters else False


def _gcp(node: dict[str, Any]) -> None:
    """The fields of an instance in Compute Engine's API reference, those that one could want."""
    disk = {"boot", "autoDelete", "type", "initializeParams"}
    image = {"diskSizeGb", "diskType", "sourceImage"}
    scheduling = {"provisioningModel", "instanceTerminationAction"}
    scheduling |= {"onHostMaintenance", "automaticRestart"}
    assert set(node) <= {"machineType", "disks", "scheduling", "metadata", "serviceAccounts"}
    assert set(node.get("scheduling", {})) <= scheduling
    for each in node["disks"]:
        assert set(each) <= disk
        assert set(each["initializeParams"]) <= image


_FIELDS = {"aws": _aws, "azure": _azure, "gcp": _gcp}

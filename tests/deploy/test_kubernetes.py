"""The example of a deployment, and so the kustomize base, renders to objects that Kubernetes accepts."""

from collections.abc import Iterator
from typing import Any, Final

import kubernetes_validate
import pytest

from tests.deploy import kubectl
from tests.deploy.artefacts import DEPLOY

VERSION: Final = "1.37"
# Kinds of KEDA and of the Prometheus Operator, whose schemas no package brings along.
OF_OTHERS: Final = frozenset({"ScaledObject", "PodMonitor"})


@pytest.fixture(scope="module")
def objects() -> list[Any]:
    """Render the example once."""
    return kubectl.render(DEPLOY / "kubernetes" / "example")


def _pods(objects: list[Any]) -> Iterator[Any]:
    return (each["spec"]["template"] for each in objects if each["kind"] in {"Deployment", "Job"})


def _named(objects: list[Any], kind: str, name: str) -> Any:
    (found,) = (each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def test_each_object_keeps_the_schema_of_kubernetes(objects: list[Any]) -> None:
    for each in objects:
        if each["kind"] not in OF_OTHERS:
            kubernetes_validate.validate(each, VERSION, strict=True)


def test_a_misspelt_field_would_be_found(objects: list[Any]) -> None:
    web = _named(objects, "Deployment", "zekron-web")
    web = {**web, "spec": {**web["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(web, VERSION, strict=True)


def test_each_selector_finds_pods_and_no_policy_reaches_those_of_others(objects: list[Any]) -> None:
    labels = [pod["metadata"]["labels"] for pod in _pods(objects)]
    selectors = [
        each["spec"].get("selector") or each["spec"]["podSelector"]
        for each in objects
        if each["kind"] in {"Deployment", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "Service"}
    ]
    for selector in selectors:
        wanted = selector.get("matchLabels", selector)
        assert wanted["app.kubernetes.io/name"] == "zekron"
        assert any(wanted.items() <= each.items() for each in labels)


def test_each_container_is_confined_and_has_its_files(objects: list[Any]) -> None:
    for pod in (each["spec"] for each in _pods(objects)):
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
        assert pod["automountServiceAccountToken"] is False
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            security = container["securityContext"]
            assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
            assert {"tmp", "secrets"} <= {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert "memory" in container["resources"]["limits"]


def test_no_process_starts_before_the_migrations(objects: list[Any]) -> None:
    for each in objects:
        if each["kind"] == "Deployment":
            (before,) = each["spec"]["template"]["spec"]["initContainers"]
            assert before["command"][-2:] == ["migrate", "--check"]
            assert before["image"].endswith(_image(_named(objects, "Job", "zekron-release")))


def test_there_is_never_a_second_beat(objects: list[Any]) -> None:
    beat = _named(objects, "Deployment", "zekron-beat")["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})


def test_keda_alone_decides_the_number_of_gpu_workers(objects: list[Any]) -> None:
    scaled = _named(objects, "ScaledObject", "zekron-gpu")["spec"]
    assert "replicas" not in _named(objects, "Deployment", scaled["scaleTargetRef"]["name"])["spec"]
    for trigger in scaled["triggers"]:
        assert trigger["metadata"]["query"].startswith("max(")
        assert trigger["metadata"]["ignoreNullValues"] == "false"


def _image(job: Any) -> str:
    image: str = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return image

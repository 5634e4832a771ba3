"""The Helm chart: rendered by Helm itself, checked by the schemas of Kubernetes and against what the program does."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hiredis
import pg8000.native
import pytest
import yaml

from deploy.plain import PLAIN, plain
from deploy.reading import DEPLOY, LEAST_STOP, MIB, ROOT, dockerfile, environment, memory, module, options, settings
from gristmill.base.settings import load_settings
from gristmill.brokers import open_broker
from gristmill.engine.message import End, Message
from gristmill.engine.state import TaskState
from gristmill.engine.tally import HEADS
from gristmill.pipeline.plan import QUEUE
from gristmill.wiring import TENANT
from servers.pool import ServerPool

helm = module("helm_python")
kubernetes_validate = module("kubernetes_validate")

anyio_backend = pytest.fixture(lambda: "asyncio")

Manifest = dict[str, Any]
CHART = DEPLOY / "helm" / "gristmill"
OLDEST, NEWEST = "1.25", "1.37"  # that the chart allows; whose schemas we have
SECRETS = {"POSTGRES_PASSWORD": "of postgres", "REDIS_PASSWORD": "of redis"}

MAIL = {"app": "shop.tasks:app", "queues": ["mail", "post"], "image": "shop:1", "home": "none", "replicas": 3}
DATABASE = {"engine": {"broker": "database"}}


def scaled(trigger: str, **more: Any) -> Manifest:
    return {"documents": {"home": "shared", "autoscaling": {"enabled": True, "trigger": trigger, **more}}}


VALUES: dict[str, Manifest] = {
    "nothing": {},
    "own tasks": {"pools": {"mail": MAIL}},
    "many slots": {"pools": {"documents": {"workers": 3, "slots": 4}}},
    "long grace": {"config": {"worker": {"grace_seconds": 600.5, "memory_limit": 512 * MIB}}, "preStopSeconds": 10},
    "halves": {"pools": {"documents": {"runs": "worker"}, "api": {"runs": "server", "home": "shared", "replicas": 2}}},
    "by redis": {"pools": scaled("redis")},
    "by postgresql": {"config": DATABASE, "pools": scaled("postgresql")},
    "by prometheus": {"pools": scaled("prometheus")},
    "closed": {"networkPolicy": {"enabled": True, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}},
    "theirs": {
        "home": {"existingClaim": "documents", "accessMode": "ReadWriteMany"},
        "serviceAccount": {"create": False, "name": "millers"},
        "imagePullSecrets": [{"name": "registry"}],
        "podLabels": {"team": "search"},
        "podAnnotations": {"note": "1"},
        "poolDefaults": {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "batch", "operator": "Exists"}]},
    },
}


def rendered(values: Manifest) -> list[Manifest]:
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name="mill", namespace="prod")
    found = [one for name, text in files.items() if name.endswith(".yaml") for one in yaml.safe_load_all(text)]
    return [one for one in found if one]


@cache
def manifests(name: str) -> list[Manifest]:
    return rendered(VALUES[name])


def of_kind(kind: str, name: str) -> list[Manifest]:
    return [one for one in manifests(name) if one["kind"] == kind]


def pods(name: str) -> list[tuple[Manifest, Manifest]]:
    """Each pool's pod and its container."""
    found = [one["spec"]["template"]["spec"] for one in of_kind("Deployment", name)]
    return [(pod, pod["containers"][0]) for pod in found]


def mib(quantity: str) -> int:
    assert quantity.endswith("Mi")
    return int(quantity.removesuffix("Mi"))


everything = pytest.mark.parametrize("name", VALUES)


def test_helm_has_no_complaint() -> None:
    found = helm.lint(CHART, strict=True)
    assert found["errors"] == []
    assert [one["error"] for one in found["messages"]] in ([], ["icon is recommended"])


@pytest.mark.parametrize(
    ("name", "version"),
    [*((name, NEWEST) for name in VALUES), ("own tasks", OLDEST), ("closed", OLDEST), ("theirs", OLDEST)],
)
def test_kubernetes_knows_every_word(name: str, version: str) -> None:
    for one in manifests(name):
        if one["kind"] != "ScaledObject":  # of KEDA
            kubernetes_validate.validate(one, version, strict=True)


def test_the_plain_manifests_are_what_the_chart_makes_of_its_values() -> None:
    """If this fails: make manifests"""
    assert PLAIN.read_text(encoding="utf-8") == plain(helm)


def test_it_is_of_the_projects_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{chart["appVersion"]}"\n' in pyproject


@everything
def test_the_configuration_is_read_as_it_was_meant(name: str, tmp_path: Path) -> None:
    [found] = of_kind("ConfigMap", name)
    (tmp_path / "service_conf.yaml").write_text(found["data"]["service_conf.yaml"], encoding="utf-8")
    read = load_settings(tmp_path, environ=SECRETS)
    assert read.catalog_url.startswith("postgresql://gristmill:of%20postgres@postgres:5432/gristmill")
    if name == "by postgresql":
        assert read.broker_url.startswith("postgresql://gristmill:of%20postgres@postgres:5432/gristmill")
    else:
        assert read.broker_url == "redis://:of%20redis@valkey:6379/1"
    given = {**yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["config"]["worker"]}
    given |= VALUES[name].get("config", {}).get("worker", {})
    assert {key: getattr(read.worker, key) for key in given} == given


@everything
def test_pods_have_time_to_stop_and_the_memory_that_their_tasks_may_use(name: str) -> None:
    [found] = of_kind("ConfigMap", name)
    worker = yaml.safe_load(found["data"]["service_conf.yaml"])["worker"]
    for pod, container in pods(name):
        given = options(container["args"])
        sleep = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert pod["terminationGracePeriodSeconds"] >= sleep + worker["grace_seconds"] + LEAST_STOP
        sizes = container["resources"]
        workers, slots = given.get("workers", 1), given.get("slots", 1)
        assert mib(sizes["limits"]["memory"]) == memory(container["args"][0], workers, slots, worker["memory_limit"])
        assert mib(sizes["requests"]["memory"]) == memory(container["args"][0], workers, slots, 0)
        assert int(sizes["requests"]["cpu"]) == workers * slots


@everything
def test_the_command_and_the_environment_are_those_of_the_program(name: str, tmp_path: Path) -> None:
    image = environment(dockerfile()[-1])
    for _, container in pods(name):
        given = options(container["args"])
        environ = {one["name"]: one["value"] for one in container["env"]}
        [mounted] = [one for one in container["volumeMounts"] if one["name"] == "config"]
        assert environ.pop("GRISTMILL_CONFIG") == f"{mounted['mountPath']}/service_conf.yaml"
        assert environ["GRISTMILL_HOME"] == image["GRISTMILL_HOME"]
        settings(environ, tmp_path)
        assert "command" not in container  # the image's entry point
        ports = {one["name"]: f"0.0.0.0:{one['containerPort']}" for one in container["ports"]}
        assert {"probes": given.get("health"), "http": given.get("listen")}.items() >= ports.items()
        assert ("probes" in ports, "http" in ports) == ("workers" in given, "listen" in given)
        [found] = of_kind("ConfigMap", name)
        answers = yaml.safe_load(found["data"]["service_conf.yaml"])["ragflow"]
        assert given.get("listen") in (None, f"{answers['host']}:{answers['http_port']}")


@everything
def test_pods_may_do_nothing_that_they_need_not(name: str) -> None:
    for pod, container in pods(name):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"{pod['securityContext']['runAsUser']}:" in next(s.rest for s in dockerfile()[-1] if s.word == "USER")
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
        assert writable == {"/var/lib/gristmill", "/tmp"}


@everything
def test_the_probes_ask_what_the_master_answers(name: str) -> None:
    for _, container in pods(name):
        asked = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
        assert asked == {"startup": "/ready", "readiness": "/ready", "liveness": "/health"}
        used = {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")}
        assert used == {"http" if container["args"][0] == "server" else "probes"}
        boot = container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
        assert boot > load_settings(environ={}).supervisor.boot_timeout


@everything
def test_what_selects_pods_selects_those_of_its_pool(name: str) -> None:
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in of_kind("Deployment", name)
    }
    for one in [*of_kind("Deployment", name), *of_kind("PodDisruptionBudget", name), *of_kind("Service", name)]:
        selector = one["spec"]["selector"]
        wanted = selector.get("matchLabels", selector).items()
        assert [pool for pool, has in labels.items() if wanted <= has.items()] == [one["metadata"]["name"]]


def test_pods_that_share_a_disk_are_on_one_node_and_no_budget_keeps_them_there() -> None:
    named = {one["metadata"]["name"]: one["spec"]["template"] for one in of_kind("Deployment", "own tasks")}
    shared, free = named["mill-gristmill-documents"], named["mill-gristmill-mail"]
    [rule] = shared["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    wanted = rule["labelSelector"]["matchLabels"].items()
    assert wanted <= shared["metadata"]["labels"].items()  # its own: else the first pod would wait for another
    assert not wanted <= free["metadata"]["labels"].items()
    assert "affinity" not in free["spec"]
    assert [one["metadata"]["name"] for one in of_kind("PodDisruptionBudget", "own tasks")] == ["mill-gristmill-mail"]
    assert [one["spec"]["accessModes"] for one in of_kind("PersistentVolumeClaim", "own tasks")] == [["ReadWriteOnce"]]


def test_what_is_there_already_is_taken() -> None:
    assert not of_kind("PersistentVolumeClaim", "theirs")
    assert not of_kind("ServiceAccount", "theirs")
    [(pod, _)] = pods("theirs")
    assert pod["serviceAccountName"] == "millers"
    assert {"name": "home", "persistentVolumeClaim": {"claimName": "documents"}} in pod["volumes"]


def test_a_changed_configuration_replaces_the_pods() -> None:
    sums = [
        one["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for name in ("nothing", "by redis", "long grace")
        for one in of_kind("Deployment", name)
    ]
    assert sums[0] == sums[1] != sums[2]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
        ({"preStopSeconds": "3"}, "/preStopSeconds"),
        ({"pools": {"documents": {"slots": 0}}}, "/pools/documents"),
        ({"config": {"worker": {"memory_limit": 1}}}, "memory_limit"),
        ({"pools": {"documents": {"home": "none"}}}, "needs `home: shared`"),
        ({"pools": {"documents": {"queues": ["mail"]}}}, "queues are those of an `app`"),
        ({"pools": {"api": {"runs": "server", **scaled("redis")["documents"]}}}, "a server takes nothing from queues"),
        ({"pools": scaled("redis", minReplicas=0)}, "/pools/documents"),
        ({"pools": scaled("postgresql")}, "`config.engine.broker` has to be `database`"),
        ({"config": DATABASE, "pools": scaled("redis")}, "`config.redis` has to be the broker"),
        ({"pools": scaled("postgresql", queues=["a' OR '1"]), "config": DATABASE}, "/pools/documents"),
    ],
)
def test_values_that_cannot_work_are_refused_with_the_reason(values: Manifest, said: str) -> None:
    with pytest.raises(helm.HelmError, match=re.escape(said)):
        rendered(values)


# Autoscaling: the numbers that KEDA is told to ask for, asked of real servers


def trigger(name: str) -> Manifest:
    [found] = of_kind("ScaledObject", name)
    [(_, container)] = pods(name)
    assert found["spec"]["scaleTargetRef"]["name"] == of_kind("Deployment", name)[0]["metadata"]["name"]
    assert "replicas" not in of_kind("Deployment", name)[0]["spec"]  # an upgrade would undo what KEDA did
    assert {one["secretRef"]["name"] for one in container["envFrom"]} == {"gristmill"}  # has passwordFromEnv
    one: Manifest = found["spec"]["triggers"][0]
    assert all(isinstance(value, str) for value in one["metadata"].values())
    return one


async def through_a_life(url: str, count: Callable[[], int]) -> list[int]:
    """What is counted while tasks wait, run and end: two are the queue's, one is another's, and one is for later."""
    counted = []
    async with open_broker(url) as broker:
        ours = [Message(id=name, task="t", queue=QUEUE, lane=TENANT) for name in ("one", "two")]
        later = Message(id="later", task="t", queue=QUEUE, lane=TENANT, delay=3600)
        await broker.publish([*ours, later, Message(id="other", task="t", queue="mail")])
        counted.append(count())
        for _ in ours:
            [lease] = await broker.reserve([QUEUE], worker="w", limit=1, lease=60, wait=0)
            counted.append(count())
            await broker.finish([End(lease, TaskState.SUCCEEDED)])
            counted.append(count())
    return counted


LIFE = [2, 2, 1, 1, 0]  # waiting and running alike, until it has ended


@pytest.mark.anyio
async def test_by_redis_the_length_of_the_stream_is_what_is_open(valkey_url: str, servers: ServerPool) -> None:
    asked = trigger("by redis")["metadata"]
    [(_, container)] = pods("by redis")
    given = options(container["args"])
    assert int(asked["streamLength"]) == given["workers"] * given["slots"] * 2
    assert (asked["address"], asked["databaseIndex"], asked["passwordFromEnv"]) == (
        "valkey:6379",
        "1",
        "REDIS_PASSWORD",
    )
    server = servers.redis()
    assert await through_a_life(valkey_url, lambda: server.command("XLEN", asked["stream"])) == LIFE
    with pytest.raises(hiredis.ReplyError, match="no such key"):  # so that KEDA's other ways of counting would fail
        server.command("XINFO", "GROUPS", asked["stream"])
    assert "consumerGroup" not in asked


@pytest.mark.anyio
async def test_by_postgresql_the_query_counts_what_is_open(postgres_url: str) -> None:
    asked = trigger("by postgresql")["metadata"]
    assert {key: asked[key] for key in ("host", "port", "userName", "dbName", "passwordFromEnv")} == {
        "host": "postgres",
        "port": "5432",
        "userName": "gristmill",
        "dbName": "gristmill",
        "passwordFromEnv": "POSTGRES_PASSWORD",
    }
    place = urlsplit(postgres_url)
    connect: Any = pg8000.native.Connection  # it has no types
    link = connect(place.username, host=place.hostname, port=place.port, database=place.path[1:])
    try:
        assert await through_a_life(postgres_url, lambda: int(link.run(asked["query"])[0][0])) == LIFE
    finally:
        link.close()


def test_by_prometheus_the_query_is_of_metrics_that_a_master_has() -> None:
    asked = trigger("by prometheus")["metadata"]
    used = re.findall(r"gristmill_(\w+)\{queue=~\"(\w+)\"\}", asked["query"])
    assert used == [("queue_lag", QUEUE), ("queue_running", QUEUE)]
    assert all(HEADS[name][2] == ("queue",) for name, _ in used)
    assert asked["query"].count("or vector(0)") == 2  # a queue with nothing in it is no error

"""``examples/containers``: its two files fit each other and the service, and the image's command runs as they say.

There is no container engine here. The image is put together in a mount namespace: a root that nobody can write, with
the installed wheel, Python and the system's libraries. The command runs in it as the image's user, with no capability.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import servers
import yaml
from typed import Typed
from wheels import DEPENDENCIES, PACKAGES, ROOT, installed, wheel

from loadtests.lab.cli import VERBS
from service.app import create_app
from service.settings import Settings, from_environment
from tests.combinations import shortened
from tests.service.test_settings import IN_A_POD
from workers import gunicorn_conf

__all__ = ["installed", "wheel"]

EXAMPLE = ROOT / "examples" / "containers"
INSTRUCTIONS = [
    tuple(line.split(None, 1))
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", (EXAMPLE / "Containerfile").read_text())).splitlines()
    if line
]
MANIFEST: list[dict[str, Any]] = list(yaml.safe_load_all((EXAMPLE / "lastseat.yaml").read_text()))
JOB, DEPLOYMENT, SERVICE = MANIFEST
SECRETS = {"admin-token": "a-token", "database-password": "a-password"}


def of(instruction: str) -> list[str]:
    return [str(rest) for name, rest in INSTRUCTIONS if name == instruction]


IMAGE_ENV = dict(pair.split("=", 1) for line in of("ENV") for pair in shlex.split(line))
COMMAND: list[str] = json.loads(of("CMD")[0])
USER = of("USER")[0]


def pod(workload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A workload's pod, and its only container."""
    found = workload["spec"]["template"]["spec"]
    [container] = found["containers"]
    return found, container


def variables(workload: dict[str, Any]) -> dict[str, str]:
    """A container's environment: the image's, and the manifest's with secrets."""
    given = {
        each["name"]: each["value"] if "value" in each else SECRETS[each["valueFrom"]["secretKeyRef"]["key"]]
        for each in pod(workload)[1]["env"]
    }
    return IMAGE_ENV | given


# -- the Containerfile ------------------------------------------------------------------------------------------------


def test_all_that_is_copied_exists_and_nothing_that_is_installed_is_missing() -> None:
    copied = {each for line in of("COPY") if "--from" not in line for each in line.split()[:-1]}
    assert {each for each in copied if not (ROOT / each).exists()} == set()
    # loadtests/examples is a link to the last one.
    assert {"pyproject.toml", "README.md", "LICENSE", *PACKAGES, "examples"} <= copied


def test_what_is_installed_has_the_pinned_versions_and_nothing_for_the_tests_is_asked_for() -> None:
    [step] = [line for line in of("RUN") if "pip" in line]
    filter_ = step.split(">")[0]
    pinned = subprocess.run(["sh", "-c", filter_], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {each.replace("[binary]", "-binary") for each in project["dependencies"]} <= set(pinned)
    assert step.rstrip().endswith("--constraint /tmp/pinned .")
    assert all(re.fullmatch(r"[a-z0-9._-]+==[^ ;=]+", each) for each in pinned)


def test_the_settings_of_the_image_are_settings_and_its_user_has_a_number() -> None:
    assert from_environment(IMAGE_ENV) == Settings(data=Path("/data/office"))
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", USER)
    assert f"-o {USER.split(':')[0]} -g {USER.split(':')[1]} -m 0700 /data" in of("RUN")[-1]
    assert of("STOPSIGNAL") == ["SIGTERM"]


# -- the manifest -----------------------------------------------------------------------------------------------------


def test_every_variable_of_the_manifest_is_a_setting() -> None:
    settings = from_environment(variables(DEPLOYMENT))
    assert (settings.store, settings.guard, settings.first_event) == ("postgres", "", None)
    assert settings.admin_token == SECRETS["admin-token"]
    assert from_environment(variables(JOB)).store_url == settings.store_url
    assert variables(JOB)["PGPASSWORD"] == variables(DEPLOYMENT)["PGPASSWORD"]
    mounts = [each["mountPath"] for each in pod(DEPLOYMENT)[1]["volumeMounts"]]
    assert any(settings.data.is_relative_to(mount) for mount in mounts)


@pytest.mark.parametrize("workload", [JOB, DEPLOYMENT], ids=lambda each: str(each["kind"]))
def test_every_container_runs_without_rights_on_a_root_that_it_cannot_write(workload: dict[str, Any]) -> None:
    whole, container = pod(workload)
    user, group = map(int, USER.split(":"))
    assert whole["automountServiceAccountToken"] is False
    context = whole["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_probes_ask_addresses_that_there_are_and_wait_longer_than_the_service_does(tmp_path: Path) -> None:
    _, container = pod(DEPLOYMENT)
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness", "startup")}
    assert {name: each["path"] for name, each in asked.items()} == {
        "liveness": "/healthz", "readiness": "/readyz", "startup": "/healthz",
    }  # fmt: skip
    app = create_app(Settings(data=tmp_path / "data"))
    there = {rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    assert {each["path"] for each in asked.values()} <= there
    assert {each["port"] for each in asked.values()} == {port["name"] for port in container["ports"]}
    patience = from_environment(variables(DEPLOYMENT)).lock_timeout_s
    assert container["readinessProbe"]["timeoutSeconds"] > patience
    app.extensions["office"].store.close()


def test_ports_and_names_are_the_same_from_the_service_to_the_command() -> None:
    _, container = pod(DEPLOYMENT)
    [port] = container["ports"]
    assert COMMAND[COMMAND.index("--bind") + 1] == f"0.0.0.0:{port['containerPort']}"
    assert of("EXPOSE") == [str(port["containerPort"])]
    [served] = SERVICE["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert SERVICE["metadata"]["name"] in variables(DEPLOYMENT)["LASTSEAT_HOSTS"].split(",")
    assert pod(JOB)[1]["image"] == container["image"]
    assert pod(JOB)[1]["command"][:2] == ["lastseat", "store"] and "store" in VERBS


def test_there_is_time_to_answer_what_was_begun_before_the_kill() -> None:
    whole, container = pod(DEPLOYMENT)
    [_, sleeps] = container["lifecycle"]["preStop"]["exec"]["command"]
    assert whole["terminationGracePeriodSeconds"] > int(sleeps) + gunicorn_conf.graceful_timeout


# -- the image, as far as it runs without an engine for it -----------------------------------------------------------

AS_A_CONTAINER = """set -eu
root=$1 data=$2 user=$3 group=$4 places=$5 path=$PATH; shift 5
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs tmpfs "$root"
mkdir -p "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for place in $places; do
    [ -e "$place" ] || continue
    if [ -d "$place" ]; then mkdir -p "$root$place"; else mkdir -p "$root${place%/*}"; touch "$root$place"; fi
    mount --bind "$place" "$root$place"
    mount -o remount,bind,ro "$root$place"
done
mkdir -p "$root/data" "$root/proc" "$root/tmp"
touch "$root/dev/null" "$root/dev/urandom"
mount --bind /dev/null "$root/dev/null"
mount --bind /dev/urandom "$root/dev/urandom"
mount --rbind /proc "$root/proc"
mount --bind "$data" "$root/data"
mount -o remount,ro "$root"
exec chroot "$root" env PATH="$path" \\
    setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


class Image:
    """Runs commands as containers of the image, on one volume for ``/data``."""

    def __init__(self, installed: Path, folder: Path) -> None:
        self.programs = installed
        self._root, self.volume = folder / "root", folder / "volume"
        self._root.mkdir(parents=True)
        self.volume.mkdir()
        # As Kubernetes makes an emptyDir for an fsGroup.
        user, group = map(int, USER.split(":"))
        shutil.chown(self.volume, 0, group)
        self.volume.chmod(0o2777)
        self._user = (str(user), str(group))

    def through(self, *more: Path) -> list[str]:
        """What stands before a command that is to run in it; ``more`` are places of this machine that it sees."""
        system = ["/usr", "/bin", "/lib", "/lib64", "/etc", sys.base_prefix, DEPENDENCIES, self.programs.parent]
        places = " ".join(map(str, (*system, *more)))
        here = ["unshare", "--mount", "sh", "-c", AS_A_CONTAINER, "sh"]
        return [*here, str(self._root), str(self.volume), *self._user, places]

    def environment(self, given: dict[str, str]) -> dict[str, str]:
        return {name: value.replace("/opt/lastseat/bin", str(self.programs)) for name, value in given.items()}


@pytest.fixture
def image(installed: Path, tmp_path: Path) -> Image:
    return Image(installed, tmp_path)


def run_in(image: Image, given: dict[str, str], *command: str, sees: Sequence[Path] = ()) -> str:
    """A command that ends, in a container; what it printed. It must succeed."""
    done = subprocess.run(
        [*image.through(*sees), *command],
        env=image.environment(given), capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def served(image: Image, folder: Path, given: dict[str, str], *, sees: Sequence[Path] = ()) -> Typed:
    """The image's command, but for its port, with what Kubernetes writes about Services."""
    program, *arguments = COMMAND
    at = arguments.index("--bind")
    return Typed(
        [*arguments[:at], *arguments[at + 2 :]],
        folder / "outside",
        through=image.through(*sees),
        program=(program,),
        **image.environment(given) | IN_A_POD,
    )


@pytest.mark.servers
def test_in_the_image_nothing_can_be_written_but_the_volume_and_memory(image: Image) -> None:
    """The negative control of those below."""
    script = (
        "import os; print([each for each in ('/', '/tmp', '/usr', '/data', '/dev/shm') if os.access(each, os.W_OK)])"
    )
    assert run_in(image, IMAGE_ENV, "python", "-c", script).split() == ["['/data',", "'/dev/shm']"]
    who = "import os; print(os.getresuid(), os.getgroups(), open('/proc/self/status').read())"
    said = run_in(image, IMAGE_ENV, "python", "-c", who)
    assert said.startswith("(10001, 10001, 10001) []")
    assert re.search(r"CapEff:\s+0+\n", said) and re.search(r"CapBnd:\s+0+\n", said)


@pytest.mark.servers
@pytest.mark.parametrize("store", shortened(["json", "journal", "sqlite"], "journal"))
def test_the_images_command_sells_and_ends_and_another_container_finds_what_was_sold(
    image: Image, tmp_path: Path, store: str
) -> None:
    given = IMAGE_ENV | {"LASTSEAT_STORE": store, "LASTSEAT_ADMIN_TOKEN": "test-token"}
    for number in (1, 2):
        with served(image, tmp_path, given) as server:
            assert server.call("GET", "/readyz").status == 200
            assert server.buy().json["tickets"] == [number]
            server.end()
            for trouble in ("Read-only", "Permission denied", "Traceback", "WARNING", "ERROR"):
                assert trouble not in server.said, server.said
    assert [each.name for each in image.volume.iterdir()] == ["office"]


@pytest.mark.servers
def test_the_manifests_job_makes_the_schema_and_its_replicas_sell_on_one_engine(image: Image, tmp_path: Path) -> None:
    address = servers.server("postgres").fresh_database()
    parts = urllib.parse.urlsplit(address)
    socket = Path(urllib.parse.parse_qs(parts.query)["host"][0], ".s.PGSQL.5432")
    assert parts.password
    own = {
        "LASTSEAT_STORE": address.replace(f":{parts.password}@", "@"),
        "PGPASSWORD": parts.password,
    }
    job, replica = variables(JOB) | own, variables(DEPLOYMENT) | own | {"LASTSEAT_ADMIN_TOKEN": "test-token"}
    assert "the schema lastseat was made" in run_in(image, job, *pod(JOB)[1]["command"], sees=[socket])
    assert "nothing was changed" in run_in(image, job, *pod(JOB)[1]["command"], sees=[socket])
    another = Image(image.programs, tmp_path / "another")
    with (
        served(image, tmp_path / "first", replica, sees=[socket]) as first,
        served(another, tmp_path / "second", replica, sees=[socket]) as second,
    ):
        assert "Using worker: gevent" in first.said
        assert first.call("POST", "/events", {"event": "show", "name": "Show", "capacity": 2}).status == 201
        assert [each.buy().status for each in (first, second, first)] == [201, 201, 409]
        assert first.audit() == second.audit()
        assert "a-password" not in first.said and parts.password not in first.said

"""One private folder with all that the service is: three servers, two webs, three GPU workers, chores, two beats."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import redis

from bench.models_file import PRICE
from tests.chaos import engine, readiness
from tests.chaos.network import LOCAL, Network
from tests.chaos.supervisor import ROOT, Supervisor
from zekron_api.local import commands, postgres, redis_server, servers, unix_sockets
from zekron_api.local.run import free_port
from zekron_api.local.supervisord import read

WEBS = ("web-1", "web-2")
GPUS = ("gpu-1", "gpu-2", "gpu-3")
BEATS = ("beat-1", "beat-2")
NETWORK = "network"
# The way from chores to the receiver of webhooks, where they are on different hosts.
CALLS = "calls"
# The host of each process, where each host has a network of its own.
PLACES = {
    **{name: name for name in (*WEBS, *GPUS, "redis", "store")},
    **dict.fromkeys(("chores", *BEATS, CALLS), "chores"),
    NETWORK: "database",
}
# Short, so that clients meet every answer that a wait can end with.
SYNC_WAIT_SECONDS = 30
BUCKET = "chaos"

MODELS = (
    """
[zekron-image-1]
adapter = "tests.chaos.engine"
weights = "{engine_folder}"
licence = "none"
steps = 2
dtype = "float32"
batch_limit = 4
[zekron-image-1.options]
"""
    + PRICE
)


class Cluster:
    """Where everything is, and the hands to start and break it."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder = folder
        self.network = network
        # The folder of the release whose processes and commands are started.
        self.code = ROOT
        self.engine_folder = folder / "studio"
        self.objects = folder / "store" / BUCKET
        listening = (*WEBS, "redis", "store", NETWORK)
        self.addresses = {name: (network.address(name), free_port()) for name in listening}
        self.webhook_port = free_port()
        password, self._store_secret = secrets.token_hex(16), secrets.token_hex(16)
        self.redis_url = f"redis://:{password}@{self._at('redis')}/0"
        self.environment = {
            # A proxy stands for the network between the processes and PostgreSQL, so that it can be frozen and cut.
            "DATABASE_URL": f"postgres://postgres@{self._at(NETWORK)}/{postgres.DATABASE}",
            "REDIS_URL": self.redis_url,
            "STORAGE_URL": f"s3://{BUCKET}?endpoint_url=http://{self._at('store')}&region=us-east-1",
            "AWS_ACCESS_KEY_ID": "chaos",
            "AWS_SECRET_ACCESS_KEY": self._store_secret,
            "SECRET_KEY": secrets.token_urlsafe(60),
            "MASTER_KEYS": f"chaos:{b64encode(secrets.token_bytes(32)).decode()}",
            "ALLOWED_HOSTS": ",".join(network.address(name) for name in WEBS),
            "PUBLIC_URL": f"http://{self._at('web-1')}",
            "MODELS_FILE": str(folder / "models.toml"),
            "SYNC_WAIT_SECONDS": str(SYNC_WAIT_SECONDS),
            # The receiver of webhooks is in the process of the test.
            "WEBHOOK_ALLOW_LOOPBACK": "1",
            "DEBUG": "0",
        }
        self._password = password
        self.is_kept = False
        self.supervisor = Supervisor(logs=folder / "log")

    def start(self) -> None:
        """Start every process, and return once the service is ready for clients. Raise NoHosts."""
        self.network.start()
        self.engine_folder.mkdir()
        (self.engine_folder / engine.DIARY).touch()
        (self.folder / "models.toml").write_text(MODELS.format(engine_folder=self.engine_folder))
        unix_sockets.prepare(self.folder)
        postgres.start(self.folder)
        self._start_network()
        self._start_redis()
        self._start_store()
        self.manage("migrate", "--noinput", "--verbosity=0")
        self._start_processes()
        for name in WEBS:
            readiness.wait_until_ready(self.addresses[name])

    def close(self) -> None:
        """End every process that was started."""
        self.supervisor.close()
        postgres.stop(self.folder)
        self.network.close()

    def remove(self) -> None:
        """Remove the folder with all data and logs, unless somebody should look at it."""
        if not self.is_kept:
            shutil.rmtree(self.folder)

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of manage.py to its end."""
        return self.run("manage.py", *arguments)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Python with these arguments in the folder of the release to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.code,
            env={**self._variables(), "DJANGO_SETTINGS_MODULE": "zekron_api.settings"},
            capture_output=True,
            text=True,
            check=False,
        )

    def replace(self, name: str, *, seconds: float) -> None:
        """Stop the process, and return once one of the present release has its place. Raise TimeoutError."""
        command = self.network.command(name, self._command(name))
        self.supervisor.change(name, command, folder=self.code)
        pid = self.supervisor.send(name, signal.SIGTERM)
        self.supervisor.wait_for(name, other_than=pid, seconds=seconds)
        if name in WEBS:
            readiness.wait_until_ready(self.addresses[name])

    def begin(self, command: str) -> "subprocess.Popen[bytes]":
        """Start a command of manage.py, and discard its output."""
        return subprocess.Popen(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env=self._variables(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def object_keys(self) -> set[str]:
        """Return the names of all objects that the store has."""
        return {str(path.relative_to(self.objects)) for path in self.objects.rglob("*") if path.is_file()}

    def redis(self) -> redis.Redis:
        """Return a client of the cluster's Redis."""
        return redis.Redis.from_url(self.redis_url, socket_timeout=5, socket_connect_timeout=5)

    def database(self) -> psycopg.Connection:
        """Open a connection of one's own to the cluster's PostgreSQL."""
        return psycopg.connect(
            host=str(unix_sockets.folder(self.folder)),
            user="postgres",
            dbname=postgres.DATABASE,
            autocommit=True,
            connect_timeout=5,
        )

    def crash_database(self) -> None:
        """PostgreSQL ends as if its machine had lost power."""
        postgres._control(self.folder, "stop", "--mode=immediate")

    def start_database(self) -> None:
        """PostgreSQL is there again, after it has recovered."""
        postgres.start(self.folder)

    def database_pids(self) -> list[int]:
        """PostgreSQL's processes, its first one first."""
        first = int((self.folder / "postgres" / "postmaster.pid").read_text().split("\n")[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def heal(self) -> None:
        """Undoes whatever is still broken, and gives every process a life without failpoints and wrong clocks."""
        for fault in engine.FAULTS:
            (self.engine_folder / fault).unlink(missing_ok=True)
        self.objects.chmod(0o700)
        self.network.heal()
        for name in (*GPUS, *WEBS, *BEATS, "chores", "redis", "store", NETWORK):
            self.supervisor.let_go(name)
            self.supervisor.send(name, signal.SIGCONT)
            self.supervisor.disarm(name)
        self.start_database()
        with contextlib.suppress(redis.RedisError), self.redis() as client:
            client.config_set("maxmemory", 0)

    def _start_network(self) -> None:
        socket_path = unix_sockets.folder(self.folder) / ".s.PGSQL.5432"
        self._add(NETWORK, _proxy(self.addresses[NETWORK], str(socket_path)))
        readiness.wait_for_port(self.addresses[NETWORK])

    def _start_redis(self) -> None:
        (self.folder / "redis").mkdir()
        configuration = self.folder / "redis.conf"
        address, port = self.addresses["redis"]
        configuration.write_text(
            f"port {port}\nbind {address}\nrequirepass {self._password}\n"
            f'save ""\nappendonly no\nmaxmemory-policy noeviction\ndir "{self.folder / "redis"}"\n'
        )
        self._add("redis", [redis_server.binary(), str(configuration)])

    def _start_store(self) -> None:
        self.objects.mkdir(parents=True)
        command = [str(Path(sys.executable).parent / "rclone"), "serve", "s3", str(self.objects.parent)]
        command += ["--addr", self._at("store"), "--auth-key", f"chaos,{self._store_secret}"]
        # What is done to the folder directly is seen a second later.
        command += [
            "--dir-cache-time",
            "1s",
            "--config",
            "/dev/null",
            "--cache-dir",
            str(self.folder / "rclone"),
        ]
        if os.geteuid() == 0:
            # To root no folder is closed.
            for path in (self.objects.parent, self.objects):
                os.chown(path, commands.NOBODY, commands.NOBODY)
            self.folder.chmod(0o711)
            who = [f"--reuid={commands.NOBODY}", f"--regid={commands.NOBODY}", "--clear-groups"]
            # Another user forgets what it was tied to.
            command = ["setpriv", *who, "--pdeathsig", "KILL", *command]
        own = {"PATH": os.environ["PATH"], "HOME": str(self.objects.parent)}
        self.supervisor.add("store", self.network.command("store", command), own)

    def _start_processes(self) -> None:
        for name in (*WEBS, *GPUS, "chores", *BEATS):
            address, port = self.addresses.get(name, ("", ""))
            own = {"PORT": str(port), "WEB_HOST": address} if name in WEBS else {}
            self._add(name, self._command(name), folder=self.code, **own)
        if self.network.hosts:
            # The service calls receivers of webhooks at loopback alone, and this one is not on the host of chores.
            receiver = f"{self.network.own_address}:{self.webhook_port}"
            self._add(CALLS, _proxy((LOCAL, self.webhook_port), receiver))

    def _command(self, name: str) -> list[str]:
        return ["/bin/sh", "-c", f"exec {read(self.code / 'Procfile')[name.partition('-')[0]]}"]

    def _add(self, name: str, command: Sequence[str], *, folder: Path = ROOT, **own: str) -> None:
        command = self.network.command(name, command)
        self.supervisor.add(name, command, {**self._variables(), **own}, folder=folder)

    def _at(self, name: str) -> str:
        address, port = self.addresses[name]
        return f"{address}:{port}"

    def _variables(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL") if name in os.environ}
        return {**kept, **self.environment, "PATH": path}


def _proxy(address: tuple[str, int], target: str) -> list[str]:
    return [sys.executable, "-m", "tests.tcp_proxy", *map(str, address), target]


@contextlib.contextmanager
def staged(network: Network) -> Iterator[Cluster]:
    """Make a cluster in a folder of its own, not started yet; stop it at the end, and remove the folder unless kept."""
    with servers.ending_signals_raise(), contextlib.ExitStack() as stack:
        cluster = Cluster(Path(tempfile.mkdtemp(prefix="zekron-chaos-")), network)
        stack.callback(cluster.remove)
        stack.callback(cluster.close)
        yield cluster

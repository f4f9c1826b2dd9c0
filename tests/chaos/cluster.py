"""One private folder with all that the service is: three servers, two webs, three GPU workers, chores, two beats."""

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import psycopg
import redis

from bench.models_file import PRICE
from tests.chaos import engine
from tests.chaos.supervisor import ROOT, Supervisor
from zekron_api.local import commands, postgres, redis_server, servers, unix_sockets
from zekron_api.local.run import free_port
from zekron_api.local.supervisord import read

WEBS = ("web-1", "web-2")
GPUS = ("gpu-1", "gpu-2", "gpu-3")
BEATS = ("beat-1", "beat-2")
NETWORK = "network"
START_SECONDS = 120
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

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine_folder = folder / "studio"
        self.objects = folder / "store" / BUCKET
        self.ports = {name: free_port() for name in (*WEBS, "redis", "store", "database")}
        password, self._store_secret = secrets.token_hex(16), secrets.token_hex(16)
        self.redis_url = f"redis://:{password}@127.0.0.1:{self.ports['redis']}/0"
        self.environment = {
            # A proxy stands for the network between the processes and PostgreSQL, so that it can be frozen and cut.
            "DATABASE_URL": f"postgres://postgres@127.0.0.1:{self.ports['database']}/{postgres.DATABASE}",
            "REDIS_URL": self.redis_url,
            "STORAGE_URL": f"s3://{BUCKET}?endpoint_url=http://127.0.0.1:{self.ports['store']}&region=us-east-1",
            "AWS_ACCESS_KEY_ID": "chaos",
            "AWS_SECRET_ACCESS_KEY": self._store_secret,
            "SECRET_KEY": secrets.token_urlsafe(60),
            "MASTER_KEYS": f"chaos:{b64encode(secrets.token_bytes(32)).decode()}",
            "ALLOWED_HOSTS": "127.0.0.1",
            "PUBLIC_URL": f"http://127.0.0.1:{self.ports['web-1']}",
            "WEB_HOST": "127.0.0.1",
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
        """Start every process, and return once the service is ready for clients."""
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
            self._wait_until_ready(name)

    def close(self) -> None:
        """End every process that was started."""
        self.supervisor.close()
        postgres.stop(self.folder)

    def remove(self) -> None:
        """Remove the folder with all data and logs, unless somebody should look at it."""
        if not self.is_kept:
            shutil.rmtree(self.folder)

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of manage.py to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._variables(),
            capture_output=True,
            text=True,
            check=False,
        )

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
        for name in (*GPUS, *WEBS, *BEATS, "chores", "redis", "store", NETWORK):
            self.supervisor.let_go(name)
            self.supervisor.send(name, signal.SIGCONT)
            self.supervisor.disarm(name)
        self.start_database()
        with contextlib.suppress(redis.RedisError), self.redis() as client:
            client.config_set("maxmemory", 0)

    def _start_network(self) -> None:
        socket_path = unix_sockets.folder(self.folder) / ".s.PGSQL.5432"
        command = [sys.executable, "-m", "tests.tcp_proxy", str(self.ports["database"]), str(socket_path)]
        self.supervisor.add(NETWORK, command, self._variables())
        self._wait_for_port(self.ports["database"])

    def _start_redis(self) -> None:
        (self.folder / "redis").mkdir()
        configuration = self.folder / "redis.conf"
        configuration.write_text(
            f"port {self.ports['redis']}\nbind 127.0.0.1\nrequirepass {self._password}\n"
            f'save ""\nappendonly no\nmaxmemory-policy noeviction\ndir "{self.folder / "redis"}"\n'
        )
        self.supervisor.add("redis", [redis_server.binary(), str(configuration)], self._variables())

    def _start_store(self) -> None:
        self.objects.mkdir(parents=True)
        command = [str(Path(sys.executable).parent / "rclone"), "serve", "s3", str(self.objects.parent)]
        command += ["--addr", f"127.0.0.1:{self.ports['store']}", "--auth-key", f"chaos,{self._store_secret}"]
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
        self.supervisor.add("store", command, {"PATH": os.environ["PATH"], "HOME": str(self.objects.parent)})

    def _start_processes(self) -> None:
        commands = read(ROOT / "Procfile")
        for name in (*WEBS, *GPUS, "chores", *BEATS):
            command = commands[name.partition("-")[0]]
            port = {"PORT": str(self.ports[name])} if name in WEBS else {}
            self.supervisor.add(name, ["/bin/sh", "-c", f"exec {command}"], {**self._variables(), **port})

    def _variables(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL") if name in os.environ}
        return {**kept, **self.environment, "PATH": path}

    def _wait_for_port(self, port: int) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return
            except OSError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.05)

    def _wait_until_ready(self, name: str) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        said = "nothing"
        while time.monotonic() < give_up_at:
            connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=10)
            try:
                connection.request("GET", "/readyz")
                reply = connection.getresponse()
                said = reply.read().decode()
                if reply.status == 200:
                    return
            except OSError as error:
                said = str(error)
            finally:
                connection.close()
            time.sleep(0.25)
        raise TimeoutError(f"{name} did not become ready: {said}")


@contextlib.contextmanager
def staged() -> Iterator[Cluster]:
    """Make a cluster in a folder of its own, not started yet; stop it at the end, and remove the folder unless kept."""
    with servers.ending_signals_raise(), contextlib.ExitStack() as stack:
        cluster = Cluster(Path(tempfile.mkdtemp(prefix="zekron-chaos-")))
        stack.callback(cluster.remove)
        stack.callback(cluster.close)
        yield cluster

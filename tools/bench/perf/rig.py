"""What a measurement starts: a cluster with private stores, pinned; and how it reads CPU and memory."""

import contextlib
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import base64

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.environ.get("HOLDFAST_BUILD") or os.path.join(ROOT, "build-release")
os.environ["HOLDFAST_BUILD"] = BUILD
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from harness.cluster import Cluster  # noqa: E402
from harness.stores import MariaDB, Redis  # noqa: E402

BENCH = os.path.join(BUILD, "tools", "bench")
APP = 7
QUIET = {"log__level": "warn"}


def program(name):
    return os.path.join(BENCH, name)


def build():
    """The release build that is measured, made when it is not there."""
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        subprocess.run(["meson", "setup", BUILD, ROOT, "--buildtype=release", "-Dwerror=true"], check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", BUILD, "--quiet"], check=True, stdout=sys.stderr)


def pin(pid, cpus):
    os.sched_setaffinity(pid, cpus)


def cpus():
    """(what is measured, everything else): one processor each."""
    have = sorted(os.sched_getaffinity(0))
    return {have[0]}, {have[1 % len(have)]}


def cpu_seconds(pid):
    """User and system time of all threads of a process so far."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def pss_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no Pss")


def run_json(command, timeout=120, cpu=None):
    """The last line of a program's output, as JSON."""
    import json
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False,
                          preexec_fn=(lambda: os.sched_setaffinity(0, cpu)) if cpu else None)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def payload(size):
    """As hf-bench push writes it, of now: what its clients measure."""
    now = time.time_ns()
    return struct.pack("<4sIQQQ", b"HFB1", now & 0xffffffff, 1, now, now).ljust(size, b"\0")


class Rig:
    """A cluster of one process a role, unless told otherwise."""

    def __init__(self, buffer_pool="32M", log_file="16M"):
        self.folder = tempfile.mkdtemp(prefix="hf-perf-")
        self.stores = contextlib.ExitStack()
        self.redis = Redis(os.path.join(self.folder, "redis"))
        self.redis.start()
        self.stores.callback(self.redis.stop)
        self.mariadb = MariaDB(os.path.join(self.folder, "mariadb"))
        self.mariadb.buffer_pool, self.mariadb.log_file = buffer_pool, log_file
        self.mariadb.install()
        self.mariadb.start()
        self.stores.callback(self.mariadb.stop)
        self.mariadb.query("CREATE DATABASE hf_perf")
        os.mkdir(os.path.join(self.folder, "cluster"))
        self.cluster = Cluster(os.path.join(self.folder, "cluster"), self.redis, self.mariadb, "hf_perf")
        self.app = self.cluster.add_app(APP, messages_per_second=10000000, burst=20000000)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        try:
            self.cluster.stop()
        finally:
            try:
                self.stores.close()
            finally:
                shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, settings=None, **counts):
        chosen = {role: dict(QUIET) for role in ("register", "saver", "coordinator", "room", "center",
                                                 "dispatcher")}
        chosen["room"]["limits__accept_rate"] = 1000000
        chosen["room"]["limits__login_rate"] = 0
        for role, more in (settings or {}).items():
            chosen[role].update(more)
        self.cluster.start(chosen, **counts)
        return self

    def pin(self, role, cpu):
        for process in self.cluster.processes[role]:
            pin(process.process.pid, cpu)

    def pin_all(self, cpu):
        for process in self.cluster.all():
            pin(process.process.pid, cpu)
        pin(self.redis.process.pid, cpu)
        pin(self.mariadb.process.pid, cpu)

    def secret_file(self):
        path = os.path.join(self.folder, "token.secret")
        if not os.path.exists(path):  # else another hf-bench may be reading it now
            with open(path, "w", encoding="ascii") as file:
                file.write(base64.b64encode(self.app.token_secret).decode() + "\n")
        return path

    def key_file(self):
        path = os.path.join(self.folder, "sender.key")
        with open(path, "w", encoding="ascii") as file:
            file.write(self.app.key("sender") + "\n")
        return path

    def broadcast(self, data, **message):
        """One message to everybody; its id."""
        answer = self.app.call("POST", "messages", {"audience": "all", "message": {
            "data_b64": base64.b64encode(data).decode(), **message}})
        if answer.status != 202:
            raise RuntimeError(f"broadcast refused: {answer}")
        return answer.json["message_id"]

    def message_state(self, message):
        return self.app.call("GET", f"messages/{message}").json["state"]

    def certificate(self):
        """(certificate, key), signed by itself."""
        files = [os.path.join(self.folder, name) for name in ("cert.pem", "key.pem")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-keyout", files[1], "-out", files[0]],
                       check=True, capture_output=True)
        return files

    def rpc_address(self, role, number=0):
        return self.cluster.processes[role][number].instance()["rpc"]

    def client_command(self, command, count, connrate=5000, room=None, **options):
        rooms = ",".join(process.instance()["endpoints"][0]["address"]
                         for process in self.cluster.processes["room"])
        words = [program("hf-bench"), command, "-a", room or rooms, "-A", str(APP), "--token-key-id",
                 self.app.token_key, "--token-secret-file", self.secret_file(), "-c", str(count), "-R",
                 str(connrate), "--quiet"]
        return words + flags(options)

    def push_command(self, count, **options):
        return [program("hf-bench"), "push", "-u", f"http://{self.cluster.api_address()}", "-A", str(APP),
                "--key-file", self.key_file(), "-c", str(count), "--quiet"] + flags(options)

    def clients(self, command, count, cpu=None, **options):
        """Clients in the background, all logged in when this returns."""
        from harness.waiting import wait_until
        words = self.client_command(command, count, duration=0, **options)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL,
                                   preexec_fn=(lambda: os.sched_setaffinity(0, cpu)) if cpu else None)

        def there():
            if process.poll() is not None:
                raise RuntimeError(f"hf-bench ended with {process.returncode}")
            return sum(room.metric("holdfast_room_connections")
                       for room in self.cluster.processes["room"]) >= count
        wait_until(there, 120, f"{count} clients are logged in")
        return process


def flags(options):
    words = []
    for name, value in options.items():
        name = "--" + name.replace("_", "-")
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            words += [name, str(value)]
    return words


def spread(values):
    """(largest - smallest) / median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0

"""A cluster of real Holdfast processes in a folder of its own."""

import hashlib
import http.client
import base64
import json
import os
import re
import signal
import subprocess
import threading

from . import api, rpc, tokens, wire
from .phone import Follower, Phone
from .waiting import wait_until

BUILD = os.environ.get("HOLDFAST_BUILD") or os.path.join(
    os.path.dirname(__file__), "..", "..", "..", "build-test")
ROLES = ("register", "saver", "coordinator", "room", "center", "dispatcher")


def binary(path):
    return os.path.join(BUILD, path)


class Process:
    """One service process. Its address, state and readiness are what it says of itself in the keeper."""

    def __init__(self, cluster, role, number, settings):
        self.cluster = cluster
        self.role = role
        self.id = f"{role}-{number}"
        self.settings = dict(settings)
        self.process = None
        self.log_path = os.path.join(cluster.folder, f"{self.id}.log")
        self.callers = {}  # (thread, time-out): connections to the RPC port

    def start(self):
        config = os.path.join(self.cluster.folder, f"{self.role}.yaml")
        command = [binary(f"services/{self.role}/holdfast-{self.role}"), "-c", config,
                   "--node-id", self.id]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        environment.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=environment)

    def instance(self):
        """What the process says of itself now; None while it says nothing."""
        path = os.path.join(self.cluster.keeper, "instances", self.role, self.id)
        try:
            with open(path, encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def admin(self, method, path, timeout=5):
        return api.request(self.instance()["admin"], method, path, timeout=timeout)

    def ready(self):
        if not self.alive():
            raise AssertionError(f"{self.id} ended with {self.process.returncode}:\n{self.log_tail()}")
        instance = self.instance()
        if instance is None or instance["state"] != "serving" or not self._is_own(instance):
            return False
        try:
            return self.admin("GET", "/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def _is_own(self, instance):
        """A file that a killed predecessor left behind tells of ports that nobody serves."""
        try:
            answer = api.request(instance["admin"], "GET", "/version", timeout=5)
            return answer.json.get("pid") == self.process.pid
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def wait_ready(self, timeout=30):
        wait_until(self.ready, timeout, f"{self.id} is ready")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def restart(self):
        self.start()
        self.wait_ready()

    def wait_exit(self, timeout=60):
        return self.process.wait(timeout)

    def caller(self, timeout_ms):
        """The connection to the RPC port on which this thread calls; another one after a restart."""
        key, address = (threading.get_ident(), timeout_ms), self.instance()["rpc"]
        if key in self.callers and self.callers[key].address != address:
            self.callers.pop(key).close()
        if key not in self.callers:
            self.callers[key] = rpc.Rpc(self, timeout_ms)
        return self.callers[key]

    def hang_up(self):
        while self.callers:
            self.callers.popitem()[1].close()

    def metrics(self):
        """All samples of /metrics as {'name{labels}': value}."""
        samples = {}
        for line in self.admin("GET", "/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def metric(self, name, **labels):
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        for sample, value in self.metrics().items():
            base, _, rest = sample.partition("{")
            if base == name and all(f'{key}="{want}"' in rest for key, want in labels.items()):
                total += value
        return total

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def log_has(self, pattern):
        return re.search(pattern, self.log()) is not None


class App:
    """One app of the cluster: its keys, as the operator made them."""

    def __init__(self, cluster, number, name):
        self.cluster = cluster
        self.id = number
        self.name = name
        self.token_key = f"tk{number}"
        self.token_secret = hashlib.sha256(f"token secret of {number}".encode()).digest()
        self.secrets = {role: f"s3cret-{role}-{number}-0123456789abcdef" for role in
                        ("viewer", "sender", "admin")}

    def key(self, role="sender"):
        return f"ak_{role}.{self.secrets[role]}"

    def document(self, **limits):
        chosen = {"messages_per_second": 100000, "burst": 200000}
        chosen.update(limits)
        return {
            "id": self.id, "name": self.name, "enabled": True,
            "token_keys": [{"id": self.token_key,
                            "secret": base64.b64encode(self.token_secret).decode()}],
            "api_keys": [{"id": f"ak_{role}", "role": role,
                          "secret_sha256": hashlib.sha256(secret.encode()).hexdigest()}
                         for role, secret in self.secrets.items()],
            "limits": chosen,
        }

    def token(self, registration, **claims):
        return tokens.sign(self.id, registration, self.token_key, self.token_secret, **claims)

    def registered(self, registration, room=0, platform=None, tags=(), **claims):
        """A phone that has attached as this registration, which the store knows by now."""
        phone = self.cluster.phone(room, registration)
        options = {} if platform is None else {"platform": platform}
        phone.login(wire.session(self.id, registration, self.token(registration, **claims), tags=tags), **options)
        wait_until(lambda: self.call("GET", f"registrations/{registration}", role="viewer").status == 200,
                   what=f"{registration} is registered")
        return phone

    def path(self, rest):
        return f"/v1/apps/{self.id}/{rest}"

    def call(self, method, path, body=None, role="sender", center=0, **options):
        return api.request(self.cluster.api_address(center), method, self.path(path), body,
                           key=self.key(role), **options)

    def register(self, *registrations, **profile):
        """Let the store know them, as the load of their first login does."""
        profile = {"platform": "linux", "sdk_version": "1.0.0", **profile}
        saver = next(process for process in self.cluster.processes["saver"] if process.alive())
        calls = [("Load", {"app": self.id, "registration": registration, "login": True, "max_count": 1,
                           "profile": profile}) for registration in registrations]
        for status, reply in rpc.call_all(saver, calls):
            assert status == "OK", reply

    def send(self, data, registrations, center=0, headers=None, **options):
        if isinstance(registrations, str):
            registrations = [registrations]
        return self.call("POST", "messages", api.text_message(data, registrations, **options),
                         center=center, headers=headers)


class Cluster:
    OPERATOR_SECRET = "operator-secret-0123456789"

    def __init__(self, folder, redis, mariadb, database):
        self.folder = folder
        self.keeper = os.path.join(folder, "keeper")
        self.redis = redis
        self.mariadb = mariadb
        self.database = database
        self.processes = {role: [] for role in ROLES}
        self.apps = {}
        self.phones = []
        os.makedirs(self.keeper)
        self._write_configs()

    def _write_configs(self):
        common = f"keeper: {{backend: 'dir:{self.keeper}'}}\nlog: {{level: debug}}\n"
        extra = {
            "room": "listeners:\n  - {bind: '127.0.0.1:0'}\n",
            "center": f"api: {{bind: '127.0.0.1:0'}}\noperator_key: {self.OPERATOR_SECRET}\n",
            "dispatcher": "api: {bind: '127.0.0.1:0'}\n",
            "saver": (f"redis: {{nodes: ['unix:{self.redis.socket}']}}\n"
                      f"database: {{socket: '{self.mariadb.socket}', user: root, password: '', "
                      f"name: {self.database}}}\n"),
        }
        for role in ROLES:
            with open(os.path.join(self.folder, f"{role}.yaml"), "w", encoding="utf-8") as file:
                file.write(common + extra.get(role, ""))

    def add_app(self, number, name=None, **limits):
        app = App(self, number, name or f"app{number}")
        self.write_app(app, app.document(**limits))
        self.apps[number] = app
        return app

    def write_app(self, app, document):
        """The app's document into the keeper, as it is."""
        folder = os.path.join(self.keeper, "apps")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f".{app.id}.new"), "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.rename(os.path.join(folder, f".{app.id}.new"), os.path.join(folder, str(app.id)))

    def add(self, role, **settings):
        """One more process of `role`; settings with '__' for the dots."""
        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        process = Process(self, role, len(self.processes[role]) + 1, dotted)
        self.processes[role].append(process)
        process.start()
        return process

    def start(self, settings=None, **counts):
        """Start `counts` processes of each role (one where nothing is said) and wait for all of them."""
        for role in ROLES:
            for _ in range(counts.get(role, 1)):
                self.add(role, **(settings or {}).get(role, {}))
        for process in self.all():
            process.wait_ready()
        self.wait_settled()
        return self

    def all(self):
        return [process for role in ROLES for process in self.processes[role]]

    def running(self):
        return [process for process in self.all() if process.alive()]

    def wait_settled(self, timeout=30):
        """Every slot is known to its register again."""
        def complete():
            live = [process for process in self.processes["register"] if process.alive()]
            owned = sum(process.metric("holdfast_register_slots_owned") for process in live)
            known = sum(process.metric("holdfast_register_slots_complete") for process in live)
            return owned == 4096 and known == 4096
        wait_until(complete, timeout, "every slot has a register that knows it")

    def __getattr__(self, name):
        # cluster.rooms[0], cluster.room: the processes of a role, or its first one.
        processes = self.__dict__.get("processes", {})
        if name in processes:
            return processes[name][0]
        if name.endswith("s") and name[:-1] in processes:
            return processes[name[:-1]]
        raise AttributeError(name)

    def api_address(self, center=0):
        return self.processes["center"][center].instance()["endpoints"][0]["address"]

    def dispatcher_address(self):
        return self.processes["dispatcher"][0].instance()["endpoints"][0]["address"]

    def room_address(self, room=0):
        return self.processes["room"][room].instance()["endpoints"][0]["address"]

    def phone(self, room=0, device="device-1", **options):
        phone = Phone(self.room_address(room), device, **options)
        self.phones.append(phone)
        return phone

    def live_rooms(self):
        """Addresses of the rooms that take clients now."""
        found = []
        for process in self.processes["room"]:
            instance = process.instance() if process.alive() else None
            if instance and instance["state"] == "serving" and instance["endpoints"]:
                found.append(instance["endpoints"][0]["address"])
        return found

    def follower(self, *sessions, device="device-1"):
        follower = Follower(self.live_rooms, sessions, device)
        self.phones.append(follower)
        return follower

    def operator(self, method, path, body=None, **options):
        return api.request(self.api_address(), method, path, body,
                           key=f"operator.{self.OPERATOR_SECRET}", **options)

    def stop(self):
        """Stop everything at once, as a machine that goes down does; a process that does not leave cleanly fails the test."""
        for phone in self.phones:
            phone.close()
        bad = []
        for process in self.all():
            process.hang_up()
            if process.alive():
                process.resume()
                process.terminate()
        for process in self.all():
            try:
                if process.process is not None and process.wait_exit(60) not in (0, -signal.SIGKILL):
                    bad.append(f"{process.id} ended with {process.process.returncode}:\n"
                               + process.log_tail(120))
            except subprocess.TimeoutExpired:
                process.kill()
                bad.append(f"{process.id} did not stop:\n" + process.log_tail(60))
            if process.log_has(r"ERROR: AddressSanitizer|runtime error:|LeakSanitizer"):
                bad.append(f"{process.id}: sanitizer report:\n" + process.log_tail(120))
        assert not bad, "\n\n".join(bad)

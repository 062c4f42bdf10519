"""A private Redis and a private MariaDB, each with a data folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

from .waiting import wait_until


def _is_root():
    return os.geteuid() == 0


class Store:
    """One store process that can be killed, started again and emptied."""

    def __init__(self, folder, name):
        self.folder = folder
        self.name = name
        self.process = None
        # Paths of Unix sockets are short (107 bytes); those of tests are not.
        self.socket_folder = tempfile.mkdtemp(prefix="hf-")
        self.socket = os.path.join(self.socket_folder, f"{name}.sock")
        os.makedirs(folder, exist_ok=True)

    def command(self):
        raise NotImplementedError

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        log = open(os.path.join(self.folder, f"{self.name}.log"), "ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        wait_until(self.answers, 60, f"{self.name} answers")

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}: see {self.folder}")
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(2)
                link.connect(self.socket)
                return self.greets(link)
        except OSError:
            return False

    def greets(self, link):
        raise NotImplementedError

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """The end: nobody wants its data."""
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.socket_folder, ignore_errors=True)


class Redis(Store):
    def __init__(self, folder):
        super().__init__(folder, "redis")
        self.appendfsync = "always"  # as of the next start

    def command(self):
        return ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.folder,
                "--appendonly", "yes", "--appendfsync", self.appendfsync, "--save", "",
                "--maxmemory-policy", "noeviction", "--daemonize", "no"]

    def greets(self, link):
        link.sendall(b"PING\r\n")
        return link.recv(64).startswith(b"+PONG")

    def call(self, *words):
        """One command; the reply as text lines of redis-cli."""
        done = subprocess.run(["redis-cli", "-s", self.socket, *words], capture_output=True, check=True)
        return done.stdout.decode("utf-8", "replace").splitlines()

    def queue_length(self, app, registration):
        """Messages owed to one registration, as Redis has them."""
        key = f"hf:q:{app}:{registration}"  # counted by Redis: the fields are ids in binary
        return int(self.call("HLEN", key)[0]) - int(self.call("HEXISTS", key, "!")[0])

    def empty(self):
        """Lose the disk: only while it is down."""
        assert self.process.poll() is not None
        for name in os.listdir(self.folder):
            if name != "redis.log":
                path = os.path.join(self.folder, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


class MariaDB(Store):
    def __init__(self, folder):
        super().__init__(folder, "mariadb")
        self.data = os.path.join(folder, "data")
        # Two servers that start at once in one folder take each other's temporary tables for theirs.
        self.temporary = os.path.join(folder, "tmp")
        os.makedirs(self.temporary, exist_ok=True)
        self.buffer_pool, self.log_file = "32M", "16M"

    def command(self):
        command = ["mariadbd", "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}",
                   f"--tmpdir={self.temporary}", "--skip-networking", "--skip-name-resolve", f"--pid-file={self.folder}/mariadb.pid",
                   f"--innodb-buffer-pool-size={self.buffer_pool}", f"--innodb-log-file-size={self.log_file}",
                   "--innodb-flush-log-at-trx-commit=1", "--max-connections=200",
                   "--performance-schema=OFF"]
        return command + ["--user=root"] if _is_root() else command

    def install(self):
        command = ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}",
                   f"--tmpdir={self.temporary}",
                   "--auth-root-authentication-method=normal", "--skip-test-db", "--force"]
        if _is_root():
            command.append("--user=root")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def greets(self, link):
        return len(link.recv(16)) > 0

    def query(self, sql, database=""):
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-N", "-B", "-e", sql]
        if database:
            command.append(database)
        done = subprocess.run(command, capture_output=True, check=True)
        return done.stdout.decode().splitlines()

"""The agent: a whole host from one file, with private stores."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness import api
from harness.cluster import binary
from harness.waiting import wait_until

CONFIG = """
data_dir: {folder}
admin: {{bind: '127.0.0.1:0'}}
redis: {{enabled: true}}
mariadb: {{enabled: true, buffer_pool: 16MiB}}
processes:
  - {{role: register}}
  - {{role: saver}}
  - {{role: coordinator}}
  - {{role: room, count: 2, set: ["listeners=[{{bind: '127.0.0.1:0'}}]"]}}
  - {{role: center, set: ['api.bind=127.0.0.1:0', 'operator_key=operator-secret-0123456789']}}
  - {{role: dispatcher, set: ['api.bind=127.0.0.1:0']}}
"""


class Agent:
    def __init__(self, folder):
        self.folder = folder
        self.config = os.path.join(folder, "cluster.yaml")
        self.process = None
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(folder=folder))

    def start(self):
        with open(os.path.join(self.folder, "agent.out"), "ab") as log:
            self.process = subprocess.Popen([binary("deploy/agent/holdfast-agent"), "-c", self.config],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def output(self):
        with open(os.path.join(self.folder, "agent.out"), encoding="utf-8") as file:
            return file.read()

    def admin(self, path):
        folder = os.path.join(self.folder, "keeper", "instances", "agent")
        for name in os.listdir(folder):
            if name.startswith("."):
                continue
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                address = json.load(file)["admin"]
            return api.request(address, "GET", path, timeout=5)
        raise OSError("the agent has not said where it listens")

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the agent ended with {self.process.returncode}\n{self.output()}")
        try:
            return self.admin("/readyz").status == 200
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def wait_ready(self):
        wait_until(self.ready, 90, lambda: "the agent is ready\n" + self.output()[-4000:])

    def processes(self):
        return {one["name"]: one for one in self.admin("/v1/processes").json}

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def agent():
    folder = tempfile.mkdtemp(prefix="hf-agent-")
    one = Agent(folder)
    one.start()
    yield one
    one.stop()
    shutil.rmtree(folder)


def test_one_file_starts_everything_and_term_ends_everything(agent):
    agent.wait_ready()
    processes = agent.processes()
    assert sorted(processes) == ["center-1", "coordinator-1", "dispatcher-1", "mariadb", "redis",
                                 "register-1", "room-1", "room-2", "saver-1"]
    pids = [one["pid"] for one in processes.values()]
    agent.process.terminate()
    assert agent.process.wait(120) == 0, agent.output()
    assert not any(lives(pid) for pid in pids)


def test_what_dies_is_started_again(agent):
    agent.wait_ready()
    before = agent.processes()
    for name in ("room-1", "saver-1", "redis"):
        os.kill(before[name]["pid"], signal.SIGKILL)

    def restarted():
        after = agent.processes()
        return all(after[name]["restarts"] >= 1 and after[name]["pid"] not in (0, before[name]["pid"])
                   for name in ("room-1", "saver-1", "redis")) and agent.ready()
    wait_until(restarted, 60)


def test_children_of_a_killed_agent_do_not_outlive_it(agent):
    agent.wait_ready()
    pids = [one["pid"] for one in agent.processes().values()]
    agent.process.kill()
    agent.process.wait()
    agent.start()
    agent.wait_ready()
    assert not any(lives(pid) for pid in pids)


def test_a_second_agent_on_the_same_folder_is_refused(agent):
    agent.wait_ready()
    twin = subprocess.run([binary("deploy/agent/holdfast-agent"), "-c", agent.config],
                          capture_output=True, text=True, timeout=30)
    assert twin.returncode != 0
    assert agent.folder in twin.stderr
    assert agent.ready()


def test_a_bad_file_names_the_line(tmp_path):
    config = tmp_path / "bad.yaml"
    config.write_text("data_dir: /tmp/x\nprocesses:\n  - {role: barista}\n")
    done = subprocess.run([binary("deploy/agent/holdfast-agent"), "-t", "-c", str(config)],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "bad.yaml:3" in done.stderr and "role" in done.stderr

"""Calls to a process' RPC port, as another service would make them (tests/integration/tools/rpc_call.c)."""

import json
import os
import subprocess

from . import cluster


def call_all(process, calls, timeout_ms=5000):
    """[(method, request), ...], sent at once; their [status, reply or reason], in order."""
    lines = "".join(json.dumps([method, request]) + "\n" for method, request in calls)
    tool = os.path.join(cluster.BUILD, "tests/integration/tools/rpc_call")
    run = subprocess.run([tool, process.role, process.instance()["rpc"], str(timeout_ms)], input=lines,
                         capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode in (0, 1), run.stderr
    answers = sorted((json.loads(line) for line in run.stdout.splitlines()), key=lambda answer: answer[0])
    return [answer[1:] for answer in answers]


def call(process, method, request):
    """The reply of one call that must succeed."""
    (status, reply), = call_all(process, [(method, request)])
    assert status == "OK", (method, status, reply)
    return reply


def text(value):
    """What the tool shows of a bytes field."""
    return bytes.fromhex(value["hex"]).decode()


class Refused(AssertionError):
    def __init__(self, status, reason):
        super().__init__(f"{status} {reason}")
        self.status, self.reason = status, reason


class Rpc:
    """One connection; a call at a time, or many at once."""

    def __init__(self, process):
        self.process = subprocess.Popen(
            [cluster.binary("tests/integration/tools/rpc_call"), process.role, process.instance()["rpc"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.made = 0

    def begin(self, method, **request):
        """Send a call; its number, for end()."""
        self.process.stdin.write(json.dumps([method, request]) + "\n")
        self.process.stdin.flush()
        self.made += 1
        return self.made - 1

    def next_answer(self):
        """(number, reply) of the call that is answered next; Refused when that is an error."""
        line = self.process.stdout.readline()
        assert line, "rpc_call has ended"
        number, status, reply = json.loads(line)
        if status != "OK":
            raise Refused(status, reply)
        return number, reply

    def __call__(self, method, **request):
        number = self.begin(method, **request)
        answered, reply = self.next_answer()
        assert answered == number
        return reply

    def close(self):
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait(10)
        self.process.stdout.close()

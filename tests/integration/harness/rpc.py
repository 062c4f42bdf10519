"""Calls to a process' RPC port, as another service would make them (tests/integration/tools/rpc_call.c)."""

import json
import subprocess
import threading

from . import cluster


def call_all(process, calls, timeout_ms=5000):
    """[(method, request), ...], sent at once; their [status, reply or reason], in order."""
    return process.caller(timeout_ms).call_all(calls)


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

    def __init__(self, process, timeout_ms=5000):
        self.address = process.instance()["rpc"]
        self.process = subprocess.Popen(
            [cluster.binary("tests/integration/tools/rpc_call"), process.role, self.address, str(timeout_ms)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.made = 0

    def _send(self, calls):
        self.process.stdin.write("".join(json.dumps(one) + "\n" for one in calls))
        self.process.stdin.flush()

    def _read(self):
        line = self.process.stdout.readline()
        assert line, "rpc_call has ended: " + self.process.stderr.read()
        return json.loads(line)

    def begin(self, method, **request):
        """Send a call; its number, for end()."""
        self._send([(method, request)])
        self.made += 1
        return self.made - 1

    def next_answer(self):
        """(number, reply) of the call that is answered next; Refused when that is an error."""
        number, status, reply = self._read()
        if status != "OK":
            raise Refused(status, reply)
        return number, reply

    def __call__(self, method, **request):
        number = self.begin(method, **request)
        answered, reply = self.next_answer()
        assert answered == number
        return reply

    def call_all(self, calls):
        """Send them at once; [status, reply or reason] of each, in order."""
        sender = threading.Thread(target=self._send, args=(calls,))  # the first answers come before the last is sent
        sender.start()
        answers = sorted((self._read() for _ in calls), key=lambda answer: answer[0])
        sender.join()
        self.made += len(calls)
        return [answer[1:] for answer in answers]

    def close(self):
        _, complaint = self.process.communicate(timeout=20)
        assert self.process.returncode in (0, 1), complaint

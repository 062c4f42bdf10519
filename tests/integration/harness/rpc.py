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

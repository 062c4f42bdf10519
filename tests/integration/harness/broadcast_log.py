"""The broadcast log of app 7, as center and room use it at a saver."""

import time

from . import rpc

LOADABLE, HELD, REMOVED = range(3)
TRANSIENT, STORED, DURABLE = range(3)
APP = 7
EPOCH_MS = 1704067200000


def now_ms():
    return int(time.time() * 1000)


def new_id(sequence=0, at_ms=None):
    return ((at_ms or now_ms()) - EPOCH_MS) << 22 | sequence


def broadcast(number, **fields):
    return {"message_id": number, "app": APP, "frame": f"frame {number}", "class": STORED,
            "expires_ms": now_ms() + 600000, **fields}


def append(saver, number, broadcasts_max=0, **fields):
    reply = rpc.call(saver, "LogAppend", {"broadcast": broadcast(number, **fields),
                                          "broadcasts_max": broadcasts_max})
    return reply["version"]


def recall(saver, number):
    return rpc.call(saver, "LogAppend", {"app": APP, "recalled_id": number,
                                         "recall_expires_ms": now_ms() + 600000})["version"]


def change(saver, number, state):
    return rpc.call(saver, "LogChange", {"app": APP, "message_id": number, "state": state})


def spans(reply):
    return [(span["from"], span["until"]) for span in reply["spans"]]


def load_request(registration="reg-1", after=0, max_count=100, max_bytes=1 << 20, login=True):
    return "Load", {"app": APP, "registration": registration, "after": after, "max_count": max_count,
                    "max_bytes": max_bytes, "login": login}


def load(saver, registration="reg-1", **options):
    return rpc.call(saver, *load_request(registration, **options))


def ids(reply):
    return [message["message_id"] for message in reply["messages"]]


def attach(saver, registration="reg-1", **profile):
    """A login that tells who it is: from now on there is a record."""
    method, request = load_request(registration)
    return rpc.call(saver, method, {**request, "profile": {"platform": "test", **profile}})


def store(saver, number, registration="reg-1", **fields):
    attach(saver, registration)
    reply = rpc.call(saver, "Store", {"frames": [f"frame {number}"], "items": [
        {"message_id": number, "app": APP, "registration": registration, "frame": 0, "class": STORED, **fields}]})
    assert not reply["failures"] and not reply["unregistered"]


def ack(saver, *numbers, registration="reg-1"):
    rpc.call(saver, "Ack", {"items": [{"app": APP, "registration": registration, "message_ids": list(numbers)}]})


def read(saver, number):
    return rpc.call(saver, "LogRead", {"app": APP, "message_id": number})

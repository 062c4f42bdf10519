"""Callbacks of apps: a server that remembers what it was told, and a cluster that tells it."""

import json

from . import wire
from .callback import Callback
from .rpc import call

OPENED, CLOSED, ONLINE, OFFLINE = 1, 2, 3, 4
CREATED, ACKED = 5, 9
LOOPBACK = ["127.0.0.0/8"]
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
# Retries that fit into a test: fast, and then slower than any test waits.
FAST = {"callbacks.retries": "200ms,200ms,500ms,1s,1s,1s,1s,2s,2s,2s,2s,5s,5s,60s",
        "callbacks.poll": "300ms", "callbacks.offline_delay": "700ms"}


class Inbox(Callback):
    """A callback server that keeps the events it has taken, in their order."""

    def __init__(self, answer=None):
        self.taken = []  # (webhook-id, attempt, event), of requests answered 2xx
        self.wanted = answer or (lambda received: (200, {}, b""))
        super().__init__(self._answer)

    def _answer(self, received):
        answer = self.wanted(received)
        if answer is not None and answer[0] // 100 == 2:
            with self.lock:
                self.taken += [(received.headers["webhook-id"], int(received.headers["X-Holdfast-Attempt"]), event)
                               for event in received.json["events"]]
        return answer

    def events(self, *types):
        with self.lock:
            return [event for _, _, event in self.taken if not types or event["type"] in types]

    def ids(self):
        return [event["id"] for event in self.events()]


def webhook(name, url, *events, **fields):
    return dict({"id": name, "url": url, "secrets": [SECRET], "events": list(events),
                 "allow_cidrs": LOOPBACK, "batch": {"max_events": 100, "max_wait": "10ms"}}, **fields)


def prepare(cluster, *webhooks, number=7):
    app = cluster.apps.get(number) or cluster.add_app(number)
    document = app.document()
    document["webhooks"] = list(webhooks)
    cluster.write_app(app, document)
    return app


def started(cluster, *webhooks, coordinator=None, linger="0s", **counts):
    app = prepare(cluster, *webhooks)
    cluster.start(settings={"coordinator": dict(FAST, **(coordinator or {})), "room": {"linger.time": linger}},
                  **counts)
    return app


def only_store(cluster, *webhooks, **options):
    return started(cluster, *webhooks, room=0, center=0, dispatcher=0, **options)


def event(key, kind=ACKED, app=7, **fields):
    return dict({"type": kind, "app": app, "key": key, "id": 0, "at_ms": 5,
                 "data": json.dumps({"registration_id": key})}, **fields)


def spool(cluster, *events):
    """Accepted by the store."""
    for at in range(0, len(events), 500):
        answer = call(cluster.saver, "SpoolAppend", {"events": list(events[at:at + 500])})
        assert answer["failed"] == [], answer


def names(events):
    return [one["data"]["registration_id"] for one in events]


def spooled(cluster, app=7):
    return int((cluster.redis.call("HGET", f"hf:ea:{app}", "n") or ["0"])[0] or 0)


def assert_forward(events):
    """Per key, epoch and sequence only grow."""
    last = {}
    for one in events:
        now = (one.get("epoch", ""), one["seq"])
        assert now > last.get(one["key"], ("", 0)), (one, last[one["key"]])
        last[one["key"]] = now


def logged_in(cluster, app, registration, device=None, room=0, user=""):
    phone = cluster.phone(room=room, device=device or f"device-{registration}")
    phone.login(wire.session(app.id, registration, app.token(registration), user_id=user))
    return phone

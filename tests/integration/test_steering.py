"""Connections over the API: listed, counted and ended; who may do what, and how often."""

import concurrent.futures
import os
import re
import threading
import time

import pytest
import yaml

from harness import api
from harness.waiting import wait_until

HERE = os.path.dirname(__file__)


@pytest.fixture
def two_rooms(new_cluster):
    new_cluster.add_app(7)
    return new_cluster.start(room=2)


def connections(app, query=""):
    answer = app.call("GET", f"connections?{query}", role="viewer")
    assert answer.status == 200, answer
    return answer.json["connections"]


def all_connections(app, query):
    """Every page of a list of connections."""
    found, cursor = [], None
    while True:
        answer = app.call("GET", f"connections?{query}" + (f"&cursor={cursor}" if cursor else ""), role="viewer")
        assert answer.status == 200 and answer.json["complete"], answer
        found += answer.json["connections"]
        cursor = answer.json["next_cursor"]
        if cursor is None:
            return found


def disconnect(app, body, status=200):
    answer = app.call("POST", "connections/disconnect", body, role="admin")
    assert answer.status == status, answer
    return answer.json


def results(answer, name="registration_id"):
    return {row[name]: row["result"] for row in answer["results"]}


# ---- who is there ----

def test_connections_are_listed_by_registration_user_room_and_all(two_rooms):
    app = two_rooms.apps[7]
    other = two_rooms.add_app(8)
    wait_until(lambda: other.send("x", "a").status in (202, 404))
    for number in range(7):
        app.registered(f"reg-{number}", room=number % 2, user="ana" if number < 3 else "ben")
    other.registered("reg-0", room=0)
    names = [f"reg-{number}" for number in range(7)]

    one, = connections(app, "registration_id=reg-3")
    assert one["node"] == "room-2" and one["user_id"] == "ben" and one["transport"] == "tcp"
    assert [row["registration_id"] for row in all_connections(app, "user_id=ana&limit=1")] == names[:3]
    assert connections(app, "user_id=nobody") == []
    in_room = all_connections(app, "node=room-1&limit=2")
    assert sorted(row["registration_id"] for row in in_room) == names[::2]
    everybody = all_connections(app, "limit=2")
    assert sorted(row["registration_id"] for row in everybody) == names
    assert one["connection_id"] in {row["connection_id"] for row in everybody}
    assert len(connections(other)) == 1, "of one's own app only"


def test_a_room_that_does_not_answer_makes_lists_and_counts_incomplete(two_rooms):
    app = two_rooms.apps[7]
    app.registered("reg-0", room=0)
    app.registered("reg-1", room=1)
    two_rooms.rooms[1].pause()
    answer = app.call("GET", "presence/stats", role="viewer").json
    assert (answer["complete"], answer["missing_nodes"], answer["online_registrations"]) == (False, ["room-2"], 1)
    answer = app.call("GET", "connections", role="viewer").json
    assert answer["complete"] is False
    assert [row["registration_id"] for row in answer["connections"]] == ["reg-0"]
    answer = app.call("GET", "connections?node=room-2", role="viewer")
    assert (answer.status, answer.reason) == (503, "NODE_UNAVAILABLE")
    two_rooms.rooms[1].resume()
    wait_until(lambda: app.call("GET", "presence/stats", role="viewer").json["complete"])


def test_a_session_that_waits_for_its_client_is_said_to_linger(cluster, app):
    phone = app.registered("reg-1")
    assert [row["lingering"] for row in connections(app)] == [False]
    phone.cut()
    wait_until(lambda: [(row["lingering"], row["peer_ip"]) for row in connections(app)] == [(True, None)])
    assert disconnect(app, {"registration_id": ["reg-1"]})["kicked"] == 1
    assert connections(app) == []


def test_presence_is_the_sum_of_the_rooms(two_rooms):
    app = two_rooms.apps[7]
    phones = [app.registered(f"reg-{number}", room=number % 2, platform=("android", "ios")[number % 2],
                             user="ana" if number < 2 else None) for number in range(5)]
    stats = app.call("GET", "presence/stats", role="viewer").json
    assert stats == {"online_registrations": 5, "online_with_user": 2, "connections": 5,
                     "by_platform": {"android": 3, "ios": 2}, "complete": True, "missing_nodes": []}
    phones[0].close()
    wait_until(lambda: app.call("GET", "presence/stats", role="viewer").json["by_platform"]
               == {"android": 2, "ios": 2})


def test_registrations_are_reported_by_the_time_they_came(cluster, app):
    app.register("reg-1", "reg-2", "reg-3")

    def last_point(unit):
        points = app.call("GET", f"reports/registrations?unit={unit}&count=2", role="viewer").json["points"]
        assert len(points) == 2
        return sum(point["created"] for point in points), sum(point["last_seen"] for point in points)
    wait_until(lambda: last_point("day") == (3, 3) and last_point("hour") == (3, 3))


def test_messages_are_reported_by_id_and_by_label(cluster, app):
    phone = app.registered("reg-1")
    app.register("away")
    sent = [app.send(number, ["reg-1", "away"], label="sale").json["message_id"] for number in range(2)]
    phone.ack(phone.next_push())

    def states():
        answer = app.call("GET", f"reports/messages?message_ids={sent[1]},{sent[0]},0000000000000", role="viewer").json
        assert answer["errors"] == [{"message_id": "0000000000000", "reason": "MESSAGE_UNKNOWN"}]
        assert [row["message_id"] for row in answer["messages"]] == sent[::-1]
        return [row["counters"]["acked"] for row in answer["messages"]]
    wait_until(lambda: states() == [0, 1])

    def today(query):
        days = app.call("GET", f"reports/labels?{query}", role="viewer").json["days"]
        return tuple(sum(day[key] for day in days) for key in ("messages", "targets", "acked"))
    wait_until(lambda: today("label=sale") == (2, 4, 1))
    assert today("") == (2, 4, 1) and today("label=other") == (0, 0, 0)


# ---- ending connections ----

def test_a_user_is_ended_everywhere_but_on_the_connection_to_keep(two_rooms):
    app = two_rooms.apps[7]
    phones = {name: app.registered(name, room=room, user="ana")
              for room, name in enumerate(("phone", "tablet"))}
    bystander = app.registered("other", user="ben")
    keep, = connections(app, "registration_id=phone")
    answer = disconnect(app, {"user_id": ["ana", "nobody"], "keep": [keep["connection_id"]], "code": 4203,
                              "reason": "one only"})
    assert answer["kicked"] == 1 and results(answer) == {"phone": "kept", "tablet": "kicked"}
    bye = phones["tablet"].wait_closed()
    assert (bye.code, bye.reason) == (4203, b"one only")
    assert phones["phone"].quiet(0.2) and bystander.quiet(0.2)


def test_a_connection_is_ended_by_its_name_and_by_no_other_app(cluster, app):
    other = cluster.add_app(8)
    wait_until(lambda: other.send("x", "a").status in (202, 404))
    phone = app.registered("reg-1")
    connection, = connections(app, "registration_id=reg-1")
    name = connection["connection_id"]
    assert results(disconnect(other, {"connection_id": [name]}), "connection_id") == {name: "not_connected"}
    assert phone.quiet(0.2)
    number, handle, epoch = name.split("-")
    wrong = [f"{number}-{handle}-0000000000000", f"{number}-01fffff1-{epoch}", f"999-{handle}-{epoch}"]
    answer = disconnect(app, {"connection_id": wrong + [name]})
    assert list(results(answer, "connection_id").values()) == ["not_connected"] * 3 + ["kicked"]
    assert phone.wait_closed().code == 4007
    assert results(disconnect(app, {"connection_id": [name]}), "connection_id") == {name: "not_connected"}


def test_who_is_ended_can_be_kept_away_for_a_while(cluster, app):
    phones = [app.registered(name, user="ana") for name in ("reg-1", "reg-2")]
    answer = disconnect(app, {"user_id": ["ana"], "bar_s": 3600, "reason": "abuse"})
    assert [(row["result"], row["barred"]) for row in answer["results"]] == [("kicked", True)] * 2
    for phone in phones:
        bye = phone.wait_closed()
        assert (bye.code, bye.reason) == (4005, b"abuse")
    again = cluster.phone()
    again.login((app, "reg-2"))
    assert again.wait_closed().code == 4005
    answer = disconnect(app, {"registration_id": ["never"], "bar_s": 60})
    assert answer["results"] == [{"registration_id": "never", "result": "not_connected", "barred": False}]


BAD = [
    ("POST", {"registration_id": [], "code": 4007}, "BAD_VALUE"),
    ("POST", {"registration_id": "reg-1"}, "BAD_VALUE"),
    ("POST", {"user_id": ["u" * 129]}, "BAD_VALUE"),
    ("POST", {"user_id": ["u"] * 1001}, "TOO_MANY_TARGETS"),
    ("POST", {"connection_id": ["1-01000001"]}, "BAD_VALUE"),
    ("POST", {"connection_id": ["-1-01000001-0000000000000"]}, "BAD_VALUE"),
    ("POST", {"connection_id": ["1-0100000G-0000000000000"]}, "BAD_VALUE"),
    ("POST", {"registration_id": ["a"], "connection_id": ["1-01000001-0000000000000"]}, "CONFLICTING_FIELDS"),
    ("POST", {"registration_id": ["a"], "keep": ["x"]}, "BAD_VALUE"),
    ("POST", {"registration_id": ["a"], "bar_s": 60, "code": 4007}, "CONFLICTING_FIELDS"),
    ("POST", {"registration_id": ["a"], "bar_s": 2592001}, "BAD_VALUE"),
    ("POST", {"connection_id": ["1-01000001-0000000000000"], "bar_s": 1}, "CONFLICTING_FIELDS"),
    ("POST", {"registration_id": ["a"], "code": 4999}, "BAD_VALUE"),
    ("POST", {"registration_id": ["a"], "reason": "r" * 124}, "BAD_VALUE"),
    ("POST", {"registration_id": ["a"], "seconds": 1}, "UNKNOWN_FIELD"),
    ("GET", "connections?registration_id=a&node=room-1", "CONFLICTING_FIELDS"),
    ("GET", "connections?user_id=" + "u" * 129, "BAD_VALUE"),
    ("GET", "connections?limit=0", "BAD_VALUE"),
    ("GET", "connections?cursor=YQ", "BAD_VALUE"),
    ("GET", "connections?ip=10.0.0.1", "UNKNOWN_FIELD"),
    ("GET", "presence/stats?x", "UNKNOWN_FIELD"),
    ("GET", "reports/registrations?unit=year", "BAD_VALUE"),
    ("GET", "reports/registrations?count=0", "BAD_VALUE"),
    ("GET", "reports/registrations?start=then", "BAD_VALUE"),
    ("GET", "reports/labels?label=" + "l" * 51, "BAD_VALUE"),
    ("GET", "reports/labels?from=2026-01-01&to=2026-03-01", "BAD_VALUE"),
    ("GET", "keys?limit=1", "UNKNOWN_FIELD"),
]


def test_what_makes_no_sense_is_refused_by_name(cluster, app):
    phone = app.registered("a")
    for method, what, reason in BAD:
        path, body = ("connections/disconnect", what) if method == "POST" else (what, None)
        answer = app.call(method, path, body, role="admin")
        assert (answer.status, answer.reason) == (400, reason), f"{what}: {answer}"
    assert phone.quiet(0.2)


def test_a_room_is_drained_by_request_and_ends(two_rooms):
    app = two_rooms.apps[7]
    phone = app.registered("reg-1", room=0)
    answer = two_rooms.operator("POST", "/v1/cluster/nodes/room-1/drain")
    assert answer.json == {"node": "room-1", "state": "draining", "begun": True}
    bye = phone.wait_closed()
    assert bye.code == 4200 and bye.endpoints == [two_rooms.room_address(1)]
    assert two_rooms.rooms[0].wait_exit() == 0
    assert two_rooms.operator("POST", "/v1/cluster/nodes/saver-1/drain").reason == "NODE_UNKNOWN"


# ---- who may ----

ROLES = ("viewer", "sender", "admin", "operator")


def plain(path):
    """A template with one name for all that is in braces, but for the app."""
    return re.sub(r"\{(?!app\})\w+\}", "{id}", path)


def routes():
    """(method, path, role) of the code's own table."""
    with open(os.path.join(HERE, "..", "..", "services", "center", "api.c"), encoding="utf-8") as file:
        table = re.search(r"api_routes\[\] = \{(.*?)\{ 0 \}", file.read(), re.S).group(1)
    names = {"ACCESS_VIEWER": "viewer", "ACCESS_SENDER": "sender", "ACCESS_ADMIN": "admin", "ACCESS_OPS": "operator"}
    return [(method, plain(path), names[access])
            for method, path, access in re.findall(r'\{ "(\w+)", "([^"]+)",\s+(ACCESS_\w+)', table)]


def test_each_route_is_described_with_the_role_that_the_code_asks_for():
    with open(os.path.join(HERE, "..", "..", "services", "center", "openapi.yaml"), encoding="utf-8") as file:
        paths = yaml.safe_load(file)["paths"]
    described = {(method.upper(), plain(path), operation["x-role"])
                 for path, item in paths.items() for method, operation in item.items() if method != "parameters"}
    assert described == set(routes())


def test_each_route_lets_in_exactly_who_may(cluster, app):
    other = cluster.add_app(8)
    wait_until(lambda: other.send("x", "a").status in (202, 404))
    keys = {role: app.key(role) for role in ROLES[:3]} | {"operator": f"operator.{cluster.OPERATOR_SECRET}"}
    address = cluster.api_address()
    checked = 0
    for method, path, needed in routes():
        if (method, path) == ("DELETE", "/v1/apps/{app}"):
            continue  # there is nothing about it that could be wrong: see below
        target = path.replace("{app}", "7").replace("{id}", "no-such-thing")
        body = b"]" if method in ("POST", "PATCH") else None  # who is let in does no harm with it
        for role, key in keys.items():
            answer = api.request(address, method, target, body, key=key)
            if "{app}" not in path and role != "operator":
                assert answer.status == 401, f"{method} {path} as {role}: {answer}"
            elif ROLES.index(role) < ROLES.index(needed):
                assert (answer.status, answer.reason) == (403, "ROLE_DENIED"), f"{method} {path} as {role}: {answer}"
                assert f"{needed}'s key" in answer.json["error"]["message"], answer
            else:
                assert answer.status not in (401, 403), f"{method} {path} as {role}: {answer}"
            checked += 1
        for key in (None, other.key("admin"), "nonsense", "ak_admin.wrong", "operator.wrong"):
            answer = api.request(address, method, target, body, key=key)
            assert answer.status == 401, f"{method} {path} with {key}: {answer}"
    assert checked > 100
    for key in (app.key("admin"), other.key("admin"), None):
        assert api.request(address, "DELETE", "/v1/apps/7", key=key).status in (401, 403)


def test_a_key_is_good_only_where_and_as_often_as_it_says(cluster, app):
    made = app.call("POST", "keys", {"role": "viewer", "allowed_cidrs": ["10.0.0.0/8", "2001:db8::/32"]},
                    role="admin").json
    answer = api.request(cluster.api_address(), "GET", app.path("presence/stats"), key=made["key"])
    assert (answer.status, answer.reason) == (403, "IP_NOT_ALLOWED")
    made = app.call("POST", "keys", {"role": "viewer", "allowed_cidrs": ["127.0.0.0/8"],
                                     "requests_per_second": 1}, role="admin").json
    answers = [api.request(cluster.api_address(), "GET", app.path("presence/stats"), key=made["key"])
               for _ in range(5)]
    assert [answer.status for answer in answers[:2]] == [200, 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and {answer.reason for answer in refused} == {"QUOTA_KEY"}
    assert refused[0].headers["X-RateLimit-Limit"] == "2"
    assert app.call("GET", "presence/stats", role="viewer").status == 200, "another key is not held up"


# ---- how often ----

class Patient:
    """A client that does as it is told: after a 429 it waits as long as Retry-After says."""

    def __init__(self, app, method, path, body=None):
        self.app, self.method, self.path, self.body = app, method, path, body
        self.statuses = []

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = self.app.call(self.method, self.path, self.body)
            self.statuses.append(answer.status)
            assert answer.headers["X-RateLimit-Limit"] and answer.headers["X-RateLimit-Reset"] is not None
            if answer.status == 429:
                assert answer.headers["X-RateLimit-Remaining"] == "0" and int(answer.headers["Retry-After"]) >= 1
                threading.Event().wait(int(answer.headers["Retry-After"]))

    def check(self):
        assert 429 in self.statuses, "the limit was never met"
        pairs = zip(self.statuses, self.statuses[1:])
        assert (429, 429) not in pairs, self.statuses


@pytest.mark.parametrize("what", ["sends", "other requests"])
def test_a_client_that_waits_as_told_never_sees_two_refusals_in_a_row(new_cluster, what):
    app = new_cluster.add_app(7, messages_per_second=20, burst=40, requests_per_second=20)
    new_cluster.start()
    app.register("reg-1")
    clients = {"sends": Patient(app, "POST", "messages", api.text_message(1, ["reg-1"])),
               "other requests": Patient(app, "GET", "connections?registration_id=reg-1")}
    client = clients[what]
    client.run(4)
    client.check()


def test_the_limit_of_requests_is_of_one_app_and_not_of_operators(new_cluster):
    app = new_cluster.add_app(7, requests_per_second=1)
    other = new_cluster.add_app(8)
    new_cluster.start()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.call("GET", "presence/stats", role="viewer"), range(20)))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and {answer.reason for answer in refused} == {"QUOTA_APP"}
    assert other.call("GET", "presence/stats", role="viewer").status == 200
    assert all(new_cluster.operator("GET", app.path("presence/stats")).status == 200 for _ in range(5))

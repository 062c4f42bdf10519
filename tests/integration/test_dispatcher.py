"""GET /v1/endpoints: which rooms a client is told."""

import pytest

from harness import api
from harness.waiting import wait_until


def ask(cluster, query="", headers=None):
    return api.request(cluster.dispatcher_address(), "GET", f"/v1/endpoints{query}", headers=headers)


@pytest.fixture
def wide(new_cluster):
    new_cluster.add_app(7)
    new_cluster.start(room=3)
    wait_until(lambda: len(ask(new_cluster).json["endpoints"]) == 3)
    return new_cluster


def test_the_same_registration_is_told_the_same_room(wide):
    first = ask(wide, "?app_id=7&registration_id=reg-1&net=wifi")
    assert first.status == 200, first
    assert first.headers["Cache-Control"] == "private, max-age=600"
    assert len(first.body) <= 1200
    order = [one["id"] for one in first.json["endpoints"]]
    assert sorted(order) == ["room-1", "room-2", "room-3"]
    for _ in range(5):
        again = ask(wide, "?app_id=7&registration_id=reg-1&net=wifi")
        assert [one["id"] for one in again.json["endpoints"]] == order
    leaders = {ask(wide, f"?app_id=7&registration_id=r{n}").json["endpoints"][0]["id"]
               for n in range(60)}
    assert leaders == {"room-1", "room-2", "room-3"}


def test_a_dead_room_is_not_told_and_the_others_keep_their_clients(wide):
    leader = {n: ask(wide, f"?app_id=7&registration_id=r{n}").json["endpoints"][0]["id"]
              for n in range(40)}
    wide.rooms[0].kill()
    wait_until(lambda: len(ask(wide).json["endpoints"]) == 2)
    for n, before in leader.items():
        now = ask(wide, f"?app_id=7&registration_id=r{n}").json["endpoints"][0]["id"]
        assert now == before or before == "room-1"


def test_other_zones_come_first_for_a_client_that_failed(new_cluster):
    new_cluster.add_app(7)
    new_cluster.start(room=0)
    new_cluster.add("room", node__zone="far").wait_ready()
    new_cluster.add("room").wait_ready()
    wait_until(lambda: len(ask(new_cluster).json["endpoints"]) == 2)
    for n in range(10):
        query = f"?app_id=7&registration_id=r{n}"
        assert ask(new_cluster, query).json["endpoints"][0]["id"] == "room-2"
        assert ask(new_cluster, query + "&reason=failed").json["endpoints"][0]["id"] == "room-1"


def test_tiny_clients_get_text(wide):
    answer = ask(wide, "?format=text")
    lines = answer.body.decode().splitlines()
    assert len(lines) == 3
    for line in lines:
        address, transport, weight = line.split(" ")
        assert address.startswith("127.0.0.1:") and transport == "tcp" and weight == "100"


@pytest.mark.parametrize("query,status,reason,field", [
    ("?app_id=x", 400, "INVALID_PARAMETER", "app_id"),
    ("?app_id=0", 400, "INVALID_PARAMETER", "app_id"),
    ("?reason=bored", 400, "INVALID_PARAMETER", "reason"),
    ("?net=pigeon", 400, "INVALID_PARAMETER", "net"),
    ("?registration_id=" + "r" * 65, 400, "INVALID_PARAMETER", "registration_id"),
    ("?registration_id=a%00b", 400, "INVALID_PARAMETER", "registration_id"),
    ("?registration_id=%ff", 400, "INVALID_PARAMETER", "registration_id"),
    ("?format=xml", 400, "INVALID_PARAMETER", "format"),
    ("?app_id=99", 404, "APP_UNKNOWN", "app_id"),
    ("x", 404, "NO_ROUTE", None),
])
def test_a_bad_question_is_answered_with_field_and_reason(cluster, query, status, reason, field):
    answer = ask(cluster, query)
    assert (answer.status, answer.reason) == (status, reason)
    if field:
        assert answer.json["error"]["details"][0]["field"] == field


def test_without_any_room_the_answer_is_503_with_retry_after(new_cluster):
    new_cluster.add_app(7)
    new_cluster.start(room=0)
    answer = ask(new_cluster, "?app_id=7")
    assert (answer.status, answer.reason) == (503, "NO_ROOM")
    assert answer.headers["Retry-After"] == "5"


def test_explain_shows_the_ranking(wide):
    answer = wide.dispatcher.admin("GET", "/v1/endpoints/explain?app_id=7&registration_id=reg-1")
    assert answer.status == 200
    rooms = sorted(answer.json["rooms"], key=lambda room: -room["score"])
    told = [one["id"] for one in ask(wide, "?app_id=7&registration_id=reg-1").json["endpoints"]]
    assert [room["id"] for room in rooms] == told

"""Attacks on the API, and mistakes of those who mean well: each of these was once obeyed, or answered wrongly."""

import json

from harness.callback import Callback
from harness.waiting import wait_until
from test_api_aborts import dial, raw_request


def send(app, audience, options=None, data=1, **more):
    body = {"audience": audience, "message": {"data": data}, **more}
    if options:
        body["options"] = options
    return app.call("POST", "messages", body)


def refusals(cluster, reason):
    return cluster.center.metric("holdfast_center_refusals_total", reason=reason)


def test_a_body_where_none_is_read_is_refused(cluster, app):
    app.register("reg-1")
    job = send(app, "all", {"pace": {"duration": "1h"}}).json["message_id"]
    for method, path, role in [("POST", f"messages/{job}/pause", "sender"), ("DELETE", f"messages/{job}", "sender"),
                               ("DELETE", "registrations/reg-1/queue", "admin"), ("GET", f"messages/{job}", "viewer")]:
        answer = app.call(method, path, {"until": "noon"}, role=role)
        assert (answer.status, answer.reason) == (400, "UNKNOWN_FIELD"), (method, path, answer)
    assert refusals(cluster, "UNKNOWN_FIELD") == 4
    assert app.call("GET", f"messages/{job}", role="viewer").json["state"] == "sending"
    assert app.call("POST", f"messages/{job}/pause", {}).json["state"] == "paused"


def test_a_list_that_came_out_empty_reaches_nobody(cluster, app):
    phone = app.registered("reg-1", platform="ios", tags=["vip"])
    for audience in ({"registration_id": []}, {"user_id": [], "tag": ["vip"]}, {"tag": [], "percentage": 100},
                     {"tag_and": [], "percentage": 100}):
        answer = send(app, audience, platform=["ios"])
        assert (answer.status, answer.reason) == (400, "EMPTY_AUDIENCE"), (audience, answer)
    answer = send(app, "all", platform=[])
    assert (answer.status, answer.reason) == (400, "EMPTY_AUDIENCE")
    assert refusals(cluster, "EMPTY_AUDIENCE") == 5
    assert send(app, {"tag": ["vip"], "tag_not": []}, data="meant", platform=["ios"]).status == 202
    assert phone.next_push().payload == b'"meant"'


def test_a_share_may_grow_until_it_is_everybody(cluster, app):
    phone = app.registered("reg-1")
    assert send(app, {"percentage": 100, "percentage_seed": "trial"}, data="all").status == 202
    assert phone.next_push().payload == b'"all"'


def test_when_the_log_of_recalls_is_full_that_is_said(cluster, app):
    app.register("away")
    first, second = (app.send(n, "away").json["message_id"] for n in range(2))
    cluster.redis.call("EVAL", "for i = 1, 10000 do redis.call('HSET', KEYS[1], 'x' .. i, '') end", "1", "hf:lr:7")
    answer = app.call("DELETE", f"messages/{first}")
    assert (answer.status, answer.reason) == (429, "TOO_MANY_RECALLS")
    assert answer.headers["Retry-After"] == "60"
    answer = send(app, {"registration_id": ["away"]}, {"replaces": second})
    assert (answer.status, answer.reason) == (429, "TOO_MANY_RECALLS")
    assert refusals(cluster, "TOO_MANY_RECALLS") == 2
    cluster.redis.call("DEL", "hf:lr:7")
    assert app.call("DELETE", f"messages/{first}").json["state"] == "cancelled"


def test_users_with_far_too_many_registrations_are_refused_as_such(cluster, app):
    """Their names could fill the request's memory: that was said to be the store's fault, and to try again."""
    users = [f"user-{n}" for n in range(170)]
    for user in users:
        app.register(*(f"{user}-{n}" for n in range(250)), user_id=user)
    answer = send(app, {"user_id": users})
    assert (answer.status, answer.reason) == (400, "TOO_MANY_TARGETS"), answer
    answer = send(app, {"user_id": users, "registration_id": ["user-0-1", "user-169-7", "user-170-1"]})
    assert (answer.status, answer.json["targets"]["resolved"]) == (202, 2), answer


def test_requests_that_wait_for_the_store_are_bounded(new_cluster):
    app = new_cluster.add_app(7, payload="64KiB")
    new_cluster.start(settings={"center": {"delivery__memory": "1MiB", "store__timeout": "20s"}})
    new_cluster.redis.pause()
    links = []
    body = json.dumps({"audience": "all", "message": {"data": "x" * 60000}}).encode()
    for _ in range(30):
        links.append(dial(new_cluster))
        links[-1].sendall(raw_request(app, "POST", "messages", body))
    wait_until(lambda: refusals(new_cluster, "OVERLOADED") >= 5)
    new_cluster.redis.resume()
    for link in links:
        assert link.recv(100).startswith((b"HTTP/1.1 202", b"HTTP/1.1 503", b"HTTP/1.1 429"))
        link.close()
    wait_until(lambda: new_cluster.center.metric("holdfast_center_delivery_bytes") == 0)


def test_an_address_of_our_own_network_is_denied_however_it_is_written(cluster, app):
    server = Callback()
    hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
             "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"]
    for host in hosts:
        webhook = app.call("POST", "webhooks", {"url": f"http://{host}:{server.port}/", "forward_types": ["order"]},
                           role="admin").json["id"]
        # The coordinator learns of it a moment later.
        answer = wait_until(lambda: next((answer for answer in [app.call("POST", f"webhooks/{webhook}/test", {},
                                                                         role="admin")] if answer.status != 404), None))
        assert (answer.status, answer.json["delivered"], answer.json["detail"]) == (200, False, "address denied"), host
        app.call("DELETE", f"webhooks/{webhook}", role="admin")
    assert not server.received
    server.stop()
    for port in ("0", "65536", "99999", "", "8x", "-1"):
        answer = app.call("POST", "webhooks", {"url": f"http://example.com:{port}/", "forward_types": ["order"]}, role="admin")
        assert (answer.status, answer.reason) == (400, "BAD_URL"), port
    assert refusals(cluster, "BAD_URL") == 6

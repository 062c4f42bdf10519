"""Messages of clients to their businesses: through the room and the coordinator to an HTTP callback and back."""

import base64
import itertools
import json
import threading

import pytest

from harness import wire
from harness.callback import Callback, signature_is_valid
from harness.waiting import wait_until

LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture
def callback():
    servers = []

    def make(answer=None):
        servers.append(Callback(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def add_webhook(app, url, types=("*",), **fields):
    """A webhook made by the operator, as loopback must be opened."""
    body = {"url": url, "forward_types": list(types), "allow_cidrs": LOOPBACK}
    body.update(fields)
    answer = app.cluster.operator("POST", app.path("webhooks"), body)
    assert answer.status == 201, answer
    return answer.json


def send(phone, app, sequence, payload=b'{"n":1}', forward_type="order"):
    phone.send_bytes(wire.upstream(app.id, sequence, forward_type, payload))


def ask(phone, app, sequence, payload=b'{"n":1}', forward_type="order", timeout=15):
    """Send one and wait for its outcome."""
    send(phone, app, sequence, payload, forward_type)
    return phone.expect("upstream_ack", timeout)


def logged_in(cluster, app, registration="reg-1", device="device-1", room=0):
    phone = cluster.phone(room=room, device=device)
    phone.login((app, registration))
    return phone


def settle(phone, app, forward_type="settle"):
    """Until the coordinator knows the callback."""
    sequence = itertools.count(1000000)
    wait_until(lambda: ask(phone, app, next(sequence), b"{}", forward_type).code != 4400,
               what="the coordinator knows the callback")
    phone.waiting.clear()


def test_a_message_reaches_the_callback_and_its_answer_the_client(cluster, app, callback):
    def answer(received):
        return 200, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(
            {"echo": received.data.get("payload")}).encode()
    server = callback(answer)
    webhook = add_webhook(app, server.url)
    phone = cluster.phone()
    phone.send_bytes(wire.login("device-1", [wire.session(app.id, "reg-1", app.token("reg-1"),
                                                          user_id="ana")]))
    phone.expect("login_ack")
    settle(phone, app)
    server.received.clear()

    send(phone, app, 7, b'{"item": [1, 2.50, "x"]}')
    push = phone.next_push()
    outcome = phone.expect("upstream_ack")
    assert (outcome.app, outcome.sequence, outcome.code) == (app.id, 7, 0)
    assert (push.app, push.qos, push.payload_kind, push.upstream_sequence) == (app.id, 0, 0, 7)
    assert json.loads(push.payload) == {"echo": {"item": [1, 2.5, "x"]}}

    received, = server.received
    assert received.json["app_id"] == app.id and received.headers["X-Holdfast-App"] == str(app.id)
    assert received.headers["X-Holdfast-Attempt"] == "1"
    assert received.event["type"] == "upstream.request" and received.event["key"] == "reg-1"
    assert received.event["id"].startswith("evt_")
    assert received.data == {"registration_id": "reg-1", "user_id": "ana", "forward_type": "order",
                             "sequence": 7, "payload": {"item": [1, 2.5, "x"]}}
    assert b'2.50' in received.body  # verbatim
    assert signature_is_valid(webhook["secret"], received.headers, received.body)
    assert not signature_is_valid("whsec_" + base64.b64encode(b"x" * 32).decode(), received.headers,
                                  received.body)


def test_bytes_travel_both_ways(cluster, app, callback):
    server = callback(lambda received: (200, {"Content-Type": "application/octet-stream"},
                                        b"\x00\xff" + base64.b64decode(received.data.get("payload_b64", ""))))
    add_webhook(app, server.url, ["order"])
    phone = logged_in(cluster, app)
    settle(phone, app, "order")
    payload = bytes(range(256)) * 16
    send(phone, app, 5, payload)
    push = phone.next_push()
    assert (push.payload_kind, push.upstream_sequence) == (1, 5)
    assert push.payload == b"\x00\xff" + payload
    assert phone.expect("upstream_ack").code == 0


def test_an_empty_answer_is_no_push(cluster, app, callback):
    server = callback(lambda received: (204, {}, b""))
    add_webhook(app, server.url)
    phone = logged_in(cluster, app)
    settle(phone, app)
    assert ask(phone, app, 1).code == 0
    assert not phone.waiting and phone.quiet(0.2)


def test_what_the_callback_answers_is_told_to_the_client(cluster, app, callback):
    answers = {
        "500": ((500, {}, b"oops"), 4151),
        "503": ((503, {"Retry-After": "1"}, b""), 4151),
        "408": ((408, {}, b""), 4151),
        "429": ((429, {}, b""), 4101),
        "403": ((403, {}, b"no"), 4401),
        "410": ((410, {}, b""), 4401),
        "too large": ((200, {}, b"x" * 70000), 4402),
        "head too large": ((200, {"X-Long": "y" * 20000}, b""), 4151),
        "settle": ((200, {}, b""), 0),
    }
    add_webhook(app, callback(lambda received: answers[received.data["forward_type"]][0]).url)
    phone = logged_in(cluster, app)
    settle(phone, app)
    for sequence, (forward_type, (_, code)) in enumerate(answers.items(), 1):
        outcome = ask(phone, app, sequence, forward_type=forward_type)
        assert (outcome.sequence, outcome.code) == (sequence, code), forward_type
        assert not phone.waiting
    assert cluster.coordinator.metric("holdfast_upstream_messages_total", result="refused") == 2


def test_a_redirect_is_not_followed(cluster, app, callback):
    elsewhere = callback()
    server = callback(lambda received: (307, {"Location": elsewhere.url}, b""))
    add_webhook(app, server.url)
    phone = logged_in(cluster, app)
    settle(phone, app)
    assert ask(phone, app, 3).code == 4151
    assert elsewhere.received == []


def test_an_endless_answer_is_cut_at_the_limit(cluster, app, callback):
    sent = []

    def answer(received):
        raw = received.raw
        raw.send_response(200)
        raw.send_header("Transfer-Encoding", "chunked")
        raw.end_headers()
        for _ in range(100000):
            try:
                raw.wfile.write(b"10000\r\n" + b"z" * 65536 + b"\r\n")
            except OSError:
                break
            sent.append(65536)
    add_webhook(app, callback(answer).url)
    phone = logged_in(cluster, app)
    settle(phone, app)
    assert ask(phone, app, 3).code == 4402
    assert sum(sent) < 1 << 26


def test_an_answer_cut_in_the_middle_is_a_failure(cluster, app, callback):
    def answer(received):
        received.raw.send_response(200)
        received.raw.send_header("Content-Length", "1000")
        received.raw.end_headers()
        received.raw.wfile.write(b"half")
    add_webhook(app, callback(answer).url)
    phone = logged_in(cluster, app)
    settle(phone, app)
    assert ask(phone, app, 3).code == 4151
    assert not phone.waiting


def test_garbage_instead_of_http_is_a_failure(cluster, app, callback):
    add_webhook(app, callback(lambda received: received.raw.wfile.write(b"SSH-2.0-x\r\n\r\n") and None).url)
    phone = logged_in(cluster, app)
    settle(phone, app)
    assert ask(phone, app, 3).code == 4151


def test_a_callback_that_hangs_times_out(cluster, app, callback):
    hold = threading.Event()
    add_webhook(app, callback(lambda received: hold.wait(30) and None).url, timeout="300ms")
    phone = logged_in(cluster, app)
    settle(phone, app)
    assert ask(phone, app, 3).code == 4150
    hold.set()


def test_a_callback_that_is_down_is_told_at_once(cluster, app, callback):
    server = callback()
    url = server.url
    server.stop()
    add_webhook(app, url)
    phone = logged_in(cluster, app)
    settle(phone, app)
    assert ask(phone, app, 3).code == 4151


def test_a_private_address_is_refused_however_it_is_written(cluster, app, callback):
    server = callback()
    hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0", "[::]"]
    phone = logged_in(cluster, app)
    for host in hosts:
        answer = app.call("POST", "webhooks", {"id": "w", "forward_types": ["*"],
                                               "url": f"http://{host}:{server.port}/"}, role="admin")
        assert answer.status == 201, answer
        settle(phone, app)
        assert ask(phone, app, 3).code == 4403, host
        assert app.call("DELETE", "webhooks/w", role="admin").status == 200
        wait_until(lambda: ask(phone, app, 4).code == 4400)
    assert server.received == []
    assert cluster.coordinator.metric("holdfast_webhook_deliveries_total", result="denied") >= len(hosts)


def test_a_kept_alive_connection_of_another_app_opens_no_door(cluster, app, callback):
    server = callback()
    other = cluster.add_app(8)
    wait_until(lambda: other.send("x", "nobody", validate_only=True).status == 200)
    add_webhook(app, server.url)
    answer = other.call("POST", "webhooks", {"url": server.url, "forward_types": ["*"]}, role="admin")
    assert answer.status == 201
    phone = cluster.phone()
    phone.login((app, "reg-a"), (other, "reg-b"))
    settle(phone, app)
    settle(phone, other)
    assert ask(phone, app, 1).code == 0
    assert ask(phone, other, 1).code == 4403
    # Nor does one of the same app outlive the permission.
    webhook = app.call("GET", "webhooks", role="viewer").json["webhooks"][0]["id"]
    assert cluster.operator("PATCH", app.path(f"webhooks/{webhook}"), {"allow_cidrs": []}).status == 200
    sequence = itertools.count(10)
    wait_until(lambda: ask(phone, app, next(sequence)).code == 4403)


def test_messages_of_one_registration_stay_in_order(cluster, app, callback):
    def answer(received):
        threading.Event().wait(0.001 * (received.data["sequence"] % 7))
        return 200, {}, b""
    server = callback(answer)
    add_webhook(app, server.url)
    phones = [logged_in(cluster, app, f"reg-{n}", f"device-{n}") for n in range(4)]
    settle(phones[0], app)
    server.received.clear()
    for sequence in range(1, 9):
        for phone in phones:
            send(phone, app, sequence)
    for phone in phones:
        assert [phone.expect("upstream_ack").sequence for _ in range(8)] == list(range(1, 9))
    for n in range(4):
        mine = [one.data["sequence"] for one in server.received if one.event["key"] == f"reg-{n}"]
        assert mine == list(range(1, 9))
    assert len({one.port for one in server.received}) <= 4  # connections are kept alive


def test_a_slow_callback_delays_nobody_elses(cluster, app, callback):
    hold = threading.Event()
    slow = callback(lambda received: (hold.wait(20), (200, {}, b""))[1])
    fast = callback()
    other = cluster.add_app(8)
    wait_until(lambda: other.send("x", "nobody", validate_only=True).status == 200)
    add_webhook(app, slow.url, ["slow"], max_in_flight=2, timeout="15s")
    add_webhook(other, fast.url)
    stuck = [logged_in(cluster, app, f"stuck-{n}", f"stuck-{n}") for n in range(10)]
    phone = logged_in(cluster, other, "reg-1", "device-1")
    settle(phone, other)
    for one in stuck:
        for sequence in range(1, 7):
            send(one, app, sequence, forward_type="slow")
    wait_until(lambda: len(slow.received) == 2)
    for sequence in range(1, 30):
        assert ask(phone, other, sequence, timeout=2).code == 0
    assert len(slow.received) == 2  # max_in_flight holds
    hold.set()


def test_more_than_a_client_may_have_in_flight_is_refused(cluster, app, callback):
    hold = threading.Event()
    server = callback(lambda received: (received.data["forward_type"] == "settle" or hold.wait(20),
                                        (200, {}, b""))[1])
    add_webhook(app, server.url, timeout="15s")
    phone = logged_in(cluster, app)
    settle(phone, app)
    for sequence in range(1, 11):
        send(phone, app, sequence)
    refused = [phone.expect("upstream_ack") for _ in range(2)]
    assert [(one.sequence, one.code) for one in refused] == [(9, 4101), (10, 4101)]
    hold.set()
    assert [phone.expect("upstream_ack").code for _ in range(8)] == [0] * 8
    assert cluster.room.metric("holdfast_room_upstream_total", result="in_flight") == 2


def test_a_full_queue_and_a_long_wait_are_refusals_by_name(new_cluster, callback):
    app = new_cluster.add_app(7)
    cluster = new_cluster.start(settings={
        "coordinator": {"callbacks__queue": "4", "callbacks__queue_timeout": "500ms"},
        "room": {"limits__upstream_in_flight": "20"}})
    hold = threading.Event()
    server = callback(lambda received: (received.data["forward_type"] == "settle" or hold.wait(20),
                                        (200, {}, b""))[1])
    add_webhook(app, server.url, max_in_flight=1, timeout="10s")
    phone = logged_in(cluster, app)
    settle(phone, app)
    send(phone, app, 1)
    wait_until(lambda: any(one.data["sequence"] == 1 for one in server.received))
    for sequence in range(2, 9):
        send(phone, app, sequence)
    full = [phone.expect("upstream_ack") for _ in range(3)]
    assert [(one.sequence, one.code) for one in full] == [(6, 4100), (7, 4100), (8, 4100)]
    late = [phone.expect("upstream_ack") for _ in range(4)]
    assert {(one.sequence, one.code) for one in late} == {(n, 4100) for n in range(2, 6)}
    hold.set()
    assert phone.expect("upstream_ack").code == 0
    assert cluster.coordinator.metric("holdfast_webhook_queue_events") == 0


def test_what_has_no_callback_or_no_session_is_refused(cluster, app, callback):
    server = callback()
    add_webhook(app, server.url, ["order"])
    phone = logged_in(cluster, app)
    settle(phone, app, "order")
    server.received.clear()
    assert ask(phone, app, 1, forward_type="other").code == 4400
    phone.send_bytes(wire.upstream(99, 2, "order", b"{}"))
    assert phone.expect("upstream_ack").code == 4008
    assert server.received == []


def test_the_answer_of_a_client_that_left_disturbs_nobody(cluster, app, callback):
    hold = threading.Event()
    server = callback(lambda received: (received.data["forward_type"] == "settle" or hold.wait(20),
                                        (200, {}, b"answer"))[1])
    add_webhook(app, server.url, timeout="15s")
    phone = logged_in(cluster, app)
    settle(phone, app)
    before = len(server.received)
    send(phone, app, 1)
    wait_until(lambda: len(server.received) > before)
    phone.reset()
    again = logged_in(cluster, app)
    hold.set()
    wait_until(lambda: cluster.room.metric("holdfast_room_upstream_total", result="gone") == 1)
    assert again.quiet(0.2)


def test_a_coordinator_that_dies_is_told_and_another_takes_over(new_cluster, callback):
    app = new_cluster.add_app(7)
    cluster = new_cluster.start(coordinator=2)
    hold = threading.Event()
    server = callback(lambda received: (received.data["forward_type"] == "settle" or hold.wait(20),
                                        (200, {}, b""))[1])
    add_webhook(app, server.url, timeout="15s")
    phone = logged_in(cluster, app)
    settle(phone, app)
    send(phone, app, 1)
    wait_until(lambda: any(one.data["sequence"] == 1 for one in server.received))
    busy = next(one for one in cluster.coordinators
                if one.metric("holdfast_webhook_requests_in_flight") == 1)
    busy.kill()
    assert phone.expect("upstream_ack").code == 4150
    hold.set()
    wait_until(lambda: ask(phone, app, 2).code == 0, what="the other coordinator serves it")


def test_secrets_rotate_without_a_gap(cluster, app, callback):
    server = callback()
    old = add_webhook(app, server.url)
    changed = app.call("PATCH", f"webhooks/{old['id']}", {"rotate_secret": True}, role="admin")
    assert changed.status == 200 and changed.json["secret"] != old["secret"]
    phone = logged_in(cluster, app)
    settle(phone, app)

    def both_sign():
        server.received.clear()
        ask(phone, app, 1)
        received, = server.received
        return len(received.headers["webhook-signature"].split(" ")) == 2
    wait_until(both_sign)
    received, = server.received
    assert signature_is_valid(old["secret"], received.headers, received.body)
    assert signature_is_valid(changed.json["secret"], received.headers, received.body)
    dropped = app.call("PATCH", f"webhooks/{old['id']}", {"drop_old_secret": True}, role="admin")
    assert dropped.json["secret_count"] == 1


def test_webhooks_are_managed_over_the_api(cluster, app):
    made = app.call("POST", "webhooks", {"id": "orders", "url": "https://shop.example/hook",
                                         "forward_types": ["order"], "timeout": "2s"}, role="admin")
    assert made.status == 201 and made.json["secret"].startswith("whsec_")
    assert made.json["timeout_ms"] == 2000
    shown = app.call("GET", "webhooks/orders", role="viewer")
    assert shown.status == 200 and "secret" not in shown.json
    assert app.call("PATCH", "webhooks/orders", {"enabled": False}, role="admin").json["enabled"] is False
    assert app.call("POST", "webhooks", {"id": "orders", "url": "https://x.example/"},
                    role="admin").reason == "ALREADY_EXISTS"
    for n in range(3):
        assert app.call("POST", "webhooks", {"url": f"https://x.example/{n}"}, role="admin").status == 201
    assert app.call("POST", "webhooks", {"url": "https://x.example/5"}, role="admin").reason == \
        "TOO_MANY_WEBHOOKS"
    assert len(app.call("GET", "webhooks", role="viewer").json["webhooks"]) == 4
    assert app.call("DELETE", "webhooks/orders", role="admin").status == 200
    assert app.call("GET", "webhooks/orders", role="viewer").reason == "WEBHOOK_UNKNOWN"


BAD_WEBHOOKS = [
    ({}, "MISSING_FIELD"),
    ({"url": "ftp://x.example/"}, "BAD_URL"),
    ({"url": "https://user:secret@x.example/"}, "BAD_URL"),
    ({"url": "https:///x"}, "BAD_URL"),
    ({"url": "https://x.example/#a"}, "BAD_URL"),
    ({"url": "https://x.example/" + "y" * 300}, "BAD_VALUE"),
    ({"url": "https://x.example/", "secret": "whsec_short"}, "BAD_VALUE"),
    ({"url": "https://x.example/", "forward_types": ["x" * 33]}, "BAD_VALUE"),
    ({"url": "https://x.example/", "forward_types": ["x"] * 9}, "BAD_VALUE"),
    ({"url": "https://x.example/", "timeout": "1m"}, "BAD_DURATION"),
    ({"url": "https://x.example/", "timeout": 0}, "BAD_DURATION"),
    ({"url": "https://x.example/", "max_in_flight": 65}, "BAD_VALUE"),
    ({"url": "https://x.example/", "id": "a b"}, "BAD_VALUE"),
    ({"url": "https://x.example/", "allow_cidrs": ["10.0.0.0/8"]}, "ROLE_DENIED"),
    ({"url": "https://x.example/", "colour": 1}, "UNKNOWN_FIELD"),
]


def test_bad_webhooks_are_refused_by_name(cluster, app):
    for body, reason in BAD_WEBHOOKS:
        answer = app.call("POST", "webhooks", body, role="admin")
        assert answer.status in (400, 403) and answer.reason == reason, body
    made = app.call("POST", "webhooks", {"url": "https://x.example/"}, role="sender")
    assert made.reason == "ROLE_DENIED"


"""Businesses that hang up: at any moment of any call, and center goes on."""

import json
import socket

from harness import wire
from harness.api import text_message
from harness.waiting import wait_until


def raw_request(app, method, path, body=b"", role="sender", content_type="application/json"):
    head = (f"{method} {app.path(path)} HTTP/1.1\r\nHost: center\r\n"
            f"Authorization: Bearer {app.key(role)}\r\n")
    if body:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def calls_that_ask_many(app):
    """What is answered when rooms, savers or every process have answered."""
    tagged = {"audience": {"tag": ["vip"]}, "message": {"data": 1}}
    users = {"audience": {"user_id": ["ana"]}, "message": {"data": 1}, "options": {"replaces": "0AKQRJ3EQ2W00"}}
    sends = [dict(tagged, options={"validate_only": True}), dict(tagged, cid="abort-job"), users]
    add = json.dumps({"add": ["reg-1"], "remove": ["away"]}).encode()
    paths = ["messages/0AKQRJ3EQ2W00/why", "registrations/reg-1/why", "presence/stats", "connections", "connections?user_id=ana",
             "users/ana", "tags", "tags/vip", "registrations?tag=vip&online=true", "reports/registrations", "reports/labels",
             "reports/messages?message_ids=0AKQRJ3EQ2W00", "broadcasts"]
    return [
        *(raw_request(app, "GET", path, role="viewer") for path in paths),
        *(raw_request(app, "POST", "messages", json.dumps(body).encode()) for body in sends),
        raw_request(app, "POST", "tags/vip/registrations", add, role="admin"),
        raw_request(app, "DELETE", "tags/vip", role="admin"),
        raw_request(app, "POST", "registrations/away/bar", b'{"seconds":1}', role="admin"),
        raw_request(app, "DELETE", "messages/0AKQRJ3EQ2W00"),
        raw_request(app, "POST", "messages/0AKQRJ3EQ2W00/pause"),
    ]


def every_kind_of_call(app):
    single = json.dumps(text_message(1, ["reg-1", "away"])).encode()
    waiting = json.dumps(text_message(1, ["away"], wait="acked", wait_timeout="1s")).encode()
    routed = json.dumps(text_message(1, ["reg-1"], wait="routed")).encode()
    keyed = json.dumps(dict(text_message(1, ["reg-1"]), cid="abort-1")).encode()
    batch = json.dumps({"messages": [text_message(n, ["reg-1"]) for n in range(200)]}).encode()
    lines = single + b"\n" + keyed + b"\n" + waiting + b"\n"
    ids = json.dumps({"registration_ids": ["reg-1", "away"]}).encode()
    kick = json.dumps({"registration_id": ["away"]}).encode()
    return [
        raw_request(app, "POST", "messages", single),
        raw_request(app, "POST", "messages", waiting),
        raw_request(app, "POST", "messages", routed),
        raw_request(app, "POST", "messages", keyed),
        raw_request(app, "POST", "messages/batch", batch),
        raw_request(app, "POST", "messages/stream", lines * 100,
                    content_type="application/x-ndjson"),
        raw_request(app, "GET", "messages/0AKQRJ3EQ2W00", role="viewer"),
        raw_request(app, "POST", "registrations/query", ids, role="viewer"),
        raw_request(app, "GET", "connections?registration_id=reg-1", role="viewer"),
        raw_request(app, "GET", "registrations/away/queue", role="viewer"),
        raw_request(app, "DELETE", "registrations/away/queue", role="admin"),
        raw_request(app, "POST", "connections/disconnect", kick, role="admin"),
        raw_request(app, "POST", "keys", b"{}", role="admin"),
        *calls_that_ask_many(app),
    ]


def dial(cluster):
    host, port = cluster.api_address().rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def open_deliveries(cluster):
    return cluster.processes["center"][0].metric("holdfast_center_messages_in_delivery")


def test_a_caller_may_hang_up_at_any_byte_and_right_after_the_last(cluster, app):
    app.register("reg-1", "away")
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    for request in every_kind_of_call(app):
        for cut in sorted({len(request) // 3, len(request) - 1, len(request)}):
            link = dial(cluster)
            link.sendall(request[:cut])
            link.close()
        # Two of them on one connection, so that one is answered and the other in hand.
        link = dial(cluster)
        link.sendall(request + request)
        link.recv(20)
        link.close()
    wait_until(lambda: open_deliveries(cluster) == 0)
    assert app.send("still here", "reg-1").status == 202


def test_a_caller_that_resets_the_connection_is_forgotten(cluster, app):
    app.register("reg-1", "away")
    for request in every_kind_of_call(app):
        link = dial(cluster)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        link.sendall(request)
        link.close()
    wait_until(lambda: open_deliveries(cluster) == 0)
    assert app.send("still here", "reg-1").status == 202


def test_a_message_goes_on_when_its_sender_hangs_up(cluster, app):
    app.register("reg-1", "away")
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    body = json.dumps(text_message("goes on", ["reg-1"], wait="acked", wait_timeout="30s")).encode()
    link = dial(cluster)
    link.sendall(raw_request(app, "POST", "messages", body))
    push = phone.next_push()
    assert push.kind == wire.PUSH and push.payload == b'"goes on"'
    link.close()
    wait_until(lambda: open_deliveries(cluster) == 0, what="the wait ended with its caller")
    phone.ack(push)

"""Attacks that once hurt: each of these took down a process, or other users of it."""

import ctypes
import ctypes.util
import json
import os
import socket
import ssl

import pytest

from harness import api, wire
from harness.waiting import wait_until
from test_api_aborts import dial, raw_request
from test_tls import certificate, context, secure  # noqa: F401 (fixtures)


def reset(link):
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    link.close()


def body_of(registrations, **options):
    return json.dumps(api.text_message(1, registrations, **options)).encode()


class KeyUpdates:
    """A TLS client that changes its keys without end; Python's own module has no call for that."""

    def __init__(self, address):
        self.lib = ctypes.CDLL(ctypes.util.find_library("ssl"))
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        host, port = address.rsplit(":", 1)
        self.link = socket.create_connection((host, int(port)), timeout=10)
        self.link.settimeout(None)  # the library wants a descriptor that blocks
        self.context = ctypes.c_void_p(self.lib.SSL_CTX_new(ctypes.c_void_p(
            self.lib.TLS_client_method())))
        self.ssl = ctypes.c_void_p(self.lib.SSL_new(self.context))
        self.lib.SSL_set_fd(self.ssl, self.link.fileno())
        assert self.lib.SSL_connect(self.ssl) == 1

    def send(self, count):
        """How many of `count` got out before the server hung up."""
        for sent in range(count):
            if self.lib.SSL_key_update(self.ssl, 0) != 1 or self.lib.SSL_do_handshake(self.ssl) != 1:
                return sent
        return count

    def close(self):
        self.lib.SSL_free(self.ssl)
        self.lib.SSL_CTX_free(self.context)
        self.link.close()


def test_a_client_that_floods_key_updates_is_cut(secure, certificate):  # noqa: F811
    attacker = KeyUpdates(secure.room_address())
    assert attacker.send(200000) < 200000
    attacker.close()
    phone = secure.phone(tls=context(certificate))
    phone.login((secure.apps[7], "reg-1"))


def test_a_few_key_updates_are_no_attack(secure):  # noqa: F811
    client = KeyUpdates(secure.room_address())
    assert client.send(10) == 10
    hello = wire.login("device-1", [wire.session(7, "reg-1", secure.apps[7].token("reg-1"))])
    client.lib.SSL_write(client.ssl, hello, len(hello))
    answer = ctypes.create_string_buffer(1000)
    assert client.lib.SSL_read(client.ssl, answer, 1000) > 0
    assert answer.raw[0] >> 3 == wire.LOGIN_ACK
    client.close()


@pytest.mark.parametrize("more", [0, 1], ids=["one request", "another behind it"])
def test_a_caller_that_resets_while_it_waits_is_noticed_at_once(cluster, app, more):
    """Its descriptor once woke the loop again and again, until the wait was over."""
    app.register("away")
    request = raw_request(app, "POST", "messages", body_of(["away"], wait="acked", wait_timeout="30s"))

    def connections():
        return cluster.center.metric("holdfast_http_connections", server="api")
    links = [dial(cluster) for _ in range(5)]
    for link in links:
        link.sendall(request * (1 + more))
    wait_until(lambda: cluster.center.metric("holdfast_center_messages_in_delivery") == 5)
    for link in links:
        reset(link)
    wait_until(lambda: connections() == 0, 5)


def test_waits_for_acks_never_keep_others_from_storing(cluster, app):
    """They once filled the window of calls to saver: nobody could send for as long as they waited."""
    other = cluster.add_app(8)
    app.register("reg-1", *(f"away-{n}-{i}" for n in range(60) for i in range(100)))
    other.register("reg-1")
    wait_until(lambda: other.send("x", "reg-1").status == 202)
    links = []
    for n in range(60):
        names = [f"away-{n}-{i}" for i in range(100)]
        links.append(dial(cluster))
        links[-1].sendall(raw_request(app, "POST", "messages",
                                      body_of(names, wait="acked", wait_timeout="30s")))
    wait_until(lambda: cluster.center.metric("holdfast_center_refusals_total",
                                             reason="OVERLOADED") >= 30)
    assert other.send("x", "reg-1").status == 202
    assert app.send("x", "reg-1").status == 202
    for link in links:
        link.close()
    wait_until(lambda: cluster.center.metric("holdfast_center_messages_in_delivery") == 0)
    cluster.saver.terminate()  # and it leaves without waiting for them
    assert cluster.saver.wait_exit(10) == 0


def test_silent_connections_do_not_lock_others_out(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"dispatcher": {"limits__connections": "16"},
                                "center": {"api__connections": "16"}})
    host, port = new_cluster.dispatcher_address().rsplit(":", 1)
    silent = [socket.create_connection((host, int(port))) for _ in range(40)]
    silent += [dial(new_cluster) for _ in range(40)]
    for link in silent[::3]:
        link.sendall(b"GET /v1/endpoints HTTP/1.1\r\nX: ")
    for link in silent[1:40:3]:
        link.sendall(b"GET /v1/endpoints HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
    answer = api.request(new_cluster.dispatcher_address(), "GET", "/v1/endpoints?app_id=7", timeout=8)
    assert answer.status == 200
    assert app.call("GET", "messages/01JABC", role="viewer", timeout=8).status == 404
    for link in silent:
        link.close()


@pytest.mark.parametrize("length", [10, 253])
def test_an_undecodable_question_to_dispatcher_is_not_echoed(cluster, app, length):
    """What came back once was bytes of its stack."""
    query = "/v1/endpoints?reason=" + "A" * length + "%zz"
    answer = api.request(cluster.dispatcher_address(), "GET", query)
    assert answer.status == 400
    assert not answer.json["error"]["details"][0].get("value")


def test_the_longest_registration_id_can_be_named_in_a_path(cluster, app):
    name = "é" * 32
    app.register(name)
    assert app.send("x", name).status == 202
    answer = app.call("GET", "registrations/" + "%C3%A9" * 32 + "/queue", role="viewer")
    assert (answer.status, len(answer.json["messages"])) == (200, 1)


def test_attach_and_detach_in_one_breath_are_both_answered(cluster, app):
    other = cluster.add_app(8)
    other.register("reg-2")
    wait_until(lambda: other.send("x", "reg-2").status == 202)
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    wanted = wire.attach(wire.session(8, "reg-2", other.token("reg-2")))
    for _ in range(3):
        phone.send_bytes(wanted + wire.detach(8))
        names = [phone.receive().name, phone.receive().name]
        assert names == ["attach_ack", "detach_ack"]
    phone.send_bytes(wanted)
    assert phone.expect("attach_ack").code == 0
    assert phone.next_push().payload == b'"x"'


def test_an_app_whose_file_becomes_too_large_goes_on_as_it_was(cluster, app):
    cluster.add_app(8).register("reg-1")
    app.register("reg-1")
    path = os.path.join(cluster.keeper, "apps")
    with open(os.path.join(path, ".large"), "wb") as file:
        file.write(b"[" * 70000)
    os.rename(os.path.join(path, ".large"), os.path.join(path, "7"))
    wait_until(lambda: cluster.apps[8].send("x", "reg-1").status == 202)
    assert app.send("x", "reg-1").status == 202


def test_a_process_whose_entry_is_removed_comes_back(cluster, app):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    for process in (cluster.room, cluster.saver):
        path = os.path.join(cluster.keeper, "instances", process.role, process.id)
        os.unlink(path)
        wait_until(lambda found=path: os.path.exists(found), 15)
    wait_until(lambda: app.send("x", "reg-1").status == 202)
    assert phone.next_push().payload == b'"x"'


def test_garbage_inside_tls_ends_that_connection_only(secure, certificate):  # noqa: F811
    plain = socket.create_connection(secure.room_address().rsplit(":", 1))
    link = context(certificate).wrap_socket(plain, server_hostname="localhost")
    with socket.socket(fileno=os.dup(link.fileno())) as underneath:
        underneath.sendall(b"this is no record")
    with pytest.raises((ssl.SSLError, OSError)):
        assert link.recv(100) == b""
        raise OSError("closed, as it should")
    link.close()
    phone = secure.phone(tls=context(certificate))
    phone.login((secure.apps[7], "reg-1"))


def test_a_slow_reader_of_a_backlog_is_not_cut_for_redeliveries(new_cluster):
    app = new_cluster.add_app(7, payload="64KiB")
    new_cluster.start(settings={"saver": {"redelivery__after": "100ms"},
                                "room": {"limits__send_queue": "64KiB"}})
    app.register("slow")
    for _ in range(6):
        assert app.send("x" * 60000, "slow").status == 202
    slow = new_cluster.phone()
    slow.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    slow.login((app, "slow"))
    wait_until(lambda: new_cluster.saver.metric("holdfast_saver_redeliveries_total",
                                                result="deferred") > 0)
    slow.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    seen = set()
    while len(seen) < 6:
        push = slow.next_push()
        slow.ack(push)
        seen.add(push.id)


def test_one_address_can_not_use_up_the_accepts_of_all(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__accept_rate": "50",
                                         "limits__per_ip_accept_rate": "2",
                                         "limits__per_ip_exempt": "192.0.2.0/24"}})
    host, port = new_cluster.room_address().rsplit(":", 1)
    flood = [socket.create_connection((host, int(port)), source_address=("127.0.0.2", 0))
             for _ in range(100)]
    for link in flood:
        link.sendall(b"\x08")
    phone = new_cluster.phone()
    phone.login((app, "reg-1"))
    rejected = "holdfast_room_connections_rejected_total"
    assert new_cluster.room.metric(rejected, reason="per_ip_accept_rate") > 50
    assert new_cluster.room.metric(rejected, reason="accept_rate") == 0
    for link in flood:
        link.close()

"""TLS and plain clients on one port; the first byte tells."""

import json
import ssl
import subprocess

import pytest

from harness.phone import Phone
from harness.waiting import wait_until


@pytest.fixture
def certificate(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
                   check=True, capture_output=True)
    return str(cert), str(key)


@pytest.fixture
def secure(new_cluster, certificate):
    cert, key = certificate
    with open(f"{new_cluster.folder}/room.yaml", encoding="utf-8") as file:
        text = file.read()
    text = text.replace("{bind: '127.0.0.1:0'}",
                        f"{{bind: '127.0.0.1:0', tls: {{certificate: '{cert}', key_file: '{key}'}}}}")
    with open(f"{new_cluster.folder}/room.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    new_cluster.add_app(7)
    return new_cluster.start()


def context(certificate):
    return ssl.create_default_context(cafile=certificate[0])


def test_a_push_reaches_a_client_over_tls(secure, certificate):
    app = secure.apps[7]
    phone = secure.phone(tls=context(certificate))
    phone.login((app, "reg-1"))
    for size in (1, 1000, 4000):
        assert app.send("x" * size, "reg-1").status == 202
        push = phone.next_push()
        assert len(push.payload) == size + 2
        phone.ack(push)
    wait_until(lambda: secure.redis.queue_length(7, "reg-1") == 0)


def test_high_messages_and_collapse_keys_leave_a_half_written_record_alone(secure, certificate):
    """OpenSSL must be given the same bytes again: what passes or replaces does so behind them."""
    app = secure.apps[7]
    phone = secure.phone(tls=context(certificate))
    phone.login((app, "reg-1"))
    sent = []

    def send(kind, **options):
        text = f"{kind}{len(sent)}" + "x" * 3000
        assert app.send(text, "reg-1", qos=0, **options).status == 202
        sent.append(text)

    def waiting():
        return secure.room.metric("holdfast_room_send_queue_bytes")

    while waiting() < 50000:  # its socket is full
        for _ in range(50):
            send("n")
    for n in range(10):
        send("h", priority="high")
        send("k", collapse_key=f"key-{n % 3}")
    wait_until(lambda: secure.room.metric("holdfast_room_pushes_total", result="written") == len(sent))
    replaced = secure.room.metric("holdfast_room_messages_collapsed_total")
    assert replaced == 7, "of ten with three keys"
    got = [json.loads(phone.next_push().payload) for _ in range(len(sent) - int(replaced))]
    assert phone.quiet(0.3)
    high = [text for text in got if text[0] == "h"]
    assert high == [text for text in sent if text[0] == "h"]
    assert got.index(high[-1]) < len(got) - 10, "they passed what waited"
    kept = [text for text in got if text[0] == "k"]
    assert kept == [text for text in sent if text[0] == "k"][-3:]
    assert [text for text in got if text[0] == "n"] == [text for text in sent if text[0] == "n"]


def test_a_cut_tls_connection_is_resumed(secure, certificate):
    """Also from plain to TLS: the ticket is about sessions, not about how they are reached."""
    app = secure.apps[7]
    phone = secure.phone(tls=context(certificate))
    ack = phone.login((app, "reg-1"))
    app.send("before", "reg-1")
    phone.next_push()
    phone.reset()
    wait_until(lambda: secure.room.metric("holdfast_room_lingering_connections") == 1)
    app.send("meanwhile", "reg-1")
    for tls in (context(certificate), None):
        phone = secure.phone(tls=tls)
        ack = phone.login((app, "reg-1"), ticket=ack.ticket)
        assert ack.resumed
        assert [phone.next_push().payload for _ in range(2)] == [b'"before"', b'"meanwhile"']
    assert secure.room.metric("holdfast_room_connections", transport="tls") == 0


def test_plain_and_tls_share_the_port(secure, certificate):
    app = secure.apps[7]
    plain, wrapped = secure.phone(), secure.phone(tls=context(certificate), device="device-2")
    plain.login((app, "reg-1"))
    wrapped.login((app, "reg-2"))
    app.send("both", ["reg-1", "reg-2"])
    assert plain.next_push().payload == wrapped.next_push().payload == b'"both"'


def test_a_broken_handshake_hurts_nobody(secure, certificate):
    app = secure.apps[7]
    good = secure.phone(tls=context(certificate))
    good.login((app, "reg-1"))
    for data in (b"\x16", b"\x16\x03\x01", b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x16" * 3000):
        bad = Phone(secure.room_address())
        bad.send_bytes(data)
        bad.reset()
    app.send("unharmed", "reg-1")
    assert good.next_push().payload == b'"unharmed"'


def test_a_big_backlog_arrives_over_tls(secure, certificate):
    app = secure.apps[7]
    app.register("reg-1")
    for n in range(100):
        assert app.send("y" * 3000 + str(n), "reg-1").status == 202
    phone = secure.phone(tls=context(certificate))
    phone.login((app, "reg-1"))
    assert len(phone.pushes(100)) == 100

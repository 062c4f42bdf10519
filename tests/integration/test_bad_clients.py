"""What outside bytes can do to a room: each ends in the documented close code and a counter, and no other client
notices."""

import socket
import struct

import pytest

from harness import wire
from harness.phone import Closed, Phone
from harness.tokens import sign
from harness.waiting import wait_until


@pytest.fixture
def watched(cluster, app):
    """A well-behaved client that must come through every test unharmed."""
    good = cluster.phone(device="good")
    good.login((app, "good"))
    yield good
    answer = app.send("unharmed?", "good")
    assert answer.status == 202
    push = good.next_push()
    assert push.payload == b'"unharmed?"'
    good.ack(push)
    assert cluster.room.alive()


def closed_with(phone, code):
    bye = phone.wait_closed()
    assert bye is not None and bye.code == code, bye


def good_login(app, registration="reg-1", **options):
    return wire.login("device-1", [wire.session(app.id, registration, app.token(registration))],
                      **options)


FIRST_BYTES = {
    "garbage": (b"\xff" * 64, 4000),
    "type 0": (b"\x00\x00", 4000),
    "flags on a login": (wire.frame(wire.LOGIN, b"HF\x01", flags=1), 4000),
    "a ping first": (wire.frame(wire.PING), 4008),
    "an ack first": (wire.ack([1]), 4008),
    "wrong magic": (wire.frame(wire.LOGIN, b"XX\x01abc"), 4000),
    "an empty login": (wire.frame(wire.LOGIN, b"HF\x01"), 4000),
    "wrong version": (wire.login("d", [wire.session(7, "r", "t")], version=99), 4001),
    "a length of five bytes": (bytes([wire.LOGIN << 3]) + b"\xff\xff\xff\xff\x01", 4000),
    "a length over the limit": (bytes([wire.LOGIN << 3]) + b"\xff\xff\xff\x7f", 4000),
    "no session": (wire.login("d", []), 4000),
    "no device": (wire.login("", [wire.session(7, "r", "t")]), 4000),
    "a NUL in the registration": (wire.login("d", [wire.session(7, "a\0b", "t")]), 4000),
    "no UTF-8 in the device": (
        wire.frame(wire.LOGIN, b"HF\x01" + wire.field(1, b"\xff\xfe")
                   + wire.field(7, wire.session(7, "r", "t"))), 4000),
    "a registration of 65 bytes": (wire.login("d", [wire.session(7, "r" * 65, "t")]), 4000),
    "17 sessions": (wire.login("d", [wire.session(n + 1, "r", "t") for n in range(17)]), 4000),
    "an app that is not there": (wire.login("d", [wire.session(99, "r", "t")]), 4002),
    "no token": (wire.login("d", [wire.session(7, "r")]), 4004),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None),
}


@pytest.mark.parametrize("name", FIRST_BYTES)
def test_a_wrong_first_frame_ends_with_its_code(cluster, watched, name):
    data, code = FIRST_BYTES[name]
    phone = cluster.phone()
    phone.send_bytes(data)
    bye = phone.wait_closed()
    assert (bye.code if bye else None) == code


def test_all_bad_first_frames_are_counted_and_logged_with_the_peer(cluster, watched):
    phone = cluster.phone()
    host, port = phone.link.getsockname()
    phone.send_bytes(b"\xff" * 64)
    closed_with(phone, 4000)
    assert cluster.room.metric("holdfast_room_connections_closed_total", code="4000") == 1
    wait_until(lambda: cluster.room.log_has(rf"peer={host}:{port}.*code=4000"))


def token_cases(app):
    key, secret = app.token_key, app.token_secret
    return {
        "expired": (sign(7, "reg-1", key, secret, lifetime=-3600), 4300),
        "not yet valid": (sign(7, "reg-1", key, secret, nbf=4102444800), 4302),
        "forged": (sign(7, "reg-1", key, b"another secret of ours"), 4004),
        "of another key": (sign(7, "reg-1", "nokey", secret), 4004),
        "algorithm none": (sign(7, "reg-1", key, secret, algorithm="none"), 4004),
        "algorithm RS256": (sign(7, "reg-1", key, secret, algorithm="RS256"), 4004),
        "for another app": (sign(8, "reg-1", key, secret), 4004),
        "for another registration": (sign(7, "reg-2", key, secret), 4004),
        "truncated": (sign(7, "reg-1", key, secret)[:-10], 4004),
        "not a token": ("a.b.c", 4004),
        "of 2049 bytes": ("x" * 2049, 4000),
    }


def test_a_bad_token_is_refused_with_its_code(cluster, app, watched):
    for name, (token, code) in token_cases(app).items():
        phone = Phone(cluster.room_address())
        phone.send_bytes(wire.login("device-1", [wire.session(7, "reg-1", token)]))
        bye = phone.wait_closed()
        assert bye is not None and bye.code == code, name
        phone.close()


def test_one_bad_session_does_not_spoil_the_good_one(cluster, app, watched):
    phone = cluster.phone()
    ack = phone.login((app, "reg-1"), wire.session(99, "x", "y"))
    assert sorted(ack.results) == [(7, 0), (99, 4002)]
    app.send("hello", "reg-1")
    assert phone.next_push().payload == b'"hello"'


def test_all_refusals_of_a_login_are_told_however_large_it_is(cluster, app, watched):
    """16 apps with everything at its longest fit into the default limits; each refusal has its own code."""
    longest = [wire.session(100 + n, "r" * 64, "t" * 2048, "u" * 128, [f"{tag:040}" for tag in range(32)])
               for n in range(15)]
    phone = cluster.phone(device="d" * 64)
    phone.send_bytes(wire.login("d" * 64, [wire.session(7, "r" * 64, "t" * 2048)] + longest, platform="p" * 32,
                                sdk_version="s" * 32, ticket=b"t" * 64))
    ack = phone.expect("login_ack")
    assert ack.results == [(7, 4004)] + [(100 + n, 4002) for n in range(15)]
    assert not ack.ticket
    closed_with(phone, 4004)


def test_two_clients_that_fight_over_a_registration_are_held_back(cluster, app, watched):
    """Each comes again when it was told that it lost. After a few rounds the newcomer is told to stay away."""
    phones = [cluster.phone(device="a")]
    phones[0].login((app, "reg-1"))
    for turn in range(7):
        newcomer = cluster.phone(device="ba"[turn % 2])
        try:
            newcomer.login((app, "reg-1"))
        except Closed as closed:
            assert closed.bye.code == 4101
            break
        phones.append(newcomer)
        closed_with(phones[-2], 4006)
    # Register counts a round when the room has answered, which the next round may overtake.
    assert 5 <= turn <= 6
    assert cluster.register.metric("holdfast_register_refusals_total", reason="throttled") == 1
    app.send("who", "reg-1")
    assert phones[-1].next_push().payload == b'"who"'
    # Another registration is nobody's fight.
    cluster.phone(device="c").login((app, "reg-2"))


def test_a_client_that_returns_again_and_again_fights_nobody(cluster, app, watched):
    """Its connections die, and it has lost its ticket each time: nobody is thrown out by that."""
    for _ in range(12):
        phone = cluster.phone()
        assert phone.login((app, "reg-1")).results == [(7, 0)]
        phone.reset()
        lingering = "holdfast_room_lingering_connections"
        wait_until(lambda: cluster.room.metric(lingering) == 1)
    assert cluster.register.metric("holdfast_register_refusals_total", reason="throttled") == 0


def test_a_second_login_is_a_protocol_violation(cluster, app, watched):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    phone.send_bytes(good_login(app))
    closed_with(phone, 4008)


def test_the_same_app_twice_on_one_connection_is_refused(cluster, app, watched):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert phone.attach(app, "reg-2").code == 4008
    app.send("hello", "reg-1")
    assert phone.next_push().payload == b'"hello"'


def test_a_login_a_byte_at_a_time_works(cluster, app, watched):
    phone = cluster.phone()
    phone.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in good_login(app):
        phone.send_bytes(bytes([byte]))
    assert phone.expect("login_ack").results == [(7, 0)]
    app.send("hello", "reg-1")
    push = phone.next_push()
    for byte in wire.ack([push.id]):
        phone.send_bytes(bytes([byte]))
    wait_until(lambda: cluster.redis.queue_length(7, "reg-1") == 0)


def test_many_frames_in_one_segment_are_all_served(cluster, app, watched):
    phone = cluster.phone()
    phone.send_bytes(good_login(app) + wire.frame(wire.PING) * 20)
    frames = [phone.receive() for _ in range(21)]
    assert [frame.kind for frame in frames].count(wire.PONG) == 20


def test_a_login_that_never_comes_is_cut(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__handshake_timeout": "1s"}})
    silent, half = new_cluster.phone(), new_cluster.phone()
    half.send_bytes(good_login(app)[:20])
    closed_with(half, 4105)
    bye = silent.wait_closed()
    assert bye is None or bye.code == 4105


@pytest.mark.parametrize("data,code", [
    (b"\xff\xff\xff", 4000),
    (wire.frame(wire.ACK, b"123"), 4000),
    (wire.frame(wire.ACK, struct.pack("<Q", 1) * 513), 4000),
    (wire.frame(wire.PUSH, b"x" * 20), 4008),
    (wire.frame(wire.LOGIN_ACK), 4008),
    (bytes([wire.UPSTREAM << 3]) + b"\xff\xff\xff\x7f", 4000),
], ids=["garbage", "half an id", "too many ids", "a push from below", "a login ack from below",
        "a frame over the limit"])
def test_a_bad_frame_after_login_ends_with_its_code(cluster, app, watched, data, code):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    phone.send_bytes(data)
    closed_with(phone, code)


def test_acks_of_what_was_never_pushed_are_ignored(cluster, app, watched):
    app.register("other")
    app.send("theirs", "other")
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    phone.ack(*range(1, 100))
    phone.send_bytes(wire.frame(wire.PING))
    assert phone.receive().kind == wire.PONG
    assert cluster.redis.queue_length(7, "other") == 1


def test_an_app_that_is_switched_off_is_refused(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start()
    assert new_cluster.operator("PATCH", "/v1/apps/7", {"enabled": False}).status == 200

    def code():
        phone = Phone(new_cluster.room_address())
        phone.send_bytes(good_login(app))
        try:
            phone.expect("login_ack", 5)
        except Closed as closed:
            return closed.bye.code if closed.bye else None
        finally:
            phone.close()
        return None
    wait_until(lambda: code() == 4003)


def test_a_flood_of_frames_is_cut(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__frames_per_second": "20"}})
    phone = new_cluster.phone()
    phone.login((app, "reg-1"))
    try:
        for _ in range(200):
            phone.send_bytes(wire.frame(wire.PING) * 20)
    except OSError:
        pass
    closed_with(phone, 4101)


def test_more_connections_of_one_address_than_allowed_are_refused(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__per_ip_connections": "3",
                                         "limits__per_ip_exempt": "192.0.2.0/24"}})
    phones = [new_cluster.phone(device=f"device-{n}") for n in range(3)]
    for n, phone in enumerate(phones):
        phone.login((app, f"reg-{n}"))
    closed_with(new_cluster.phone(), 4104)
    phones[0].close()

    def comes_in():
        phone = Phone(new_cluster.room_address())
        try:
            phone.login((app, "reg-9"))
            return True
        except (Closed, OSError):
            return False
        finally:
            phone.close()
    wait_until(comes_in)


def test_failed_logins_of_one_address_lead_to_a_penalty(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__per_ip_failed_logins": "3",
                                         "limits__per_ip_exempt": "192.0.2.0/24"}})
    app.register("reg-1")
    codes = []
    for _ in range(6):
        phone = Phone(new_cluster.room_address())
        phone.send_bytes(wire.login("d", [wire.session(7, "r", "forged")]))
        bye = phone.wait_closed()
        codes.append(bye.code if bye else None)
        phone.close()
    assert codes[0] == 4004 and codes[-1] in (4101, None), codes
    assert new_cluster.room.metric("holdfast_room_connections_rejected_total") > 0
    assert app.send("x", "reg-1").status == 202


def test_a_reader_that_never_reads_is_cut_and_its_messages_are_kept(new_cluster):
    app = new_cluster.add_app(7, stored_per_registration=1000, payload="64KiB")
    new_cluster.start(settings={"room": {"limits__send_queue": "256KiB", "limits__unacked": "500"}})
    slow = new_cluster.phone()
    slow.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.login((app, "slow"))
    sent = 0
    closed = 'holdfast_room_connections_closed_total'
    for sent in range(1, 400):
        assert app.send("x" * 60000, "slow").status == 202
        if new_cluster.room.metric(closed, code="4102"):
            break
    assert new_cluster.room.metric(closed, code="4102") == 1
    assert new_cluster.redis.queue_length(7, "slow") == sent


def test_mass_connects_and_resets_leave_nothing_behind(new_cluster):
    cluster = new_cluster
    cluster.add_app(7)
    cluster.start(settings={"room": {"linger__time": "1s"}})
    app = cluster.apps[7]
    good = cluster.phone(device="good")
    good.login((app, "good"))
    for wave in range(5):
        phones = [Phone(cluster.room_address(), device=f"d{n}") for n in range(60)]
        for n, phone in enumerate(phones):
            phone.send_bytes(wire.login(f"d{n}", [wire.session(7, f"r{n}", app.token(f"r{n}"))]))
        for n, phone in enumerate(phones):
            (phone.reset, phone.close, phone.cut)[(n + wave) % 3]()
    wait_until(lambda: cluster.room.metric("holdfast_room_connections") == 1)
    wait_until(lambda: cluster.register.metric("holdfast_register_sessions") == 1)
    wait_until(lambda: cluster.room.metric("holdfast_room_lingering_connections") == 0)
    app.send("unharmed?", "good")
    assert good.next_push().payload == b'"unharmed?"'

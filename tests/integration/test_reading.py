"""What a room reads of a client in one go: all that came is handled, however it came, without another word of the
client's. Each test stops the room for a moment, so that it finds several things at once in a socket."""

import contextlib
import socket

import pytest

from harness import wire
from harness.waiting import wait_until
from test_tls import certificate, context  # noqa: F401

UNKNOWN = wire.ack(range(1, 513))  # 4 KiB that mean nothing
ROOM_READS = 65536


@contextlib.contextmanager
def asleep(room):
    room.pause()
    try:
        yield
    finally:
        room.resume()


@pytest.fixture
def roomy(new_cluster, certificate):  # noqa: F811
    """Both kinds of clients, which may send as much as they like."""
    new_cluster.add_app(7)
    return new_cluster.start(settings={"room": {
        "limits__bytes_per_second": "1GiB", "limits__frames_per_second": "100000",
        "listeners": "[{bind: '127.0.0.1:0', tls: {certificate: '%s', key_file: '%s'}}]" % certificate}})


@pytest.fixture(params=["plain", "tls"])
def line(request, roomy, certificate):  # noqa: F811
    phone = roomy.phone(tls=context(certificate) if request.param == "tls" else None)
    phone.login((roomy.apps[7], "reg-1"))
    return phone


def end_of_stream(phone):
    socket.socket.shutdown(phone.link, socket.SHUT_WR)  # TLS is not asked


def heard(cluster, kind):
    return cluster.room.metric("holdfast_room_frames_total", direction="in", type=kind)


def lingering(cluster):
    return cluster.room.metric("holdfast_room_lingering_connections")


def widen(phone):
    """What comes is read at once for a while, so that the kernel opens the window."""
    for _ in range(40):
        phone.send_bytes(UNKNOWN * 40 + wire.frame(wire.PING))
    for _ in range(40):
        phone.expect("pong")


def test_more_than_one_read_takes(roomy, line):
    widen(line)
    with asleep(roomy.room):
        line.send_bytes(UNKNOWN * (3 * ROOM_READS // len(UNKNOWN)) + wire.frame(wire.PING))
    line.expect("pong")


def test_the_end_of_the_stream_behind_data(roomy, line):
    with asleep(roomy.room):
        line.send_bytes(wire.frame(wire.PING))
        end_of_stream(line)
    wait_until(lambda: lingering(roomy) == 1)


def test_a_reset_behind_data(roomy, line):
    with asleep(roomy.room):
        line.send_bytes(wire.frame(wire.PING))
        line.reset()
    wait_until(lambda: lingering(roomy) == 1)


def test_a_goodbye_and_the_end_of_the_stream(roomy, line):
    with asleep(roomy.room):
        line.send_bytes(wire.frame(wire.PING))
        line.close()
    wait_until(lambda: roomy.room.metric("holdfast_room_connections") == 0)
    assert lingering(roomy) == 0


def test_a_bad_frame_with_much_behind_it_and_the_end_of_the_stream(roomy, line):
    """Its BYE gets through, as what it sent is read to the end before the close."""
    widen(line)
    with asleep(roomy.room):
        line.send_bytes(b"\xff" * (3 * ROOM_READS))
        end_of_stream(line)
    assert line.wait_closed().code == 4000
    wait_until(lambda: roomy.room.metric("holdfast_room_connections") == 0, 2)


def test_frames_that_come_while_register_is_asked(roomy, certificate):  # noqa: F811
    """The socket moves from one epoll set to the other with unread bytes in it."""
    app = roomy.apps[7]
    for tls in (None, context(certificate)):
        phone = roomy.phone(tls=tls)
        with asleep(roomy.register):
            phone.send_bytes(wire.login("device-1", [wire.session(7, "reg-1", app.token("reg-1"))]))
            wait_until(lambda: heard(roomy, "login") >= 1)
            with asleep(roomy.room):
                phone.send_bytes(wire.frame(wire.PING))
            phone.expect("pong")
            phone.send_bytes(wire.frame(wire.PING))
            phone.expect("pong")
        phone.expect("login_ack")
        phone.send_bytes(wire.frame(wire.PING))
        phone.expect("pong")
        phone.close()
        wait_until(lambda: roomy.room.metric("holdfast_room_connections") == 0)


def test_a_full_socket_goes_on_when_it_is_read_and_its_client_is_heard_meanwhile(roomy, line):
    app = roomy.apps[7]
    app.register("reg-2")
    sent = 0
    for _ in range(3):  # full, and empty again
        while roomy.room.metric("holdfast_room_send_queue_bytes") < 50000:
            for _ in range(20):
                assert app.send("x" * 3000, "reg-1", qos=0).status == 202
                sent += 1
        line.send_bytes(wire.frame(wire.PING))
        wait_until(lambda: heard(roomy, "ping") > 0)
        with asleep(roomy.room):
            line.send_bytes(UNKNOWN * 4)
        while sent > 0:
            line.next_push()
            sent -= 1
        line.expect("pong")
        assert line.quiet(0.2)
        assert app.send("again", "reg-1", qos=0).status == 202
        assert line.next_push().payload == b'"again"'


def test_a_byte_out_of_band_holds_up_nothing(roomy):
    """A read ends before urgent data: what follows it is in the socket still."""
    line = roomy.phone()
    line.login((roomy.apps[7], "reg-1"))
    with asleep(roomy.room):
        line.send_bytes(wire.frame(wire.PING))
        line.link.send(b"!", socket.MSG_OOB)
        line.send_bytes(wire.frame(wire.PING))
    for _ in range(2):
        line.expect("pong")


def test_many_at_once(roomy, certificate):  # noqa: F811
    """More sockets than one look at the set takes, each with a frame and its end."""
    app = roomy.apps[7]
    phones = [roomy.phone(device=f"d{n}") for n in range(300)]
    for n, phone in enumerate(phones):
        phone.login((app, f"reg-{n}"))
    with asleep(roomy.room):
        for n, phone in enumerate(phones):
            phone.send_bytes(wire.frame(wire.PING))
            if n % 3 == 1:
                end_of_stream(phone)
            elif n % 3 == 2:
                phone.reset()
    for n in range(0, 300, 3):
        phones[n].expect("pong")
    wait_until(lambda: lingering(roomy) == 200)
    for n in range(0, 300, 3):
        phones[n].send_bytes(wire.frame(wire.PING))
        phones[n].expect("pong")


@pytest.mark.parametrize("kind", ["plain", "tls"])
@pytest.mark.parametrize("limit", [{"limits__logins_in_flight": "1"}, {"limits__login_rate": "100"}, {}],
                         ids=["one at a time", "a hundred a second", "no limit"])
def test_a_crowd_comes_in_whole(new_cluster, certificate, kind, limit):  # noqa: F811
    """Some are read as they are accepted, others stand in the lobby first; some send half of their LOGIN."""
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {
        **limit, **({} if kind == "plain" else {"listeners":
                    "[{bind: '127.0.0.1:0', tls: {certificate: '%s', key_file: '%s'}}]" % certificate})}})
    logins = [wire.login(f"d{n}", [wire.session(7, f"reg-{n}", app.token(f"reg-{n}"))]) for n in range(60)]
    with asleep(new_cluster.room) if kind == "plain" else contextlib.nullcontext():
        phones = [new_cluster.phone(tls=None if kind == "plain" else context(certificate)) for _ in logins]
        for phone, login in zip(phones[::2], logins[::2]):
            phone.send_bytes(login)
        for phone, login in zip(phones[1::2], logins[1::2]):
            phone.send_bytes(login[:20])
    for phone, login in zip(phones[1::2], logins[1::2]):
        phone.send_bytes(login[20:])
    for phone in phones:
        phone.expect("login_ack")
        phone.send_bytes(wire.frame(wire.PING))
        phone.expect("pong")
    assert new_cluster.room.metric("holdfast_room_logged_in_connections") == 60


def test_a_wrong_first_frame_that_is_read_at_once_is_answered(new_cluster):
    """It never was in any set before; its end is awaited all the same."""
    new_cluster.add_app(7)
    new_cluster.start()
    phone = new_cluster.phone()
    phone.send_bytes(wire.frame(wire.PING) + UNKNOWN * 8)
    assert phone.wait_closed().code == 4008
    phone.link.close()
    wait_until(lambda: new_cluster.room.metric("holdfast_room_connections") == 0, 2)

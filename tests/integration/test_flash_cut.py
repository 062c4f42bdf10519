"""A connection that dies leaves its sessions in the room for a while; a client that shows its ticket goes on as if
nothing had been cut, and neither the register nor the saver hears of it."""

import json
import random
import threading

import pytest

from harness import wire
from harness.flash_cut import (
    calls, come_back, lingering, numbers, online, resumes, send, wait_lingering, wait_pushed)
from harness.phone import Closed, Phone
from harness.waiting import NotInTime, wait_until


def test_what_was_not_acked_and_what_came_meanwhile_arrive_in_order_without_a_call(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    assert first.linger_s == 60 and 0 < len(first.ticket) <= 64 and not first.resumed
    send(app, "reg-1", *range(6))
    pushes = [phone.next_push() for _ in range(6)]
    phone.ack(pushes[0], pushes[3])
    wait_until(lambda: cluster.redis.queue_length(7, "reg-1") == 4)
    before = calls(cluster)

    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-1", *range(6, 10))
    assert online(app, "reg-1")
    wait_pushed(cluster, 4, parked=4)

    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed == 1 and ack.results == [(7, 0)]
    assert ack.ticket and ack.ticket != first.ticket
    again = [phone.next_push() for _ in range(8)]
    assert numbers(again) == [1, 2, 4, 5, 6, 7, 8, 9]
    assert [push.id for push in again[:4]] == [pushes[n].id for n in (1, 2, 4, 5)]
    send(app, "reg-1", 10)
    again.append(phone.next_push())
    assert numbers(again[-1:]) == [10]
    phone.ack(*again)
    wait_until(lambda: cluster.redis.queue_length(7, "reg-1") == 0)
    assert calls(cluster) == before
    assert resumes(cluster, "resumed") == 1
    assert lingering(cluster) == 0
    assert cluster.room.metric("holdfast_room_kept_bytes") == 0


def test_a_stream_of_pushes_through_many_cuts_is_complete(lasting):
    cluster, app = lasting, lasting.apps[7]
    sent, stopping = [], threading.Event()

    def stream():
        while not stopping.is_set():
            answer = app.send({"n": len(sent)}, "reg-1")
            assert answer.status == 202
            sent.append(len(sent))

    phone = cluster.phone()
    ack = phone.login((app, "reg-1"))
    business = threading.Thread(target=stream)
    business.start()
    seen, cuts = {}, 0
    before = calls(cluster)[0]

    def read(count):
        for _ in range(count):
            push = phone.next_push(20)
            seen.setdefault(push.id, numbers([push])[0])
            if push.id % 3:
                phone.ack(push)
    try:
        while cuts < 12:
            read(10)
            phone.reset() if cuts % 2 else phone.cut()
            phone, ack = come_back(cluster, ack, (app, "reg-1"))
            assert ack.resumed
            cuts += 1
    finally:
        stopping.set()
        business.join(20)
    while len(seen) < len(sent):
        read(1)
    assert sorted(seen.values()) == sent
    assert calls(cluster)[0] == before
    assert resumes(cluster, "resumed") == cuts
    phone.ack(*seen)
    wait_until(lambda: cluster.redis.queue_length(7, "reg-1") == 0)


def test_an_ack_of_the_former_connection_counts(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    send(app, "reg-1", 1)
    push = phone.next_push()
    phone.reset()
    wait_lingering(cluster)
    phone, _ = come_back(cluster, first, (app, "reg-1"))
    phone.ack(push)
    wait_until(lambda: cluster.redis.queue_length(7, "reg-1") == 0)


def test_the_client_may_notice_first(lasting):
    """NAT rebinding: the room believes the old connection alive when the client is back."""
    cluster, app = lasting, lasting.apps[7]
    old = cluster.phone()
    first = old.login((app, "reg-1"))
    send(app, "reg-1", 1)
    old.next_push()
    before = calls(cluster)
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed
    assert numbers([phone.next_push()]) == [1]
    assert old.wait_closed() is None  # not a word: it is the same client
    send(app, "reg-1", 2)
    assert numbers([phone.next_push()]) == [2]
    assert calls(cluster) == before
    assert cluster.room.metric("holdfast_room_connections") == 1


def test_a_half_open_connection_lingers_when_its_heartbeat_is_missed(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"room": {"linger__time": "60s", "keepalive__grace": "0s",
                                     "keepalive__wifi__initial": "1s", "keepalive__wifi__min": "1s"}})
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    bye = phone.wait_closed()
    assert bye.code == 4201
    wait_lingering(cluster)
    send(app, "reg-1", 1)
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed
    assert numbers([phone.next_push()]) == [1]


def test_parked_pushes_have_a_bound_and_the_rest_is_loaded(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"room": {"linger__time": "60s", "limits__unacked": "5"}})
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    send(app, "reg-1", 0, 1)
    for _ in range(2):
        phone.next_push()
    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-1", *range(2, 20))
    wait_pushed(cluster, 18, parked=3)
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed
    assert numbers(phone.pushes(20)) == list(range(20))
    wait_until(lambda: cluster.redis.queue_length(7, "reg-1") == 0)


@pytest.mark.parametrize("option,value", [("linger__session_bytes", "8KiB"), ("linger__memory", "8KiB")])
def test_bytes_have_a_bound_too(new_cluster, option, value):
    """Frames that found no place are loaded from the saver: what was not acked as well as what was parked."""
    cluster = new_cluster
    app = cluster.add_app(7)
    cluster.start(settings={"room": {"linger__time": "60s", option: value}})
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))

    def send_large(numbers):
        for n in numbers:
            assert app.send({"n": n, "pad": "x" * 3000}, "reg-1").status == 202
    send_large(range(4))
    for _ in range(4):
        phone.next_push()
    assert 0 < cluster.room.metric("holdfast_room_kept_bytes") <= 8192
    phone.reset()
    wait_lingering(cluster)
    send_large(range(4, 8))
    wait_pushed(cluster, 4, parked=0)
    assert cluster.room.metric("holdfast_room_kept_bytes") <= 8192
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed
    assert sorted(numbers(phone.pushes(8))) == list(range(8))
    assert phone.quiet()
    wait_until(lambda: cluster.redis.queue_length(7, "reg-1") == 0)


def test_a_message_that_expires_while_parked_is_dropped(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    wait_until(lambda: cluster.room.metric("holdfast_room_loads_total", result="ok") == 1)
    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-1", 1, ttl=1)
    send(app, "reg-1", 2)
    wait_pushed(cluster, 2, parked=2)
    accepted_ms = phone_clock(cluster)
    wait_until(lambda: phone_clock(cluster) > accepted_ms + 1500, 10)
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed
    assert numbers(phone.pushes(1)) == [2]
    assert phone.quiet()
    assert cluster.room.metric("holdfast_messages_dropped_total", reason="expired") == 1


def phone_clock(cluster):
    """The wall clock of the machine, in milliseconds, as a store knows it."""
    seconds, microseconds = cluster.redis.call("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000


def test_a_transient_push_is_parked_too(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-1", 1, qos=0)
    wait_pushed(cluster, 1, parked=1)
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    push = phone.next_push()
    assert ack.resumed and push.qos == 0 and numbers([push]) == [1]
    assert cluster.room.metric("holdfast_room_kept_bytes") == 0


def test_a_parked_message_gives_way_to_a_newer_one_of_its_collapse_key(lasting):
    cluster, app = lasting, lasting.apps[7]
    phone = cluster.phone()
    first = phone.login((app, "reg-1"))
    wait_until(lambda: cluster.room.metric("holdfast_room_loads_total", result="ok") == 1)
    phone.reset()
    wait_lingering(cluster)
    send(app, "reg-1", 1, collapse_key="score")
    wait_pushed(cluster, 1, parked=1)
    send(app, "reg-1", 2)
    send(app, "reg-1", 3, collapse_key="score")
    wait_pushed(cluster, 3, parked=3)
    phone, ack = come_back(cluster, first, (app, "reg-1"))
    assert ack.resumed
    assert numbers(phone.pushes(2)) == [2, 3]
    assert phone.quiet()
    wait_until(lambda: cluster.redis.queue_length(7, "reg-1") == 0)


def test_a_broadcast_reaches_who_is_away_for_a_moment(lasting):
    cluster, app = lasting, lasting.apps[7]
    phones, acks = [], []
    for n in range(4):
        phones.append(cluster.phone(device=f"device-{n}"))
        acks.append(phones[-1].login((app, f"reg-{n}")))
    wait_until(lambda: cluster.room.metric("holdfast_room_loads_total", result="ok") == 4)
    for phone in phones[:2]:
        phone.reset()
    wait_lingering(cluster, 2)
    answer = app.call("POST", "messages", {"audience": "all", "message": {"data": {"n": 1}}})
    assert answer.status == 202, answer
    for phone in phones[2:]:
        assert numbers(phone.pushes(1)) == [1]
    wait_until(lambda: cluster.room.metric("holdfast_room_parked_total") == 2)
    for n in range(2):
        phone, ack = come_back(cluster, acks[n], (app, f"reg-{n}"), device=f"device-{n}")
        assert ack.resumed
        assert numbers(phone.pushes(1)) == [1]
        assert phone.quiet()


class Restless(threading.Thread):
    """A client on a bad line: it is cut in every way there is, comes back with its ticket or without, to the same room
    or another, and acks some of what it gets, some of it late."""

    def __init__(self, cluster, app, number):
        super().__init__(daemon=True)
        self.addresses = [cluster.room_address(room) for room in range(2)]
        self.app, self.name_ = app, f"reg-{number}"
        self.device = f"device-{number}"
        self.random = random.Random(number)
        self.seen = {}
        self.unacked = set()
        self.resumes = 0
        self.calm = threading.Event()
        self.done = False
        self.failure = None
        self.start()

    def run(self):
        room, ticket = 0, b""
        try:
            while not self.done:
                ticket = ticket if self.random.random() < 0.8 else b""
                room = room if ticket else self.random.randrange(2)
                phone = Phone(self.addresses[room], device=self.device)
                try:
                    ack = phone.login((self.app, self.name_), ticket=ticket)
                    self.resumes += ack.resumed
                    ticket = ack.ticket
                    self.live(phone)
                    self.random.choice((phone.reset, phone.cut, phone.reset, phone.close))()
                except (Closed, OSError):
                    phone.cut()
        except Exception as failure:  # told by the test
            self.failure = failure

    def live(self, phone):
        for _ in range(self.random.randrange(1, 12)):
            while self.calm.is_set() and not self.done:
                self.read(phone, 0.2)
                self.ack(phone)
            self.read(phone, 0.05)
            if self.random.random() < 0.5:
                self.ack(phone)

    def read(self, phone, timeout):
        try:
            frame = phone.receive(timeout)
        except NotInTime:
            return
        if frame.kind == wire.PUSH:
            assert self.seen.setdefault(frame.id, frame.payload) == frame.payload
            self.unacked.add(frame.id)

    def ack(self, phone):
        if self.unacked:
            phone.ack(*self.unacked)
            self.unacked.clear()


def test_restless_clients_lose_nothing_and_keep_nothing(new_cluster):
    cluster = new_cluster
    app = cluster.add_app(7, stored_per_registration=1000)
    cluster.start(room=2, settings={"room": {
        "linger__time": "2s", "limits__unacked": "6", "linger__session_bytes": "4KiB", "linger__memory": "32KiB"}})
    clients = [Restless(cluster, app, number) for number in range(10)]
    wait_until(lambda: cluster.saver.metric("holdfast_saver_registrations_total", change="created") == len(clients),
               what="all are known: to others nothing is stored")
    accepted = 0
    for n in range(160):
        pad = "x" * (n * 37 % 1500)
        answer = app.send({"n": n, "pad": pad}, [client.name_ for client in clients])
        assert answer.status == 202, answer
        accepted += 1
    for client in clients:
        client.calm.set()
    for client in clients:
        wait_until(lambda: len(client.seen) == accepted or client.failure, 60,
                   lambda: f"{client.name_} has {len(client.seen)} of {accepted}")
        assert client.failure is None, client.failure
        assert sorted(json.loads(payload)["n"] for payload in client.seen.values()) == list(range(accepted))
        wait_until(lambda: cluster.redis.queue_length(7, client.name_) == 0, 30)
    for client in clients:
        client.done = True
        client.join(20)
    assert sum(client.resumes for client in clients) > 20
    for room in cluster.processes["room"]:
        wait_until(lambda: room.metric("holdfast_room_sessions") == 0)
        assert room.metric("holdfast_room_kept_bytes") == 0
        assert room.metric("holdfast_room_lingering_connections") == 0

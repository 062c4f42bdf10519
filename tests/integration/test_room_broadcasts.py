"""A broadcast's share of one room: who gets it, how often, how fast. The test stands in for center."""

import time

import pytest

from harness import wire
from harness.crowd import Crowd
from harness.rpc import Refused, Rpc
from harness.waiting import wait_until

STORED, TRANSIENT = 1, 0
RUN, PAUSE, CANCEL = 0, 1, 2


def new_id(_last=[0]):
    """Ids are drawn as the services do: milliseconds since 2024 above 22 bits."""
    _last[0] = max(_last[0] + 1, (int(time.time() * 1000) - 1704067200000) << 22)
    return _last[0]


def hexed(data):
    return {"hex": data.hex()}


class Broadcast:
    """One task of one room, and its revision."""

    def __init__(self, rpc, app, payload=b'"all"', kind=STORED, audience=None, delivery=None,
                 spans=None, number=None):
        self.rpc = rpc
        self.id = number or new_id()
        self.revision = 0
        self.rate = 0
        self.spans = ([{"from": 1}] if kind else []) if spans is None else spans
        self.broadcast = {"message_id": self.id, "app": app.id, "class": kind,
                          "frame": hexed(wire.push(self.id, app.id, payload, qos=min(kind, 1)))}
        if audience:
            self.broadcast["audience"] = audience
        if delivery:
            self.broadcast["delivery"] = delivery

    def tell(self, state=RUN, rate=None, spans=None):
        """`rate`: messages a second."""
        self.revision += 1
        if rate is not None:
            self.rate = rate
        if spans is not None:
            self.spans = spans
        return self.rpc("StartTask", broadcast=self.broadcast, state=state, revision=self.revision,
                        rate_millis=int(self.rate * 1000), spans=self.spans)

    def read(self):
        return self.rpc("ReadTask", message_id=self.id)

    def wait_done(self, timeout=20):
        return wait_until(lambda: (lambda reply: reply if reply["done"] else None)(self.read()),
                          timeout, what=lambda: f"not done: {self.read()}")


@pytest.fixture
def room(cluster):
    rpc = Rpc(cluster.room)
    yield rpc
    rpc.close()


def counts(reply):
    return {key: reply[key] for key in ("walked", "matched", "written", "deferred", "dropped")}


def test_everybody_of_the_app_gets_it_once(cluster, app, room):
    crowd = Crowd(cluster, app, 300)
    other = cluster.add_app(8)
    stranger = cluster.phone(device="stranger")
    wait_until(lambda: other.send("x", "nobody", validate_only=True).status == 200)
    stranger.login((other, "stranger"))

    broadcast = Broadcast(room, app)
    started = broadcast.tell()
    assert started["known"] and started["sessions"] == 300
    crowd.listen_for(300)
    done = broadcast.wait_done()
    assert counts(done) == {"walked": 300, "matched": 300, "written": 300, "deferred": 0, "dropped": 0}
    assert broadcast.tell()["done"]  # told again, by another center
    assert crowd.listen(0.3) == []
    assert crowd.who_has(broadcast.id) == list(range(300))
    assert stranger.quiet(0.1)
    metric = cluster.room.metric
    assert metric("holdfast_messages_written_total", path="broadcast") == 300
    assert metric("holdfast_room_broadcasts_open") == 0


def test_the_pace_is_even(cluster, app, room):
    crowd = Crowd(cluster, app, 300)
    broadcast = Broadcast(room, app)
    broadcast.tell(rate=100)
    crowd.listen_for(300)
    start = crowd.arrivals[0].at
    seconds = [0] * 4
    for one in crowd.arrivals:
        seconds[int(one.at - start)] += 1
    assert all(90 <= count <= 110 for count in seconds[:2]), seconds
    tenths = [0] * 40
    for one in crowd.arrivals:
        tenths[int((one.at - start) * 10)] += 1
    assert max(tenths) <= 25, tenths  # 10 is even; a burst would be 100


def test_a_paused_one_that_expires_gives_its_place_back(cluster, app, room):
    Crowd(cluster, app, 3)
    broadcast = Broadcast(room, app)
    broadcast.broadcast["expires_ms"] = int(time.time() * 1000) + 1000
    broadcast.tell(PAUSE)
    assert cluster.room.metric("holdfast_room_broadcasts_open") == 1
    assert broadcast.wait_done()["written"] == 0
    assert cluster.room.metric("holdfast_room_broadcasts_open") == 0


def test_a_new_pace_holds_from_then_on(cluster, app, room):
    crowd = Crowd(cluster, app, 200)
    broadcast = Broadcast(room, app)
    broadcast.tell(rate=20)
    crowd.listen_for(10)
    broadcast.tell(rate=1000)
    crowd.listen_for(200, timeout=4)  # 10 s at the old one


def test_a_paused_one_stops_at_once_and_goes_on_where_it_was(cluster, app, room):
    crowd = Crowd(cluster, app, 200)
    broadcast = Broadcast(room, app)
    broadcast.tell(rate=100)
    crowd.listen_for(50)
    paused = broadcast.tell(PAUSE)
    crowd.listen(0.1)
    assert len(crowd.arrivals) == paused["written"] < 100
    assert crowd.listen(0.5) == []
    assert broadcast.read()["state"] == PAUSE and not broadcast.read()["done"]
    broadcast.tell(RUN, rate=0)
    crowd.listen_for(200)
    assert counts(broadcast.wait_done())["written"] == 200
    assert crowd.listen(0.2) == []
    assert crowd.who_has(broadcast.id) == list(range(200))


def test_a_cancelled_one_never_goes_on(cluster, app, room):
    crowd = Crowd(cluster, app, 100)
    broadcast = Broadcast(room, app)
    broadcast.tell(rate=50)
    crowd.listen_for(10)
    cancelled = broadcast.tell(CANCEL)
    assert cancelled["done"] and cancelled["state"] == CANCEL
    written = cancelled["written"]
    assert broadcast.tell(RUN, rate=0)["state"] == CANCEL
    crowd.listen(0.5)
    assert len(crowd.arrivals) == written < 100


def test_an_older_revision_changes_nothing(cluster, app, room):
    crowd = Crowd(cluster, app, 20)
    broadcast = Broadcast(room, app)
    broadcast.revision = 5
    broadcast.tell(PAUSE)
    broadcast.revision = 2
    answer = broadcast.tell(RUN)
    assert (answer["state"], answer["revision"]) == (PAUSE, 6)
    assert crowd.listen(0.3) == []


def test_a_transient_one_is_for_who_is_there_when_it_starts(cluster, app, room):
    crowd = Crowd(cluster, app, 20)
    broadcast = Broadcast(room, app, kind=TRANSIENT)
    broadcast.tell(rate=20)
    crowd.listen_for(2)
    late = Crowd(cluster, app, 5, name="late")
    crowd.listen_for(20)
    done = broadcast.wait_done()
    assert late.listen(0.2) == []
    assert (done["matched"], done["written"]) == (20, 20)
    assert crowd.who_has(broadcast.id) == list(range(20))


def test_audiences_pick_whom_they_mean(cluster, app, room):
    crowd = Crowd(cluster, app, 40, login=lambda n: {
        "platform": ("ios", "android", "web")[n % 3], "sdk_version": f"1.{n}"},
        tags=lambda n: ["even"] if n % 2 == 0 else ["odd", "vip"])

    def reached(**audience):
        counted = room("CountSessions", app=app.id, audience=audience)
        assert counted["sessions"] == 40
        broadcast = Broadcast(room, app, audience=audience)
        broadcast.tell()
        matched = broadcast.wait_done()["matched"]
        assert matched == counted["matched"]
        wait_until(lambda: crowd.listen(0.05) == [])
        found = crowd.who_has(broadcast.id)
        assert len(found) == matched
        return found

    everybody = range(40)
    assert reached(tag=["even"]) == [n for n in everybody if n % 2 == 0]
    assert reached(tag=["even", "vip"]) == list(everybody)
    assert reached(tag_and=["odd", "vip"]) == [n for n in everybody if n % 2]
    assert reached(tag_not=["vip"]) == [n for n in everybody if n % 2 == 0]
    assert reached(platform=["ios", "web"]) == [n for n in everybody if n % 3 != 1]
    assert reached(version_min="1.10", version_max="1.19") == list(range(10, 20))
    assert reached(tag=["odd"], platform=["web"]) == [n for n in everybody if n % 2 and n % 3 == 2]
    assert reached(exclude=["crowd-3", "crowd-39"], tag=["vip"]) == [
        n for n in everybody if n % 2 and n not in (3, 39)]
    assert reached(tag=["nobody has it"]) == []
    half = reached(percentage=50, percentage_seed="s")
    assert 5 < len(half) < 35 and half == reached(percentage=50, percentage_seed="s")


def test_two_broadcasts_share_the_rooms_rate(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"broadcast__rate": 200}})
    room = Rpc(new_cluster.room)
    crowd = Crowd(new_cluster, app, 200)
    first, second = Broadcast(room, app, b'"1"'), Broadcast(room, app, b'"2"')
    first.tell()
    crowd.listen_for(20)
    second.tell()
    begun = len(crowd.arrivals)
    crowd.listen_for(begun + 100)
    shares = [sum(one.id == task.id for one in crowd.arrivals[begun:]) for task in (first, second)]
    assert all(35 <= share <= 65 for share in shares), shares
    crowd.listen_for(400)
    took = crowd.arrivals[-1].at - crowd.arrivals[0].at
    assert 1.8 < took < 2.8, took
    room.close()


def test_a_message_to_one_client_passes_a_walk(cluster, app, room):
    crowd = Crowd(cluster, app, 100)
    registers = Rpc(cluster.register)
    broadcast = Broadcast(room, app)
    broadcast.tell(rate=50)
    crowd.listen_for(1)
    app.send("for you", "crowd-99")
    crowd.listen_for(101)
    registers.close()
    mine = [one.frame.payload for one in crowd.arrivals if one.phone == 99]
    assert mine == [b'"for you"', b'"all"']


def test_a_walk_that_rests_for_pushes_reaches_everybody(cluster, app, room):
    """Several slices long, and begun right after a push, so that each of them is followed by a rest."""
    crowd = Crowd(cluster, app, 600)
    app.send("for you", "crowd-599")
    crowd.listen_for(1)
    broadcast = Broadcast(room, app)
    assert not broadcast.tell()["done"]
    app.send("and you", "crowd-0")
    crowd.listen_for(602)
    assert counts(broadcast.wait_done())["written"] == 600
    assert crowd.who_has(broadcast.id) == list(range(600))


def test_a_full_window_defers(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__unacked": 2}})
    room = Rpc(new_cluster.room)
    crowd = Crowd(new_cluster, app, 3, acks=False)
    for n in range(2):
        app.send({"n": n}, "crowd-1")
    crowd.listen_for(2)
    broadcast = Broadcast(room, app)
    broadcast.tell()
    done = broadcast.wait_done()
    assert (done["written"], done["deferred"]) == (2, 1)
    crowd.listen_for(4)
    assert crowd.who_has(broadcast.id) == [0, 2]
    room.close()


def test_the_number_of_tasks_is_bounded(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"broadcast__tasks": 3}})
    room = Rpc(new_cluster.room)
    tasks = [Broadcast(room, app) for _ in range(4)]
    for task in tasks[:3]:
        task.tell(PAUSE)
    with pytest.raises(Refused) as refused:
        tasks[3].tell()
    assert (refused.value.status, refused.value.reason) == ("OVERLOADED", "TOO_MANY_TASKS")
    tasks[0].tell(CANCEL)
    assert tasks[3].tell()["known"]
    # Done ones are forgotten only by need: many more can follow.
    for _ in range(20):
        last = Broadcast(room, app)
        last.tell(CANCEL)
        assert last.read()["known"]
    assert not tasks[0].read()["known"] and tasks[1].read()["known"]
    room.close()


@pytest.mark.parametrize("change", [
    {"broadcast": {"message_id": 0}}, {"broadcast": {"frame": hexed(b"\x09\x00")}},
    {"broadcast": {"frame": {"hex": ""}}}, {"state": 3},
    {"broadcast": {"audience": {"tag": [""]}}},
    {"broadcast": {"audience": {"percentage": 101}}},
    {"broadcast": {"delivery": {"collapse_key": "k" * 65}}},
    {"spans": [{"from": 5, "until": 3}]}, {"spans": [{"from": 5}, {"from": 7}]},
    {"spans": [{"from": 5, "until": 7}, {"from": 6}]}], ids=str)
def test_a_bad_task_is_refused(cluster, app, room, change):
    request = {"broadcast": dict(Broadcast(room, app).broadcast), "revision": 1, "spans": []}
    for key, value in change.items():
        request[key] = {**request[key], **value} if isinstance(value, dict) else value
    with pytest.raises(Refused) as refused:
        room("StartTask", **request)
    assert refused.value.status == "INVALID"


def session_of(cluster, app, registration):
    registers = Rpc(cluster.register)
    found = registers("Lookup", items=[{"app": app.id, "registration": registration}])
    registers.close()
    return found["results"][0]


def test_a_changed_record_counts_from_then_on(cluster, app, room):
    crowd = Crowd(cluster, app, 3, tags=lambda n: ["a"])
    where = session_of(cluster, app, "crowd-1")

    def update(session=where["session"], **record):
        return room("UpdateSession", session=session, epoch=where["epoch"], record=record)["known"]

    def with_tag(tag):
        return room("CountSessions", app=app.id, audience={"tag": [tag]})["matched"]

    assert update(tags=["b", "c"], revision=9)
    assert (with_tag("a"), with_tag("b"), with_tag("c")) == (2, 1, 1)
    assert update(tags=["d"], revision=8)  # older: overtaken on its way
    assert (with_tag("b"), with_tag("d")) == (1, 0)
    assert update(revision=10)
    assert with_tag("b") == 0
    assert not update(session=where["session"] ^ 1 << 25)

    until = int(time.time() * 1000) + 60000
    assert update(revision=11, barred_until_ms=until, bar_reason="spam")
    bye = crowd.phones[1].wait_closed()
    assert (bye.code, bye.reason) == (4005, b"spam")


def test_high_messages_pass_and_newer_ones_replace_in_a_full_queue(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__send_queue": "32MiB"}})
    room = Rpc(new_cluster.room)
    phone = new_cluster.phone()
    phone.login((app, "reg-1"))
    where = session_of(new_cluster, app, "reg-1")

    def push(payload, kind=STORED, **delivery):
        message = new_id()
        results = room("Push", items=[{
            "message_id": message, "class": kind, "delivery": delivery, "sessions": [where["session"]],
            "epochs": [where["epoch"]],
            "frame": hexed(wire.push(message, app.id, payload, qos=min(kind, 1)))}])["results"]
        assert results == [0], "written, or queued behind a full socket"
        return message

    def waiting():
        return new_cluster.room.metric("holdfast_room_send_queue_bytes")

    bulk = 0
    while waiting() < 500000:  # the kernel's buffers are full, and some more waits behind them
        for _ in range(10):
            push(b"x" * 60000, kind=TRANSIENT)
            bulk += 1
    older = push(b"A", collapse_key="score")
    push(b"B", collapse_key="other")
    push(b"C", collapse_key="score")
    push(b"H1", high=True)
    push(b"H2", high=True)
    described = room("Describe", session=where["session"], epoch=where["epoch"])
    assert described["unacked"] == 4
    assert new_cluster.room.metric("holdfast_room_messages_collapsed_total") == 1

    got = phone.pushes(bulk + 4, ack=False)
    order = [one.payload for one in got if one.payload[:1] != b"x"]
    assert order == [b"H1", b"H2", b"B", b"C"]
    assert got[-1].payload == b"C" and got[-5].payload[:1] == b"x", "bulk came after the high ones"
    assert older not in [one.id for one in got]
    phone.ack(*[one for one in got if one.qos])
    wait_until(lambda: room("Describe", session=where["session"], epoch=where["epoch"])["unacked"] == 0)
    room.close()


def test_a_message_sent_before_the_login_is_loaded_waits_for_it(cluster, app):
    cluster.saver.pause()
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    for sequence in range(1, 4):
        phone.send_bytes(wire.upstream(app.id, sequence, "order", b"{}"))
    assert phone.quiet(0.5)
    cluster.saver.resume()
    outcomes = [phone.expect("upstream_ack") for _ in range(3)]
    assert [one.sequence for one in outcomes] == [1, 2, 3]
    # The coordinator was asked: it knows of no callback for this.
    assert all(one.code != 4100 for one in outcomes), outcomes


def test_a_message_held_for_a_login_that_can_not_be_loaded_is_refused(cluster, app):
    cluster.saver.kill()
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    phone.send_bytes(wire.upstream(app.id, 1, "order", b"{}"))
    assert phone.expect("upstream_ack").code == 4100


def test_a_barred_registration_gets_nothing_and_reaches_nobody(cluster, app, room):
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert app.send("owed", "reg-1").status == 202
    phone.next_push()
    saver = Rpc(cluster.saver)
    until = int(time.time() * 1000) + 3600000
    saver("ChangeRegistration", app=app.id, registration="reg-1", set_bar=True,
          barred_until_ms=until, bar_reason="spam")
    phone.reset()

    phone = cluster.phone()
    phone.login((app, "reg-1"))
    phone.send_bytes(wire.upstream(app.id, 1, "order", b"{}"))
    bye = phone.wait_closed()
    assert (bye.code, bye.reason) == (4005, b"spam")
    assert not phone.waiting, "neither a message nor an outcome"
    assert cluster.coordinator.metric("holdfast_upstream_messages_total") == 0

    saver("ChangeRegistration", app=app.id, registration="reg-1", set_bar=True)
    phone = cluster.phone()
    phone.login((app, "reg-1"))
    assert phone.next_push().payload == b'"owed"'
    saver.close()


def test_who_was_brought_it_by_a_page_is_not_given_it_again(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__unacked": 2}})
    room, saver = Rpc(new_cluster.room), Rpc(new_cluster.saver)
    crowd = Crowd(new_cluster, app, 20, acks=False)
    last = session_of(new_cluster, app, "crowd-19")
    # Old enough for nothing else to keep it from being written twice: a scheduled one has such an id.
    hour_ago = new_id() - (3600000 << 22)

    def store(number, payload):
        """As the broadcast log would have it: this page brings it."""
        reply = saver("Store", frames=[hexed(wire.push(number, app.id, payload))], items=[{
            "message_id": number, "app": app.id, "registration": "crowd-19", "class": STORED,
            "expires_ms": int(time.time() * 1000) + 600000, "cap": 100}])
        assert not reply["failures"] and not reply["unregistered"]

    for number in range(3):
        store(hour_ago + number, b"before")
        room("Push", items=[{"message_id": hour_ago + number, "class": STORED,
                             "frame": hexed(wire.push(hour_ago + number, app.id, b"before")),
                             "sessions": [last["session"]], "epochs": [last["epoch"]]}])
    crowd.listen_for(2)
    assert crowd.who_has(hour_ago + 2) == [], "the window is full: it is behind"

    broadcast = Broadcast(room, app, number=hour_ago + 10)
    store(broadcast.id, b'"all"')
    broadcast.tell(rate=10)
    crowd.listen_for(4)
    crowd.phones[19].ack(*[one.frame for one in crowd.arrivals if one.phone == 19])
    wait_until(lambda: crowd.listen(0.01) is not None and 19 in crowd.who_has(broadcast.id))
    assert not broadcast.read()["done"]
    crowd.phones[19].ack(broadcast.id, hour_ago + 2)
    wait_until(lambda: room("Describe", session=last["session"], epoch=last["epoch"])["unacked"] == 0)
    done = broadcast.wait_done()
    assert (done["walked"], done["written"]) == (20, 19)
    crowd.listen(0.3)
    assert crowd.who_has(broadcast.id) == list(range(20))
    saver.close()
    room.close()

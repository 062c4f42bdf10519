"""A broadcast between a room's walk and the store's log: whoever logs in when, it comes once. The test
stands in for center: it appends to the log and starts the task."""

import random
import time

import pytest

from harness import wire
from harness.crowd import Crowd
from harness.rpc import Rpc
from harness.waiting import wait_until

STORED = 1
RUN, PAUSE, CANCEL = 0, 1, 2
LOADABLE, HELD, REMOVED = 0, 1, 2


def new_id(_last=[0]):
    _last[0] = max(_last[0] + 1, (int(time.time() * 1000) - 1704067200000) << 22)
    return _last[0]


class Job:
    """What center does with one broadcast."""

    def __init__(self, cluster, app, payload=b'"all"', audience=None):
        self.app = app
        self.saver = Rpc(cluster.saver)
        self.rooms = [Rpc(room) for room in cluster.rooms]
        self.id = new_id()
        self.revision = 0
        self.broadcast = {"message_id": self.id, "app": app.id, "class": STORED,
                          "frame": {"hex": wire.push(self.id, app.id, payload).hex()},
                          "expires_ms": int(time.time() * 1000) + 600000}
        if audience:
            self.broadcast["audience"] = audience

    def append(self):
        self.saver("LogAppend", broadcast=self.broadcast)

    def set_log(self, state):
        assert self.saver("LogChange", app=self.app.id, message_id=self.id, state=state)["known"]

    def spans(self):
        return self.saver("LogRead", app=self.app.id, message_id=self.id)["spans"]

    def tell(self, state=RUN, rate=0):
        self.revision += 1
        return [room("StartTask", broadcast=self.broadcast, state=state, revision=self.revision,
                     rate_millis=int(rate * 1000), spans=self.spans()) for room in self.rooms]

    def start(self, rate=0):
        self.append()
        return self.tell(rate=rate)

    def pause(self):
        self.set_log(HELD)
        return self.tell(PAUSE)

    def resume(self, rate=0):
        self.set_log(LOADABLE)
        return self.tell(rate=rate)

    def progress(self, room=0):
        return self.rooms[room]("ReadTask", message_id=self.id)

    def wait_done(self):
        wait_until(lambda: all(self.progress(n)["done"] for n in range(len(self.rooms))))

    def acked(self):
        return self.saver("LogRead", app=self.app.id, message_id=self.id)["acked"]

    def close(self):
        for rpc in (self.saver, *self.rooms):
            rpc.close()


@pytest.fixture
def job(cluster, app):
    made = []

    def make(**options):
        made.append(Job(cluster, app, **options))
        return made[-1]
    yield make
    for one in made:
        one.close()


def known(cluster, app, names):
    """Registrations that were there before the broadcast, and are away now."""
    for name in names:
        phone = app.registered(name)
        phone.send_bytes(wire.bye())
        phone.wait_closed()


def everybody_once(job, crowd, count):
    crowd.listen_for(count)
    assert crowd.listen(0.4) == []
    assert crowd.who_has(job.id) == list(range(count))


def test_who_is_online_gets_it_from_the_walk_and_who_comes_later_from_the_log(cluster, app, job):
    known(cluster, app, ["late-0", "late-1"])
    crowd = Crowd(cluster, app, 20)
    one = job()
    one.start(rate=20)
    crowd.listen_for(3)
    late = Crowd(cluster, app, 2, name="late")
    everybody_once(one, crowd, 20)
    one.wait_done()
    everybody_once(one, late, 2)
    assert one.progress()["written"] == 20
    wait_until(lambda: one.acked() == 22)
    # And whoever acked it once is not given it again.
    again = Crowd(cluster, app, 2, name="late")
    assert again.listen(0.4) == []


def test_a_reconnect_during_the_walk_brings_it_once(cluster, app, job):
    crowd = Crowd(cluster, app, 10)
    one = job()
    one.start(rate=10)
    crowd.listen_for(2)
    assert sorted(arrival.phone for arrival in crowd.arrivals) == [0, 1]
    wait_until(lambda: one.acked() == 2)
    # One that has it and acked it, one that the walk has not come to.
    for n in (0, 9):
        crowd.selector.unregister(crowd.phones[n].link)
        crowd.phones[n].send_bytes(wire.bye())
        crowd.phones[n].close()
    first, last = (cluster.phone(device=f"crowd-{n}") for n in (0, 9))
    first.login((app, "crowd-0"))
    last.login((app, "crowd-9"))
    push = last.next_push()
    assert push.id == one.id
    last.ack(push)
    crowd.listen_for(9)
    one.wait_done()
    assert first.quiet(0.4) and last.quiet(0.1)
    assert crowd.who_has(one.id) == list(range(9))
    wait_until(lambda: one.acked() == 10)


def test_who_logs_in_while_it_is_held_gets_it_when_it_goes_on(cluster, app, job):
    known(cluster, app, [f"late-{n}" for n in range(3)])
    crowd = Crowd(cluster, app, 30)
    one = job()
    one.start(rate=30)
    crowd.listen_for(10)
    one.pause()
    crowd.listen(0.1)
    so_far = len(crowd.arrivals)
    late = Crowd(cluster, app, 3, name="late")
    # One that has acked it comes back meanwhile: only the store can tell.
    wait_until(lambda: one.acked() == so_far)
    crowd.selector.unregister(crowd.phones[0].link)
    crowd.phones[0].send_bytes(wire.bye())
    crowd.phones[0].close()
    back = cluster.phone(device="crowd-0")
    back.login((app, "crowd-0"))
    assert back.quiet(0.4) and late.listen(0.1) == []
    assert crowd.listen(0.3) == []

    one.resume()
    everybody_once(one, crowd, 30)
    everybody_once(one, late, 3)
    assert back.quiet(0.4)
    one.wait_done()
    assert one.progress()["written"] == 30
    wait_until(lambda: one.acked() == 33)


def test_a_walk_that_is_done_goes_once_more_after_a_pause(cluster, app, job):
    known(cluster, app, ["late-0"])
    crowd = Crowd(cluster, app, 5)
    one = job()
    one.start()
    everybody_once(one, crowd, 5)
    one.wait_done()
    for expected in (1, 2):  # as the job goes on in other rooms
        one.pause()
        late = Crowd(cluster, app, 1, name="late")
        assert late.listen(0.3) == []
        one.resume()
        if expected == 1:
            everybody_once(one, late, 1)
            wait_until(lambda: one.acked() == 6)
            late.phones[0].send_bytes(wire.bye())
        else:
            assert late.listen(0.4) == []
        one.wait_done()
    assert crowd.listen(0.2) == []


def test_what_a_full_window_deferred_comes_when_there_is_room(new_cluster):
    app = new_cluster.add_app(7)
    new_cluster.start(settings={"room": {"limits__unacked": 2}})
    crowd = Crowd(new_cluster, app, 3, acks=False)
    for n in range(2):
        assert app.send({"n": n}, "crowd-1").status == 202
    crowd.listen_for(2)
    one = Job(new_cluster, app)
    one.start()
    one.wait_done()
    assert (one.progress()["written"], one.progress()["deferred"]) == (2, 1)
    crowd.listen_for(4)
    # Held while it is loaded, so that the page lacks it; then it goes on.
    one.pause()
    crowd.phones[1].ack(*[arrival.frame for arrival in crowd.arrivals if arrival.phone == 1])
    assert crowd.listen(0.5) == []
    one.resume()
    crowd.listen_for(5)
    assert crowd.listen(0.4) == []
    assert crowd.who_has(one.id) == [0, 1, 2]
    one.close()


def test_nobody_is_left_out_and_nobody_gets_it_twice_whatever_happens(new_cluster):
    """Two rooms; followers come and go while broadcasts start, pause and go on."""
    app = new_cluster.add_app(7)
    new_cluster.start(room=2)
    followers = [new_cluster.follower((app, f"reg-{n}"), device=f"device-{n}") for n in range(24)]
    for follower in followers:
        follower.wait_online()
    wait_until(lambda: sum(room.metric("holdfast_room_loads_total", result="ok")
                           for room in new_cluster.rooms) >= 24)
    jobs = []
    draw = random.Random(7)
    for _ in range(3):
        one = Job(new_cluster, app)
        jobs.append(one)
        one.start(rate=12)
        for step in range(4):
            who = draw.randrange(24)
            app.call("POST", "connections/disconnect",
                     {"registration_id": [f"reg-{who}"], "code": 4203}, role="admin")
            if step == 1:
                one.pause()
            if step == 2:
                one.resume(rate=12)
            followers[who].wait_online()
    for one in jobs:
        one.wait_done()
    for follower in followers:
        follower.wait_for([one.id for one in jobs])
    for one in jobs:
        wait_until(lambda: one.acked() == 24)
        one.close()
    for follower in followers:
        # At most what was written to a connection that ended before its ack came again.
        assert len(follower.received) <= len(jobs) + follower.logins - 1, follower.received
    twice = sum(len(follower.received) - len(jobs) for follower in followers)
    assert twice <= 2, "each ack that was on its way when its connection ended"

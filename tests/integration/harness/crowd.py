"""Many phones of one app that log in together and are listened to together."""

import selectors
import time

from . import wire
from .phone import Phone
from .waiting import NotInTime, wait_until


class Arrival:
    def __init__(self, phone, frame):
        self.at = time.monotonic()
        self.phone = phone  # its number
        self.frame = frame
        self.id = frame.id


class Crowd:
    """`count` phones named <name>-0, <name>-1, ... Pushes they get are listed in `arrivals`, in order;
    each is acked unless `acks` is False."""

    def __init__(self, cluster, app, count, name="crowd", room=0, acks=True, login=None, tags=None):
        self.phones = []
        self.acks = acks
        self.arrivals = []
        self.selector = selectors.DefaultSelector()
        process = cluster.processes["room"][room]
        loaded = process.metric("holdfast_room_loads_total", result="ok")
        for n in range(count):
            phone = Phone(cluster.room_address(room), f"{name}-{n}")
            cluster.phones.append(phone)
            self.phones.append(phone)
            registration = f"{name}-{n}"
            body = wire.session(app.id, registration, app.token(registration),
                                tags=tags(n) if tags else ())
            phone.send_bytes(wire.login(phone.device, [body], **(login(n) if login else {})))
        for n, phone in enumerate(self.phones):
            phone.expect("login_ack", 30)
            self.selector.register(phone.link, selectors.EVENT_READ, n)
        wait_until(lambda: process.metric("holdfast_room_loads_total", result="ok") >= loaded + count,
                   what="all that is owed to the crowd was asked for")

    def _take(self, n):
        phone = self.phones[n]
        data = phone.link.recv(65536)
        assert data, f"phone {n} was cut: {phone.bye}"
        phone.data += data
        self._decode(n)

    def _decode(self, n):
        phone = self.phones[n]
        while True:
            frame, size = wire.decode(phone.data)
            if frame is None:
                return
            del phone.data[:size]
            if frame.kind == wire.BYE:
                phone.bye = frame
            elif frame.kind == wire.PUSH:
                self.arrivals.append(Arrival(n, frame))
                if self.acks and frame.qos:
                    phone.ack(frame)

    def _decode_all(self):
        """What was read with LOGIN_ACK: no socket tells of that again."""
        for n in range(len(self.phones)):
            self._decode(n)

    def listen(self, seconds):
        """For this long; the arrivals of that time."""
        known = len(self.arrivals)
        end = time.monotonic() + seconds
        self._decode_all()
        while (left := end - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                self._take(key.data)
        return self.arrivals[known:]

    def listen_for(self, count, timeout=20):
        """Until there are `count` arrivals in all."""
        end = time.monotonic() + timeout
        self._decode_all()
        while len(self.arrivals) < count:
            left = end - time.monotonic()
            if left <= 0:
                raise NotInTime(f"{len(self.arrivals)} of {count} came in {timeout} s")
            for key, _ in self.selector.select(left):
                self._take(key.data)
        return self.arrivals

    def who_has(self, message_id):
        """Numbers of the phones that got it, once for each time."""
        return sorted(one.phone for one in self.arrivals if one.id == message_id)

"""Many phones in one thread: they log in, ack what they get, and come back when their room goes."""

import collections
import selectors
import socket
import threading
import time

from . import wire
from .waiting import wait_until


class Member:
    def __init__(self, number, registration, login):
        self.number = number
        self.registration = registration
        self.login = login
        self.link = None
        self.data = bytearray()
        self.ready = False
        self.logins = 0
        self.frames = collections.Counter()  # message id: how often it arrived
        self.arrived = {}  # message id: when first, monotonic


class Fleet:
    """`login(n)` gives (registration, the bytes of a LOGIN); `addresses()` the rooms that live now. A member that loses
    its room connects to the next one. Nobody connects before open()."""

    def __init__(self, addresses, count, login, acks=True):
        self.addresses = addresses
        self.members = [Member(n, *login(n)) for n in range(count)]
        self.acks = acks
        self.selector = selectors.DefaultSelector()
        self.lock = threading.Lock()
        self.waiting = collections.deque()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def open(self, members=None, timeout=90):
        """Connect these (all) and wait until they are logged in."""
        members = self.members if members is None else members
        with self.lock:
            self.waiting.extend(members)
        wait_until(lambda: all(one.ready for one in members), timeout,
                   lambda: f"{sum(not one.ready for one in members)} of {len(members)} are not logged in")

    def having(self, message_id):
        return sum(message_id in one.frames for one in self.members)

    def wait_for(self, message_id, members=None, timeout=60):
        members = self.members if members is None else members
        wait_until(lambda: all(message_id in one.frames for one in members), timeout,
                   lambda: f"{sum(message_id not in one.frames for one in members)} of {len(members)} lack it")

    def times(self, message_id):
        return sorted(one.arrived[message_id] for one in self.members if message_id in one.arrived)

    def close(self):
        self.stopping = True
        self.thread.join(20)
        for one in self.members:
            if one.link is not None:
                one.link.close()

    # in the thread

    def _run(self):
        while not self.stopping:
            self._connect_some()
            for key, _ in self.selector.select(0.02):
                self._read(key.data)

    def _connect_some(self):
        with self.lock:
            some = [self.waiting.popleft() for _ in range(min(len(self.waiting), 64))]
        addresses = self.addresses() if some else []
        for one in some:
            try:
                host, port = addresses[(one.number + one.logins) % len(addresses)].rsplit(":", 1)
                one.link = socket.create_connection((host, int(port)), timeout=5)
                one.link.sendall(one.login)
                one.link.setblocking(False)
            except (OSError, ZeroDivisionError):
                self._again(one)
                continue
            one.data.clear()
            self.selector.register(one.link, selectors.EVENT_READ, one)

    def _again(self, one):
        one.ready = False
        one.logins += 1
        if one.link is not None:
            one.link.close()
            one.link = None
        with self.lock:
            self.waiting.append(one)

    def _read(self, one):
        try:
            piece = one.link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self.selector.unregister(one.link)
            self._again(one)
            return
        one.data += piece
        while True:
            frame, size = wire.decode(one.data)
            if frame is None:
                return
            del one.data[:size]
            if frame.kind == wire.LOGIN_ACK:
                one.ready = all(code == 0 for _, code in frame.results)
            elif frame.kind == wire.PUSH:
                self._take(one, frame)

    def _take(self, one, frame):
        one.frames[frame.id] += 1
        one.arrived.setdefault(frame.id, time.monotonic())
        if self.acks and frame.qos:
            try:
                one.link.sendall(wire.ack([frame.id]))
            except OSError:
                pass  # the next read sees it

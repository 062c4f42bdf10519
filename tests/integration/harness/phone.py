"""A phone: one connection to a room, speaking the client protocol from the test's own code."""

import collections
import select
import socket
import ssl
import threading
import time

from . import wire
from .waiting import NotInTime, wait_until


class Closed(AssertionError):
    """The room ended the connection; `bye` is its last word, None when it said nothing."""

    def __init__(self, bye):
        super().__init__(f"closed by the room: {bye}")
        self.bye = bye


class Phone:
    """Reads only when asked to (receive, next_push, ...), so that a test decides what is acked when."""

    def __init__(self, address, device="device-1", tls=None):
        host, port = address.rsplit(":", 1)
        self.device = device
        self.link = socket.create_connection((host, int(port)), timeout=10)
        if tls is not None:
            self.link = tls.wrap_socket(self.link, server_hostname="localhost")
        self.data = bytearray()
        self.bye = None
        self.ended = False
        self.spoke = False
        self.waiting = collections.deque()

    # sending

    def send_bytes(self, data):
        self.spoke = True
        self.link.sendall(data)

    def login(self, *sessions, timeout=15, **options):
        """Log in with (app, registration) pairs or ready session bytes; the LOGIN_ACK."""
        bodies = [one if isinstance(one, bytes) else self._session(*one) for one in sessions]
        self.send_bytes(wire.login(self.device, bodies, **options))
        return self.expect("login_ack", timeout)

    @staticmethod
    def _session(app, registration, **claims):
        return wire.session(app.id, registration, app.token(registration, **claims))

    def attach(self, app, registration):
        self.send_bytes(wire.attach(self._session(app, registration)))
        return self.expect("attach_ack")

    def detach(self, app):
        self.send_bytes(wire.detach(app.id))
        return self.expect("detach_ack")

    def ack(self, *pushes):
        self.send_bytes(wire.ack([one if isinstance(one, int) else one.id for one in pushes]))

    # receiving

    def receive(self, timeout=10):
        """The next frame of any kind; Closed when the room has hung up."""
        if self.waiting:
            return self.waiting.popleft()
        return self._receive_new(timeout)

    def _receive_new(self, timeout):
        deadline = time.monotonic() + timeout
        while True:
            frame, size = wire.decode(self.data)
            if frame is not None:
                del self.data[:size]
                if frame.kind == wire.BYE:
                    self.bye = frame
                return frame
            if self.ended:
                raise Closed(self.bye)
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotInTime(f"no frame in {timeout} s")
            self.link.settimeout(left)
            try:
                piece = self.link.recv(65536)
            except (socket.timeout, ssl.SSLWantReadError):
                continue
            except OSError:
                piece = b""
            self.ended = not piece
            self.data += piece

    def expect(self, name, timeout=10):
        """The next frame called `name`; others are kept for later. A BYE before it is Closed."""
        for frame in self.waiting:
            if frame.name == name:
                self.waiting.remove(frame)
                return frame
        deadline = time.monotonic() + timeout
        while True:
            frame = self._receive_new(max(deadline - time.monotonic(), 0.001))
            if frame.name == name:
                return frame
            if frame.kind == wire.BYE:
                raise Closed(frame)
            self.waiting.append(frame)

    def next_push(self, timeout=10):
        return self.expect("push", timeout)

    def pushes(self, count, timeout=20, ack=True):
        """The next `count` pushes, each acked."""
        found = []
        while len(found) < count:
            found.append(self.next_push(timeout))
            if ack:
                self.ack(found[-1])
        return found

    def quiet(self, seconds=0.5):
        """Does nothing arrive for this long?"""
        if self.waiting or wire.decode(self.data)[0] is not None:
            return False
        return not select.select([self.link], [], [], seconds)[0]

    def wait_closed(self, timeout=15):
        """Read to the end of the connection; the BYE, or None."""
        try:
            while True:
                self._receive_new(timeout)
        except Closed:
            return self.bye

    def close(self):
        """End the connection in good order: with BYE. The room forgets the sessions at once."""
        try:
            if self.spoke and not self.ended:
                self.link.settimeout(1)
                self.send_bytes(wire.bye())
        except (OSError, ValueError):
            pass
        self.link.close()

    def cut(self):
        """End it without a word; the room sees the end of the stream, and lets the sessions linger."""
        self.link.close()

    def reset(self):
        """The same as a crash would: with RST."""
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.link.close()


class Follower:
    """A phone that always comes back: connects to any live room, acks what it gets, in a thread of its own.
    `received` lists message ids in order of arrival, duplicates included."""

    def __init__(self, addresses, sessions, device):
        self.addresses = addresses  # called for the rooms that live now
        self.sessions = sessions
        self.device = device
        self.received = []
        self.payloads = {}
        self.logins = 0
        self.byes = []
        self.stopping = False
        self.online = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        turn = 0
        while not self.stopping:
            addresses = self.addresses()
            phone = None
            try:
                if not addresses:
                    raise OSError("no room")
                phone = Phone(addresses[turn % len(addresses)], self.device)
                phone.login(*self.sessions)
                self.logins += 1
                self.online.set()
                self._follow(phone)
            except (AssertionError, OSError):
                pass
            finally:
                self.online.clear()
                if phone is not None:
                    self.byes.append(phone.bye)
                    phone.close()
            turn += 1
            select.select([], [], [], 0.05)

    def _follow(self, phone):
        while not self.stopping:
            try:
                frame = phone.receive(0.2)
            except NotInTime:
                continue
            if frame.kind == wire.PUSH:
                self.received.append(frame.id)
                self.payloads[frame.id] = frame.payload
                if frame.qos:
                    phone.ack(frame)

    def wait_online(self, timeout=30):
        assert self.online.wait(timeout), f"{self.device} is not online"

    def wait_for(self, ids, timeout=60):
        wanted = set(ids)
        wait_until(lambda: wanted <= set(self.received), timeout,
                   lambda: f"{len(wanted - set(self.received))} of {len(wanted)} messages missing")

    def stop(self):
        self.stopping = True
        self.thread.join(20)

    close = stop

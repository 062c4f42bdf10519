"""Lines between a client and a server, in the hands of a test."""

import select
import socket
import threading

RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: close with RST


class Relay:
    """Takes connections in a thread of its own. Whoever derives from it opens the other side of each and forwards."""

    def __init__(self, listener):
        self.listener = listener
        self.lock = threading.Lock()  # held while one of these runs: _ends(), _open(), _forward(), _end_all()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            with self.lock:
                watched = [self.listener, *self._ends()]
            try:
                ready = select.select(watched, [], [], 0.05)[0]
            except ValueError:  # one was ended just now
                continue
            for end in ready:
                with self.lock:
                    self._open() if end is self.listener else self._forward(end)

    def close(self):
        self.stopping = True
        self.thread.join(5)
        with self.lock:
            self._end_all()
        self.listener.close()


class Line(Relay):
    """Forwards bytes until it is cut: both sides end without a word."""

    def __init__(self, server):
        host, port = server.rsplit(":", 1)
        self.server = (host, int(port))
        self.pairs = {}
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def _ends(self):
        return self.pairs

    def _open(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(self.server, timeout=10)
        self.pairs[near], self.pairs[far] = far, near

    def _forward(self, link):
        other = self.pairs.get(link)
        try:
            data = link.recv(65536) if other else b""
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        if other:
            self._end(link, other)

    def _end(self, *links):
        for link in links:
            self.pairs.pop(link, None)
            link.close()

    def cut(self):
        """Every connection dies at both ends, at once."""
        with self.lock:
            for link in list(self.pairs):
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._end_all()

    def _end_all(self):
        self._end(*self.pairs)

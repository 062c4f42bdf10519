"""A line between a client and a server that a test can cut: forwards bytes, and ends both sides without a word."""

import select
import socket
import threading

RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: close with RST


class Line:
    def __init__(self, server):
        host, port = server.rsplit(":", 1)
        self.server = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.pairs = {}
        self.lock = threading.Lock()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            with self.lock:
                watched = [self.listener, *self.pairs]
            for link in select.select(watched, [], [], 0.05)[0]:
                self._open() if link is self.listener else self._forward(link)

    def _open(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(self.server, timeout=10)
        with self.lock:
            self.pairs[near], self.pairs[far] = far, near

    def _forward(self, link):
        with self.lock:
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
            self._end(*self.pairs)

    def close(self):
        self.stopping = True
        self.thread.join(5)
        with self.lock:
            self._end(*self.pairs)
        self.listener.close()

"""The client protocol, written a second time from proto/README.md: an independent check of common/wire."""

import struct

LOGIN, LOGIN_ACK, ATTACH, ATTACH_ACK, DETACH, DETACH_ACK, PUSH, ACK = range(1, 9)
UPSTREAM, UPSTREAM_ACK, PING, PONG, COMMAND, BYE = range(9, 15)
NAMES = {LOGIN_ACK: "login_ack", ATTACH_ACK: "attach_ack", DETACH_ACK: "detach_ack", PUSH: "push",
         UPSTREAM_ACK: "upstream_ack", PING: "ping", PONG: "pong", COMMAND: "command", BYE: "bye"}


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, position):
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position


def field(number, value):
    """One protobuf field; nothing for None, 0 and the empty."""
    if value is None or value == 0 or value == b"" or value == "":
        return b""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """[(number, value)] of a protobuf message; bytes for length-delimited ones."""
    position, found = 0, []
    while position < len(data):
        key, position = read_varint(data, position)
        if key & 7 == 0:
            value, position = read_varint(data, position)
        elif key & 7 == 2:
            size, position = read_varint(data, position)
            value, position = data[position:position + size], position + size
        else:
            raise ValueError(f"wire type {key & 7}")
        found.append((key >> 3, value))
    return found


def frame(kind, body=b"", flags=0):
    return bytes([kind << 3 | flags]) + varint(len(body)) + body


def session(app, registration, token="", user_id="", tags=()):
    return (field(1, app) + field(2, registration) + field(3, token) + field(4, user_id)
            + b"".join(field(5, tag) for tag in tags))


def login(device, sessions, version=1, platform="linux", sdk_version="test/1", network=3, heartbeat_s=0,
          ticket=b""):
    body = (field(1, device) + field(2, platform) + field(3, sdk_version) + field(4, network)
            + field(5, heartbeat_s) + field(6, ticket) + b"".join(field(7, one) for one in sessions))
    return frame(LOGIN, b"HF" + bytes([version]) + body)


def attach(one):
    return frame(ATTACH, one)


def detach(app):
    return frame(DETACH, field(1, app))


def ack(ids):
    return frame(ACK, b"".join(struct.pack("<Q", one) for one in ids))


def upstream(app, sequence, forward_type, payload):
    return frame(UPSTREAM, field(1, app) + field(2, sequence) + field(3, forward_type)
                 + field(4, payload))


def push(message_id, app, payload, qos=1):
    """A message as center makes it, for tests that stand in for center."""
    return frame(PUSH, struct.pack("<Q", message_id) + varint(app) + bytes([0, qos]) + varint(0)
                 + payload)


def bye(code=1000):
    return frame(BYE, field(1, code))


class Frame:
    """One frame from a room, decoded into attributes."""

    def __init__(self, kind, body):
        self.kind = kind
        self.name = NAMES.get(kind, str(kind))
        self.body = body
        self.results = []
        self.endpoints = []
        if kind == PUSH:
            self.id = struct.unpack_from("<Q", body)[0]
            self.app, position = read_varint(body, 8)
            self.payload_kind, self.qos = body[position], body[position + 1]
            self.upstream_sequence, position = read_varint(body, position + 2)
            self.payload = body[position:]
        elif kind not in (PING, PONG):
            self._decode(fields(body))

    def _decode(self, found):
        names = {
            LOGIN_ACK: {1: "server_time_ms", 2: "heartbeat_s", 3: "linger_s", 4: "ticket",
                        5: "window", 6: "frame_max", 7: "resumed", 8: "node"},
            ATTACH_ACK: {1: "app", 2: "code", 3: "reason"},
            DETACH_ACK: {1: "app", 2: "code", 3: "reason"},
            UPSTREAM_ACK: {1: "app", 2: "sequence", 3: "code", 4: "reason"},
            COMMAND: {1: "command", 2: "delay_ms", 3: "heartbeat_s", 4: "app", 5: "count"},
            BYE: {1: "code", 2: "reason", 3: "delay_ms"},
        }[self.kind]
        for name in names.values():
            setattr(self, name, b"" if name in ("reason", "node", "ticket") else 0)
        for number, value in found:
            if self.kind == LOGIN_ACK and number == 9:
                result = dict.fromkeys((1, 2), 0)
                result.update(fields(value))
                self.results.append((result[1], result[2]))
            elif (self.kind, number) in ((COMMAND, 6), (BYE, 4)):
                self.endpoints.append(value.decode())
            elif number in names:
                setattr(self, names[number], value)

    def __repr__(self):
        return f"<{self.name} {vars(self)}>"


def decode(data):
    """(frame, size) of the frame at the start of `data`; (None, 0) while it is incomplete."""
    if len(data) < 2:
        return None, 0
    size = shift = 0
    position = 1
    while True:
        if position >= len(data):
            return None, 0
        byte = data[position]
        position += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    if len(data) < position + size:
        return None, 0
    return Frame(data[0] >> 3, bytes(data[position:position + size])), position + size

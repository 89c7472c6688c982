#!/usr/bin/env python3
"""A small client of the framed protocol, written from docs/PROTOCOL.md alone, with nothing but the standard library.

    protocol_client.py HOST:PORT list PATH
    protocol_client.py HOST:PORT get  REMOTE LOCAL
    protocol_client.py HOST:PORT put  LOCAL REMOTE

HOST:PORT is a master or a slave that stands alone. A listing is printed a name a line; errors are one line on stderr.
"""

import os
import socket
import struct
import sys
import zlib

# --- BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs), in its plainest form -------------------------------------

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF
COLUMNS_AND_DIAGONALS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)


def compress(chaining, words, counter, length, flags):
    v = list(chaining) + list(IV[:4]) + [counter & MASK, counter >> 32, length, flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(COLUMNS_AND_DIAGONALS):
            x, y = words[2 * i], words[2 * i + 1]
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            va = (va + vb + x) & MASK
            vd ^= va
            vd = (vd >> 16 | vd << 16) & MASK
            vc = (vc + vd) & MASK
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & MASK
            va = (va + vb + y) & MASK
            vd ^= va
            vd = (vd >> 8 | vd << 24) & MASK
            vc = (vc + vd) & MASK
            vb ^= vc
            vb = (vb >> 7 | vb << 25) & MASK
            v[a], v[b], v[c], v[d] = va, vb, vc, vd
        words = [words[p] for p in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def chunk_value(chunk, counter, flags):
    """The chaining value of a chunk of at most 1024 bytes; `flags` is ROOT for a content of one chunk."""
    value = IV
    blocks = [chunk[i : i + 64] for i in range(0, len(chunk), 64)] or [b""]
    for i, block in enumerate(blocks):
        words = struct.unpack("<16I", block.ljust(64, b"\0"))
        edge = (CHUNK_START if i == 0 else 0) | (CHUNK_END | flags if i == len(blocks) - 1 else 0)
        value = compress(value, words, counter, len(block), edge)
    return value


def tree_value(data, counter, flags):
    """The chaining value of `data`, whose first chunk is number `counter` of the whole; ROOT in `flags`: the digest."""
    if len(data) <= 1024:
        return chunk_value(data, counter, flags)
    left = 1024
    while left * 2 < len(data):
        left *= 2
    words = tree_value(data[:left], counter, 0) + tree_value(data[left:], counter + left // 1024, 0)
    return compress(IV, words, 0, 64, PARENT | flags)


def blake3(data):
    return struct.pack("<8I", *tree_value(data, 0, ROOT))


# --- Frames (sections "Connection" and "Frames") --------------------------------------------------------------------

MAGIC = b"\x89MFT\r\n\x1a\n"
MASTER, SLAVE = 1, 2
DATA, KEEP_ALIVE = 0x0001, 0x0002
PRESENT, LIST, RETRIEVE, STORE, STORE_END = 0x0103, 0x0111, 0x0112, 0x0120, 0x0122
LOCATE = 0x0201
ERROR, WELCOME, ENTRIES, CONTENT, CONTENT_END, STORED = 0x8000, 0x8103, 0x8111, 0x8112, 0x8113, 0x8122
LOCATED = 0x8201
MAX_DATA, MAX_CONTROL = 1024 * 1024, 64 * 1024


class Failure(Exception):
    """What a person is told."""


def shown(name):
    """A name of an entry as it is written: it is checked, and on a screen nothing in it plays with that."""
    if any(part in (b"", b".", b"..") or len(part) > 255 or b"\0" in part for part in name.split(b"/")):
        raise Failure("a name that cannot be")
    text = os.fsdecode(name)
    if not sys.stdout.isatty():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class Connection:
    """One connection: greeting, prefaces, then frames. Requests are numbered from 1."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=30)
        self.host = self.socket.getpeername()[0]
        preface = MAGIC + struct.pack(">HHI", 1, 1, 0)
        self.socket.sendall(preface + struct.pack(">I", zlib.crc32(preface)))
        self.stream = self.socket.makefile("rb")
        greeting = self.stream.readline(512)
        if not greeting.startswith(b"220"):
            raise Failure("refused: " + greeting.decode(errors="replace").strip())
        answer = self.exactly(36)
        if answer[:8] != MAGIC or zlib.crc32(answer[:32]) != struct.unpack(">I", answer[32:])[0]:
            raise Failure("not this protocol")
        version, _, _, self.role, self.login_required = struct.unpack(">HHHBB", answer[8:16])
        if version != 1:
            raise Failure("no common version")
        self.request = 0

    def exactly(self, length):
        data = self.stream.read(length)
        if len(data) != length:
            raise Failure("connection closed")
        return data

    def send(self, kind, payload=b"", new=True):
        """Sends a frame of a new request, or of the one at hand."""
        self.request += new
        fields = struct.pack(">IIHH", len(payload), self.request, kind, 0)
        covered = fields if kind == DATA else fields + payload
        self.socket.sendall(fields + struct.pack(">I", zlib.crc32(covered)) + payload)

    def receive(self):
        """The next frame of the answer: its kind, and a cursor over its payload."""
        while True:
            header = self.exactly(16)
            length, request, kind, _, checksum = struct.unpack(">IIHHI", header)
            if length > (MAX_DATA if kind == DATA else MAX_CONTROL):
                raise Failure("a frame that is too long")
            payload = self.exactly(length)
            covered = header[:12] if kind == DATA else header[:12] + payload
            if zlib.crc32(covered) != checksum:
                raise Failure("checksum mismatch")
            if kind == KEEP_ALIVE:
                continue
            fields = Fields(payload)
            if kind == ERROR:
                code = fields.number(">H")
                raise Failure(f"error {code} {fields.text().decode()}".strip())
            if request != self.request:
                raise Failure("an answer to nothing")
            return kind, fields

    def expect(self, wanted):
        kind, fields = self.receive()
        if kind != wanted:
            raise Failure(f"unexpected answer {kind:#06x}")
        return fields


class Fields:
    """Reads the fields of a payload one after another."""

    def __init__(self, payload):
        self.payload, self.at = payload, 0

    def take(self, length):
        taken = self.payload[self.at : self.at + length]
        if len(taken) != length:
            raise Failure("message cut short")
        self.at += length
        return taken

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self):
        return self.take(self.number(">H"))

    def option(self, read):
        return read() if self.number("B") else None

    def list(self, read):
        return [read() for _ in range(self.number(">H"))]

    def address(self, same_host):
        kind = self.number("B")
        if kind == 0:
            host = same_host
        elif kind == 1:
            host = self.text().decode()
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET, self.take(4))
        else:
            host = socket.inet_ntop(socket.AF_INET6, self.take(16))
        return host, self.number(">H")

    def offer(self, same_host):
        self.take(16)
        addresses = self.list(lambda: self.address(same_host))
        ticket, secret = self.text(), self.take(32)
        self.number(">I"), self.number(">I")
        self.option(lambda: self.take(32))  # by what it is known over TLS
        return addresses, ticket, secret

    def entry(self):
        name, kind = self.text(), self.number("B")
        size = self.number(">Q")
        self.number(">q"), self.number(">H")
        self.option(self.text), self.option(lambda: self.take(32))
        return name, kind, size


def counted(data):
    return struct.pack(">H", len(data)) + data


# --- Redirection: from whatever was reached to a slave --------------------------------------------------------------


def connect(host, port):
    connection = Connection((host, port))
    if connection.role == SLAVE:
        return connection
    connection.send(LOCATE, struct.pack(">HB", 0, 0))
    located = connection.expect(LOCATED)
    failure = Failure("no slave is up")
    for addresses, ticket, secret in located.list(lambda: located.offer(connection.host)):
        for address in addresses:
            try:
                slave = Connection(address)
                if ticket:
                    slave.send(PRESENT, counted(ticket) + secret)
                    slave.expect(WELCOME)
                return slave
            except (OSError, Failure) as error:
                failure = error
    raise failure


# --- The three commands ---------------------------------------------------------------------------------------------


def list_folder(slave, path):
    slave.send(LIST, counted(path) + struct.pack("BB", 0, 1))
    more = True
    while more:
        fields = slave.expect(ENTRIES)
        for name, kind, size in fields.list(fields.entry):
            print(shown(name), {1: "file", 2: "dir", 3: "link"}.get(kind, "other"), size)
        fields.list(lambda: (fields.text(), fields.number(">H")))
        more = fields.number("B")


def get(slave, remote, local):
    slave.send(RETRIEVE, counted(remote) + struct.pack(">QQBB", 0, 2**64 - 1, 0, 1))
    fields = slave.expect(CONTENT)
    fields.text()
    size = fields.number(">Q")
    content = bytearray()
    while True:
        kind, fields = slave.receive()
        if kind == CONTENT_END:
            break
        if kind != DATA:
            raise Failure(f"unexpected answer {kind:#06x}")
        content += fields.payload
    digest = fields.option(lambda: fields.take(32))
    if len(content) != size or digest != blake3(bytes(content)):
        raise Failure("the content does not match its digest")
    with open(local, "wb") as file:
        file.write(content)


def put(slave, local, remote):
    with open(local, "rb") as file:
        content = file.read()
        facts = os.fstat(file.fileno())
    digest = blake3(content)
    upload = blake3(remote + digest + os.urandom(16))
    any_condition, resume, deferred = 0, 0, 0
    fields = struct.pack(">QqHBBB", len(content), facts.st_mtime_ns, facts.st_mode & 0o777, any_condition, resume, deferred)
    slave.send(STORE, counted(remote) + upload + fields)
    for start in range(0, len(content), MAX_DATA):
        slave.send(DATA, content[start : start + MAX_DATA], new=False)
    slave.send(STORE_END, digest, new=False)
    if slave.expect(STORED).take(32) != digest:
        raise Failure("the slave stored something else")


def main(arguments):
    try:
        host, port = arguments[0].rsplit(":", 1)
        command, *names = arguments[1:]
        slave = connect(host, int(port))
        if command == "list":
            list_folder(slave, os.fsencode(names[0]))
        elif command == "get":
            get(slave, os.fsencode(names[0]), names[1])
        elif command == "put":
            put(slave, names[0], os.fsencode(names[1]))
        else:
            raise Failure(f"no such command: {command}")
    except (Failure, OSError) as error:
        print(f"protocol_client: {error}", file=sys.stderr)
        return 1
    except (IndexError, ValueError):
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

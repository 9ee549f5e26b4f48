"""HTTP/1.1 as the bench's server speaks it: one thread and one buffered reader a connection.

What `http.server` does for each request is too slow here: this is about the least that S3
clients are content with. A connection is paced by waiting after each piece.
"""
import io
import socket
import time

PIECE = 1 << 20

REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 304: "Not Modified", 400: "Bad Request",
           404: "Not Found", 409: "Conflict", 412: "Precondition Failed", 416: "Range Not Satisfiable",
           500: "Internal Server Error", 501: "Not Implemented"}


class Connection:
    """One client."""

    def __init__(self, sock, world):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.world = sock, world
        self.reader = sock.makefile("rb", buffering=1 << 16)

    def close(self):
        self.reader.close()
        self.sock.close()

    def request(self):
        """The next request: method, target and headers; None when the client has left."""
        first = self.reader.readline()
        if not first:
            return None
        method, target, _ = first.decode("latin-1").split(" ", 2)
        headers = {}
        while (line := self.reader.readline()) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return method, target, headers

    def body(self, headers):
        """The body, without the framing that it came in."""
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            raw = unframed(self.reader)
        else:
            raw = self.take(int(headers.get("content-length", 0)))
        signed = "aws-chunked" in headers.get("content-encoding", "")
        if signed or headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
            return unframed(io.BytesIO(raw))
        return raw

    def take(self, length):
        if length < PIECE:
            body = self.reader.read(length)
            if len(body) < length:
                raise ConnectionError
            return body
        body, taken, began = bytearray(length), 0, time.monotonic()
        view = memoryview(body)
        while taken < length:
            got = self.reader.readinto(view[taken:taken + PIECE])
            if not got:
                raise ConnectionError
            taken += got
            self.wait_for(taken, began)
        return body

    def wait_for(self, moved, began):
        if rate := self.world.bytes_per_s:
            ahead = began + moved / rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)

    def answer(self, status, headers=None, views=(), length=None):
        """Sends an answer; returns the number of bytes of its body. `length` is that of one that is not sent."""
        size = sum(len(view) for view in views)
        lines = ["HTTP/1.1 %d %s" % (status, REASONS[status])]
        lines += ["%s: %s" % pair for pair in (headers or {}).items()]
        if status not in (204, 304):
            lines.append("Content-Length: %d" % (size if length is None else length))
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if size <= 1 << 16:
            self.sock.sendall(b"".join([head, *views]))
            return size
        self.sock.sendall(head)
        sent, began = 0, time.monotonic()
        for view in views:
            for at in range(0, len(view), PIECE):
                piece = view[at:at + PIECE]
                self.sock.sendall(piece)
                sent += len(piece)
                self.wait_for(sent, began)
        return size


def unframed(reader):
    """The bytes of a body in chunks, of HTTP or of a signed S3 stream."""
    pieces = []
    while True:
        length = int(reader.readline().split(b";")[0], 16)
        if not length:
            while reader.readline() not in (b"\r\n", b"\n", b""):
                pass
            return b"".join(pieces)
        pieces.append(reader.read(length))
        reader.readline()

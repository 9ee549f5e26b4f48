"""What the bench's server gives to a client that does nothing but ask: no system can do better.

Bare sockets, each in a process of its own, so that not even Python's lock is in the way.
"""
import socket

from steps import in_processes, now, timed

CONNECTIONS = 8
PART = 8 << 20


def connect(host):
    name, port = host.split(":")
    sock = socket.create_connection((name, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ask(sock, head, body=b""):
    """Sends a request and reads its answer to the end; returns the size of its body."""
    sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
    if body:
        sock.sendall(body)
    buffer = bytearray(1 << 20)
    got = b""
    while b"\r\n\r\n" not in got:
        got += sock.recv(1 << 16)
    top, _, rest = got.partition(b"\r\n\r\n")
    size = int(top.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    left = size - len(rest)
    while left > 0:
        left -= sock.recv_into(buffer, min(left, len(buffer)))
    return size, rest


def in_parts(host, size, call):
    """Does something with each part of a large object, over several connections at once."""
    def some(mine):
        sock = connect(host)
        return sum(call(sock, start, min(PART, size - start)) for start in mine)

    starts = list(range(0, size, PART))
    began = now()
    moved = sum(in_processes([lambda mine=starts[i::CONNECTIONS]: some(mine) for i in range(CONNECTIONS)]))
    result = timed(began, mb=moved / 1e6)
    result["mb_s"] = result["mb"] / result["s"]
    return result


def fetch(host, path, size):
    return in_parts(host, size, lambda sock, start, length: ask(sock, [
        "GET %s HTTP/1.1" % path, "Range: bytes=%d-%d" % (start, start + length - 1)])[0])


def send(host, path, size):
    """An upload in parts, up to its completion."""
    body = bytes(PART)
    began = now()
    sock = connect(host)
    text = ask(sock, ["POST %s?uploads HTTP/1.1" % path, "Content-Length: 0"])[1].decode()
    upload = text.split("<UploadId>")[1].split("<")[0]

    def put(sock, start, length):
        ask(sock, ["PUT %s?partNumber=%d&uploadId=%s HTTP/1.1" % (path, start // PART + 1, upload),
                   "Content-Length: %d" % length], body[:length])
        return length

    result = in_parts(host, size, put)
    ask(sock, ["POST %s?uploadId=%s HTTP/1.1" % (path, upload), "Content-Length: 0"])
    result["s"] = now() - began
    return result


def sequential(run):
    path = "/%s/big.bin" % run.about["bucket"]
    run.step("cold", fetch, run.server.host, path, run.data.files("big")["big.bin"])


def write(run):
    figures = run.step("write 128 KiB", send, run.server.host, "/%s/w" % run.about["bucket"],
                       run.data.files("big")["big.bin"])
    if figures:
        run.record("durable", of="write 128 KiB", s=figures["s"], by="itself", meant="bucket")


WORKLOADS = {"sequential": sequential, "write": write}

#!/usr/bin/env python3
"""A server of S3 for measurements: in memory, as slow as it is told to be, and it counts.

Each request waits for the delay after it was read whole and before it is answered; the bytes
of a connection flow at the given rate, in either direction. Signatures are not verified, so
it listens on loopback only. `POST /-/` with JSON is the bench itself: `[what, {arguments}]`,
a method of `World`.
"""
import json
import resource
import socket
import sys
import threading
import time
from urllib.parse import parse_qsl, unquote, urlsplit

from bucket import Bucket, Refused, Stored, World
from wire import Connection
import listing

KEPT = ("content-type", "content-encoding", "cache-control", "content-disposition", "content-language", "expires")
XML = {"Content-Type": "application/xml"}
CONTROLS = ("pace", "forget_counts", "told", "copy_bucket", "durable")


def meta_of(headers):
    kept = {name: value for name, value in headers.items() if name in KEPT or name.startswith("x-amz-meta-")}
    if kept.get("content-encoding", "").startswith("aws-chunked"):
        del kept["content-encoding"]
    return kept


def range_of(text, size):
    """First byte and length of a range; None where there is none."""
    if not text or not text.startswith("bytes=") or "," in text:
        return None
    first, _, last = text[6:].partition("-")
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        raise Refused(416, "InvalidRange")
    return start, end - start


class Request:
    """One request of a client, read whole."""

    def __init__(self, world, connection, method, target, headers):
        self.world, self.connection, self.method, self.headers = world, connection, method, headers
        parts = urlsplit(target)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.bucket, _, self.key = unquote(parts.path).lstrip("/").partition("/")
        self.payload = connection.body(headers) if method in ("PUT", "POST") else b""

    def answer_xml(self, body):
        return self.connection.answer(200, XML, [body])

    def serve(self):
        """Answers; returns what it was and how many bytes were sent."""
        if self.world.delay_s:
            time.sleep(self.world.delay_s)
        if not self.key:
            return self.serve_bucket()
        if self.method in ("GET", "HEAD"):
            return self.get()
        if self.method == "DELETE":
            return self.delete()
        if "uploadId" in self.query:
            return self.put_part() if self.method == "PUT" else self.complete()
        if self.method == "POST" and "uploads" in self.query:
            return self.begin_upload()
        if self.method == "PUT" and not {"acl", "tagging"} & self.query.keys():
            return self.put()
        raise Refused(501, "NotImplemented")

    def serve_bucket(self):
        world, query = self.world, self.query
        if self.method == "PUT":
            with world.lock:
                world.buckets.setdefault(self.bucket, Bucket())
            return "CreateBucket", self.connection.answer(200)
        if not self.bucket:
            return "ListBuckets", self.answer_xml(listing.buckets(world))
        bucket = world.bucket(self.bucket)
        if self.method == "HEAD":
            return "HeadBucket", self.connection.answer(200, {"x-amz-bucket-region": "us-east-1"})
        if self.method == "POST" and "delete" in query:
            keys = listing.keys_to_delete(self.payload)
            with world.lock:
                for key in keys:
                    bucket.remove(key)
            return "DeleteObjects", self.answer_xml(listing.deleted(keys))
        if self.method == "GET" and "location" in query:
            return "GetLocation", self.answer_xml(listing.location())
        if self.method == "GET" and "uploads" in query:
            return "ListUploads", self.answer_xml(listing.no_uploads())
        if self.method == "GET" and not {"acl", "versioning", "policy", "versions", "object-lock"} & query.keys():
            with world.lock:
                body = listing.objects(bucket, query)
            return "List", self.answer_xml(body)
        raise Refused(501, "NotImplemented")

    def get(self):
        if {"uploadId", "acl", "tagging", "attributes"} & self.query.keys():
            raise Refused(501, "NotImplemented")
        name = "Get" if self.method == "GET" else "Head"
        stored = self.world.find(self.bucket, self.key)
        wanted, known = self.headers.get("if-match"), self.headers.get("if-none-match")
        if wanted and wanted.strip('"') != stored.etag:
            raise Refused(412, "PreconditionFailed")
        headers = {**stored.meta, "ETag": '"%s"' % stored.etag, "Last-Modified": listing.http_date(stored.modified),
                   "Accept-Ranges": "bytes"}
        if known and known.strip('"') == stored.etag:
            return name, self.connection.answer(304, headers)
        status, views, asked = 200, stored.views, range_of(self.headers.get("range"), stored.size)
        length = stored.size
        if asked:
            start, length = asked
            status, views = 206, stored.cut(start, length)
            headers["Content-Range"] = "bytes %d-%d/%d" % (start, start + length - 1, stored.size)
        if self.method == "HEAD":
            views = ()
        return name, self.connection.answer(status, headers, views, length)

    def source(self):
        bucket, _, key = unquote(self.headers["x-amz-copy-source"]).lstrip("/").partition("/")
        stored = self.world.find(bucket, key.split("?versionId=")[0])
        wanted = self.headers.get("x-amz-copy-source-if-match")
        if wanted and wanted.strip('"') != stored.etag:
            raise Refused(412, "PreconditionFailed")
        return stored

    def store(self, stored):
        with self.world.lock:
            bucket = self.world.bucket(self.bucket)
            bucket.judge(self.key, self.headers)
            stored.at = time.monotonic()
            bucket.put(self.key, stored)

    def put(self):
        if "x-amz-copy-source" in self.headers:
            source = self.source()
            replaced = self.headers.get("x-amz-metadata-directive", "").upper() == "REPLACE"
            stored = Stored(source.views, source.etag, meta_of(self.headers) if replaced else source.meta)
            self.store(stored)
            return "Copy", self.answer_xml(listing.copied("CopyObjectResult", stored))
        etag = self.world.etag_of(self.payload)
        self.store(Stored([memoryview(self.payload)] if self.payload else [], etag, meta_of(self.headers)))
        return "Put", self.connection.answer(200, {"ETag": '"%s"' % etag})

    def upload(self):
        try:
            return self.world.uploads[self.query["uploadId"]]
        except KeyError:
            raise Refused(404, "NoSuchUpload") from None

    def begin_upload(self):
        name = "u%d" % next(self.world.serial)
        self.world.uploads[name] = {"meta": meta_of(self.headers), "parts": {}}
        return "CreateUpload", self.answer_xml(listing.upload(self.bucket, self.key, name))

    def put_part(self):
        parts, number = self.upload()["parts"], int(self.query["partNumber"])
        if "x-amz-copy-source" in self.headers:
            source = self.source()
            asked = range_of(self.headers.get("x-amz-copy-source-range"), source.size) or (0, source.size)
            parts[number] = Stored(source.cut(*asked), self.world.fresh_etag(1), {})
            return "CopyPart", self.answer_xml(listing.copied("CopyPartResult", parts[number]))
        parts[number] = Stored([memoryview(self.payload)], self.world.fresh_etag(1), {})
        return "PutPart", self.connection.answer(200, {"ETag": '"%s"' % parts[number].etag})

    def complete(self):
        upload = self.upload()
        parts = [part for _, part in sorted(upload["parts"].items())]
        stored = Stored([view for part in parts for view in part.views], self.world.fresh_etag(len(parts)),
                        upload["meta"])
        self.store(stored)
        self.world.uploads.pop(self.query["uploadId"], None)
        return "CompleteUpload", self.answer_xml(listing.completed(self.bucket, self.key, stored))

    def delete(self):
        if "uploadId" in self.query:
            self.world.uploads.pop(self.query["uploadId"], None)
            return "AbortUpload", self.connection.answer(204)
        with self.world.lock:
            bucket = self.world.bucket(self.bucket)
            bucket.judge(self.key, self.headers)
            bucket.remove(self.key)
        return "Delete", self.connection.answer(204)


def control(world, connection, headers):
    what, arguments = json.loads(connection.body(headers))
    assert what in CONTROLS, what
    connection.answer(200, {}, [json.dumps(getattr(world, what)(**arguments)).encode()])


def attend(world, sock):
    """Serves one connection until the client leaves."""
    connection = Connection(sock, world)
    try:
        while asked := connection.request():
            method, target, headers = asked
            if target == "/-/":
                control(world, connection, headers)
                continue
            request = Request(world, connection, method, target, headers)
            try:
                operation, sent = request.serve()
                world.count(operation, len(request.payload), sent)
            except Refused as refused:
                world.count("%s %d" % (method, refused.status), len(request.payload), 0)
                body = b"" if method == "HEAD" else listing.error(refused.code)
                connection.answer(refused.status, XML, [body])
    except (ConnectionError, OSError, ValueError):
        pass  # it hung up, perhaps on purpose
    finally:
        connection.close()


def main():
    world = World()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.setswitchinterval(0.001)
    threading.stack_size(512 << 10)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=attend, args=(world, sock), daemon=True).start()


if __name__ == "__main__":
    main()

"""What the bench's server holds: buckets in memory, and when each object became durable.

An object is a list of views into bytes that never change, so a copy of a range costs nothing
and a whole bucket is copied by copying its names.
"""
import bisect
import hashlib
import itertools
import threading
import time

# An object above this has an ETag that is no MD5, like those of multipart uploads.
MOST_HASHED = 1 << 20


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class Stored:
    """One version of an object."""

    def __init__(self, views, etag, meta):
        self.views, self.etag, self.meta = views, etag, meta
        self.size = sum(len(view) for view in views)
        self.modified, self.at = time.time(), time.monotonic()

    def cut(self, start, length):
        """The views of a range."""
        found = []
        for view in self.views:
            if length <= 0:
                break
            if start < len(view):
                found.append(view[start:start + length])
                length -= len(found[-1])
            start = max(0, start - len(view))
        return found


class Bucket:
    """Objects by key, in order. The world's lock is held by whoever changes it."""

    def __init__(self):
        self.objects, self.keys, self.removed = {}, [], {}

    def put(self, key, stored):
        if key not in self.objects:
            bisect.insort(self.keys, key)
        self.objects[key] = stored
        self.removed.pop(key, None)

    def remove(self, key):
        if self.objects.pop(key, None) is not None:
            del self.keys[bisect.bisect_left(self.keys, key)]
            self.removed[key] = time.monotonic()

    def judge(self, key, headers):
        """Fails if a write's conditions are not met."""
        there = self.objects.get(key)
        if headers.get("if-none-match") == "*" and there is not None:
            raise Refused(412, "PreconditionFailed")
        wanted = headers.get("if-match")
        if wanted and there is None:
            raise Refused(404, "NoSuchKey")
        if wanted and wanted.strip('"') != there.etag:
            raise Refused(412, "PreconditionFailed")


class World:
    """All buckets, how slow the server is, and what was asked of it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.buckets, self.uploads = {}, {}
        self.delay_s, self.bytes_per_s = 0.0, 0
        self.serial = itertools.count(1)
        self.counts = {}

    def fresh_etag(self, parts):
        return "%032x-%d" % (next(self.serial), parts)

    def etag_of(self, body):
        return hashlib.md5(body).hexdigest() if len(body) <= MOST_HASHED else self.fresh_etag(1)

    def count(self, operation, received, sent):
        with self.lock:
            row = self.counts.setdefault(operation, [0, 0, 0])
            row[0] += 1
            row[1] += received
            row[2] += sent

    def bucket(self, name):
        try:
            return self.buckets[name]
        except KeyError:
            raise Refused(404, "NoSuchBucket") from None

    def find(self, bucket, key):
        try:
            return self.bucket(bucket).objects[key]
        except KeyError:
            raise Refused(404, "NoSuchKey") from None

    # What the bench asks of the server; none of it is delayed or counted.

    def pace(self, delay_ms, mb_per_s):
        self.delay_s, self.bytes_per_s = delay_ms / 1e3, int(mb_per_s * 1e6)
        return {}

    def forget_counts(self):
        with self.lock:
            self.counts = {}
        return {}

    def told(self):
        with self.lock:
            return {name: list(row) for name, row in self.counts.items()}

    def copy_bucket(self, source, target):
        """Makes `target` anew, with what `source` holds; without a source, empty."""
        with self.lock:
            made = Bucket()
            if source:
                made.objects = dict(self.bucket(source).objects)
                made.keys = list(self.bucket(source).keys)
            self.buckets[target] = made
        return {"objects": len(made.keys)}

    def durable(self, bucket, wanted, absent, since):
        """How much of what was written or removed since then is still missing, and when the last came."""
        missing, last = 0, since
        with self.lock:
            held = self.bucket(bucket)
            for key, size in wanted.items():
                there = held.objects.get(key)
                if there is None or there.at < since or there.size != size:
                    missing += 1
                else:
                    last = max(last, there.at)
            for key in absent:
                if key in held.objects:
                    missing += 1
                else:
                    last = max(last, held.removed.get(key, since))
        return {"missing": missing, "last": last}

"""The bench's own talk with its server: filling buckets, and the calls that are not measured."""
import http.client
import json
import os
import subprocess
import sys
from urllib.parse import quote

KEY, SECRET = "bench", "benchsecret"


class Server:
    """The server, run as a process of its own."""

    def __init__(self, log):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")
        with open(log, "ab") as errors:
            self.process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, stderr=errors)
        self.host = "127.0.0.1:%d" % int(self.process.stdout.readline())
        self.url = "http://" + self.host
        self.connection = http.client.HTTPConnection(self.host, timeout=120)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, what, **arguments):
        self.connection.request("POST", "/-/", body=json.dumps([what, arguments]))
        answer = self.connection.getresponse().read()
        return json.loads(answer)

    def put(self, bucket, key, body):
        self.connection.request("PUT", "/%s/%s" % (bucket, quote(key)), body=body)
        answer = self.connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError("The bench's server refused %s: %d" % (key, answer.status))

    def counts(self):
        """Requests by kind, and the bytes sent and fetched, since they were forgotten."""
        rows = self.ask("told")
        return ({kind: row[0] for kind, row in sorted(rows.items())},
                sum(row[1] for row in rows.values()), sum(row[2] for row in rows.values()))

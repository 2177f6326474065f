#!/usr/bin/env python3
"""Starts a task of Tasker, follows its events and prints its result: with a socket, and nothing else.

    order.py submit 7              order 7: its task, what happens to it, its result
    order.py listen NAME [COUNT]   the end of every order; goes on where NAME stopped

NATS_URL says where NATS is: nats://TOKEN@host:port, or nats://user:password@host:port.
docs/wire.md is all that this rests on. Python 3.8 or newer, no packages.
"""

import base64
import collections
import hashlib
import json
import os
import socket
import sys
import time
import urllib.parse
import uuid

OUTPUT = "ship"  # the step whose result is the task's: so the definition says, examples/nats-cli/definitions/order.yaml


class NATS:
    """As much of the NATS protocol as is needed here: one thread, one answer at a time."""

    def __init__(self, url):
        at = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((at.hostname, at.port or 4222), timeout=60)
        self.stream = self.socket.makefile("rb")
        if json.loads(self.stream.readline()[len("INFO "):]).get("tls_required"):
            sys.exit("this program does not speak TLS")
        options = {"verbose": False, "headers": True, "no_responders": True, "lang": "python", "version": "0"}
        if at.password:
            options.update({"user": urllib.parse.unquote(at.username), "pass": urllib.parse.unquote(at.password)})
        elif at.username:
            options["auth_token"] = urllib.parse.unquote(at.username)
        self.inbox, self.numbers = "_INBOX." + uuid.uuid4().hex, 0
        self.arrived = {}  # by number of the subscription
        self.send("CONNECT " + json.dumps(options))
        self.send("PING")
        while self.line()[0] != "PONG":
            pass

    def send(self, line, body=None):
        data = line.encode() + b"\r\n"
        self.socket.sendall(data if body is None else data + body + b"\r\n")

    def line(self):
        """The words of the next line. What is an error ends the program."""
        line = self.stream.readline().decode().strip()
        if not line:
            sys.exit("NATS has closed the connection")
        if line.startswith("-ERR"):
            sys.exit("NATS says " + line)
        if line == "PING":
            self.send("PONG")
        return line.split()

    def publish(self, subject, body, reply=""):
        self.send(f"PUB {subject} {reply} {len(body)}", body)

    def subscribe(self):
        """A subject of our own, and the number of the subscription to it."""
        self.numbers += 1
        self.arrived[self.numbers] = collections.deque()
        self.send(f"SUB {self.inbox}.{self.numbers} {self.numbers}")
        return f"{self.inbox}.{self.numbers}", self.numbers

    def unsubscribe(self, number):
        self.send(f"UNSUB {number}")
        del self.arrived[number]

    def receive(self, number):
        """The next message of a subscription: reply, status, headers, body. Those of others are kept for them."""
        while not self.arrived[number]:
            verb, *words = self.line()
            if verb in ("MSG", "HMSG"):  # subject, number, perhaps reply, perhaps bytes of the headers, bytes of all
                total, head = int(words.pop()), int(words.pop()) if verb == "HMSG" else 0
                content = self.stream.read(total + 2)[:-2]
                status, headers = "", {}
                if head:
                    first, *lines = content[:head].decode().strip().split("\r\n")
                    status = first[len("NATS/1.0"):].strip()
                    headers = {name: value.strip() for name, _, value in (text.partition(":") for text in lines)}
                if int(words[1]) in self.arrived:
                    self.arrived[int(words[1])].append((words[2] if len(words) > 2 else "", status, headers, content[head:]))
        return self.arrived[number].popleft()

    def ask(self, subject, body):
        """The answer to a request, None when nobody listens."""
        inbox, number = self.subscribe()
        self.publish(subject, body, inbox)
        _, status, _, answer = self.receive(number)
        self.unsubscribe(number)
        return None if status.startswith("503") else answer

    def request(self, subject, body):
        """The same in JSON."""
        answer = self.ask(subject, json.dumps(body).encode())
        return answer and json.loads(answer)

    def messages(self, stream, consumer, batch):
        """What a consumer of a stream has, for ever, by pulls: headers, body, and where to acknowledge."""
        inbox, number = self.subscribe()
        while True:
            left = batch
            pull = {"batch": batch, "expires": 30_000_000_000, "idle_heartbeat": 5_000_000_000}  # nanoseconds
            self.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", json.dumps(pull).encode(), inbox)
            while left:
                reply, status, headers, body = self.receive(number)
                if status.startswith("100"):  # a heartbeat
                    continue
                if status:  # the pull is over
                    break
                left -= 1
                yield headers, body, reply

    def consumer(self, stream, name, config, batch=100):
        """Makes a consumer, or finds the one of that name, and gives its messages."""
        config.update({"name": name, "ack_policy": "explicit"})
        answer = self.request(f"$JS.API.CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})
        if answer is None or "error" in answer:
            sys.exit(f"stream {stream} cannot be read: {answer and answer['error']['description']}. Does the engine run with --feed?")
        return self.messages(stream, name, batch)


def payload(nats, data, name):
    """A context or a result: it stands in the event, or where the event says."""
    ref = data.get(name + "_ref")
    if ref is None:
        return data.get(name)
    store, named = "OBJ_TASKER_BLOBS", base64.urlsafe_b64encode(ref["blob"].encode()).decode()
    about = nats.request(f"$JS.API.STREAM.MSG.GET.{store}", {"last_by_subj": f"$O.TASKER_BLOBS.M.{named}"})
    about = json.loads(base64.b64decode(about["message"]["data"]))
    chunks = nats.consumer(store, uuid.uuid4().hex, {
        "filter_subject": "$O.TASKER_BLOBS.C." + about["nuid"], "mem_storage": True, "inactive_threshold": 30_000_000_000})
    content = b"".join(next(chunks)[1] for _ in range(about["chunks"]))
    if "sha256-" + hashlib.sha256(content).hexdigest() != ref["blob"]:
        sys.exit(f"{ref['blob']} is damaged")
    return json.loads(content)


def submit(nats, order):
    """The key makes a second call the same task, so whatever goes wrong on the way may be tried again."""
    request = {"context": {"id": order}, "idempotency_key": f"order-{order}", "source_system": "order.py"}
    while True:
        answer = nats.request("tasker.submit.request.default.order", request)
        if answer is None:
            sys.exit("nobody answers: does an engine run?")
        if "error" not in answer:
            return answer
        if not answer["error"].get("retryable"):
            sys.exit(f"refused: {answer['error']['message']}")
        time.sleep(1)


def follow(nats, task):
    """Prints the events of the task until it ends, and gives its result; None when it has failed."""
    events = nats.consumer("TASKER_EVENTS", uuid.uuid4().hex, {
        "filter_subject": f"tasker.events.*.{task}.>", "deliver_policy": "all", "mem_storage": True,
        "inactive_threshold": 60_000_000_000})
    seen, results = set(), {}
    for headers, body, reply in events:
        nats.publish(reply, b"+ACK")
        if headers["ce-id"] in seen:  # after a crash some come again
            continue
        seen.add(headers["ce-id"])
        kind, step, data = headers["ce-type"], headers.get("ce-step", ""), json.loads(body)
        print(f"{kind:26} {step}".rstrip())
        if kind in ("step.completed", "step.resolved_manually"):
            results[step] = payload(nats, data, "result")
        elif kind == "task.completed":
            if "from" in data:  # too large to be repeated
                return results[OUTPUT]
            return payload(nats, data, "result")
        elif kind in ("task.failed", "task.cancelled", "task.resolved_manually"):
            return None


def listen(nats, name, count):
    """Prints how tasks end. The consumer has a name: NATS keeps its place while nobody listens."""
    ends = nats.consumer("TASKER_EVENTS", name, {
        "durable_name": name, "deliver_policy": "all",
        "filter_subjects": ["tasker.events.default.*.task.completed", "tasker.events.default.*.task.failed"]},
        batch=1)  # what was fetched and not acknowledged comes again after 30 s only
    for headers, _, reply in ends:
        print(headers["ce-type"], headers["ce-subject"], flush=True)
        nats.ask(reply, b"+ACK")  # answered when NATS has noted it
        count -= 1
        if count == 0:
            return


def main(args):
    if len(args) < 2 or args[0] not in ("submit", "listen"):
        sys.exit(__doc__)
    nats = NATS(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    if args[0] == "listen":
        listen(nats, args[1], int(args[2]) if len(args) > 2 else 0)
        return
    answer = submit(nats, int(args[1]))
    print("task", answer["task"], "is new" if answer["created"] else "was there already")
    result = follow(nats, answer["task"])
    if result is None:
        sys.exit("the task did not complete")
    print("result", json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])

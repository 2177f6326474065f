#!/usr/bin/env node
// Starts a task of Tasker, follows its events and prints its result: with a socket, and nothing else.
//
//   order.mjs submit 7              order 7: its task, what happens to it, its result
//   order.mjs listen NAME [COUNT]   the end of every order; goes on where NAME stopped
//
// NATS_URL says where NATS is: nats://TOKEN@host:port, or nats://user:password@host:port.
// docs/wire.md is all that this rests on. Node 18 or newer, no packages.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";

const OUTPUT = "ship"; // the step whose result is the task's: so the definition says, examples/nats-cli/definitions/order.yaml

const fail = (why) => {
  console.error(why);
  process.exit(1);
};

// NATS is as much of the NATS protocol as is needed here.
class NATS {
  #socket;
  #bytes = Buffer.alloc(0);
  #admitted;
  #numbers = 0;
  #arrived = new Map(); // by number of the subscription: its messages, and who waits for one
  #inbox = `_INBOX.${randomUUID().replaceAll("-", "")}`;

  static async connect(url) {
    const at = new URL(url);
    const nats = new NATS();
    nats.#socket = connect({ host: at.hostname, port: Number(at.port || 4222) });
    nats.#socket.on("error", (problem) => fail(`NATS: ${problem.message}`));
    nats.#socket.on("end", () => fail("NATS has closed the connection"));
    nats.#socket.on("data", (data) => nats.#read(data));
    await once(nats.#socket, "connect");
    const options = { verbose: false, headers: true, no_responders: true, lang: "javascript", version: "0" };
    const [user, password] = [decodeURIComponent(at.username), decodeURIComponent(at.password)];
    if (password) Object.assign(options, { user, pass: password });
    else if (user) options.auth_token = user;
    nats.#send(`CONNECT ${JSON.stringify(options)}\r\nPING\r\n`);
    await new Promise((admitted) => (nats.#admitted = admitted));
    return nats;
  }

  #send(text) {
    this.#socket.write(text);
  }

  #read(data) {
    this.#bytes = Buffer.concat([this.#bytes, data]);
    for (let end; (end = this.#bytes.indexOf("\r\n")) >= 0; ) {
      const [verb, ...words] = this.#bytes.toString("utf8", 0, end).trim().split(/\s+/);
      if (verb === "MSG" || verb === "HMSG") {
        // subject, number, perhaps reply, perhaps bytes of the headers, bytes of all
        const total = Number(words.pop());
        const head = verb === "HMSG" ? Number(words.pop()) : 0;
        if (this.#bytes.length < end + 2 + total + 2) return; // the rest comes later
        this.#deliver(Number(words[1]), words[2], this.#bytes.subarray(end + 2, end + 2 + total), head);
        end += 2 + total;
      } else if (verb === "PONG") this.#admitted();
      else if (verb === "PING") this.#send("PONG\r\n");
      else if (verb === "-ERR") fail(`NATS says ${this.#bytes.toString("utf8", 0, end)}`);
      this.#bytes = this.#bytes.subarray(end + 2);
    }
  }

  #deliver(number, reply, content, head) {
    const [first, ...lines] = content.toString("utf8", 0, head).trim().split("\r\n");
    const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
    const message = { reply, status: first.slice("NATS/1.0".length).trim(), headers, body: content.toString("utf8", head) };
    const waiting = this.#arrived.get(number);
    if (waiting?.taker) waiting.taker(message);
    else waiting?.messages.push(message);
  }

  publish(subject, body, reply = "") {
    this.#send(`PUB ${subject} ${reply} ${Buffer.byteLength(body)}\r\n${body}\r\n`);
  }

  // A subject of our own, how to take the next message that comes to it, and how to end it.
  #subscribe() {
    const number = ++this.#numbers;
    const waiting = { messages: [], taker: null };
    this.#arrived.set(number, waiting);
    this.#send(`SUB ${this.#inbox}.${number} ${number}\r\n`);
    const take = () =>
      new Promise((taken) => {
        const taker = (message) => ((waiting.taker = null), taken(message));
        if (waiting.messages.length > 0) taken(waiting.messages.shift());
        else waiting.taker = taker;
      });
    const end = () => (this.#send(`UNSUB ${number}\r\n`), this.#arrived.delete(number));
    return { inbox: `${this.#inbox}.${number}`, take, end };
  }

  // The answer to a request, null when nobody listens.
  async ask(subject, body) {
    const { inbox, take, end } = this.#subscribe();
    this.publish(subject, body, inbox);
    const answer = await take();
    end();
    return answer.status.startsWith("503") ? null : answer.body;
  }

  async request(subject, body) {
    return JSON.parse((await this.ask(subject, JSON.stringify(body))) ?? "null");
  }

  // Makes a consumer, or finds the one of that name, and gives its messages for ever, by pulls.
  async *consume(stream, name, config, batch = 100) {
    const made = { stream_name: stream, config: { ...config, name, ack_policy: "explicit" } };
    const answer = await this.request(`$JS.API.CONSUMER.CREATE.${stream}.${name}`, made);
    if (!answer || answer.error) fail(`stream ${stream} cannot be read: ${answer?.error.description}. Does the engine run with --feed?`);
    const { inbox, take } = this.#subscribe();
    for (;;) {
      const pull = { batch, expires: 30e9, idle_heartbeat: 5e9 }; // nanoseconds
      this.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, JSON.stringify(pull), inbox);
      for (let left = batch; left > 0; ) {
        const message = await take();
        if (message.status.startsWith("100")) continue; // a heartbeat
        if (message.status) break; // the pull is over
        left--;
        yield message;
      }
    }
  }

  close() {
    this.#socket.destroy();
  }
}

// The key makes a second call the same task, so whatever goes wrong on the way may be tried again.
async function submit(nats, order) {
  const request = { context: { id: order }, idempotency_key: `order-${order}`, source_system: "order.mjs" };
  for (;;) {
    const answer = await nats.request("tasker.submit.request.default.order", request);
    if (!answer) fail("nobody answers: does an engine run?");
    if (!answer.error) return answer;
    if (!answer.error.retryable) fail(`refused: ${answer.error.message}`);
    await new Promise((later) => setTimeout(later, 1000));
  }
}

// Prints the events of the task until it ends, and gives its result; undefined when it has failed.
async function follow(nats, task) {
  const events = nats.consume("TASKER_EVENTS", randomUUID(), {
    filter_subject: `tasker.events.*.${task}.>`, deliver_policy: "all", mem_storage: true, inactive_threshold: 60e9,
  });
  const seen = new Set();
  const results = {};
  for await (const { headers, body, reply } of events) {
    nats.publish(reply, "+ACK");
    if (seen.has(headers["ce-id"])) continue; // after a crash some come again
    seen.add(headers["ce-id"]);
    const [type, step, data] = [headers["ce-type"], headers["ce-step"] ?? "", JSON.parse(body)];
    console.log(`${type.padEnd(26)} ${step}`.trimEnd());
    if (["step.completed", "step.resolved_manually"].includes(type)) results[step] = data.result ?? data.result_ref; // over 128 KiB: order.py reads it
    if (type === "task.completed") return data.from ? results[OUTPUT] : data.result ?? data.result_ref; // from: too large to be repeated
    if (["task.failed", "task.cancelled", "task.resolved_manually"].includes(type)) return undefined;
  }
}

// Prints how tasks end. The consumer has a name: NATS keeps its place while nobody listens.
async function listen(nats, name, count) {
  const config = {
    durable_name: name, deliver_policy: "all",
    filter_subjects: ["tasker.events.default.*.task.completed", "tasker.events.default.*.task.failed"],
  };
  const ends = nats.consume("TASKER_EVENTS", name, config, 1); // what was fetched and not acknowledged comes again after 30 s only
  for await (const { headers, reply } of ends) {
    console.log(headers["ce-type"], headers["ce-subject"]);
    await nats.ask(reply, "+ACK"); // answered when NATS has noted it
    if (--count === 0) return;
  }
}

const [verb, what, count] = process.argv.slice(2);
if (!["submit", "listen"].includes(verb) || !what) fail("order.mjs submit NUMBER | order.mjs listen NAME [COUNT]");
const nats = await NATS.connect(process.env.NATS_URL ?? "nats://127.0.0.1:4222");
if (verb === "listen") {
  await listen(nats, what, Number(count ?? 0));
} else {
  const answer = await submit(nats, Number(what));
  console.log("task", answer.task, answer.created ? "is new" : "was there already");
  const result = await follow(nats, answer.task);
  if (result === undefined) fail("the task did not complete");
  console.log("result", JSON.stringify(result));
}
nats.close();

// A server with the shapes of the HTTP API and living data, for development of the UI and its tests. It knows nothing of Tasker's
// rules: what it accepts the engine may refuse.
//
//   node mock/server.mjs [--port 8090] [--dist dist] [--token T] [--quiet] [--rate 0.4]

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { json, OVER, Problem } from './answers.mjs';
import { definitions } from './definitions.mjs';
import { contextOf, newWorld } from './past.mjs';
import { stepVerb, taskVerb } from './verbs.mjs';
import { analytics, explain, history, lag, STATES, select, status, stepRow } from './views.mjs';
import { stateAt } from './world.mjs';

const letters = [
  {
    sequence: 12,
    kind: 'submission',
    name: 'shop.process_order',
    time: '2026-01-02T03:04:05Z',
    subject: 'tasker.submit.task.shop.process_order',
    reason: 'context: /order: does not match the pattern ^[A-Z]{2}-\\d+$',
    size: 71,
    data: { context: { order: '1042', customer: 'ann@example.org', items: [{ sku: 'lamp-01', quantity: 1 }] } },
  },
  {
    sequence: 15,
    kind: 'submission',
    name: 'shop.proces_order',
    time: '2026-01-02T03:14:05Z',
    subject: 'tasker.submit.task.shop.proces_order',
    reason: 'there is no definition shop.proces_order',
    size: 33,
    data: { context: {} },
  },
  {
    sequence: 19,
    kind: 'subscriber',
    name: 'billing',
    time: '2026-01-02T04:04:05Z',
    subject: '',
    reason: 'handler failed 5 times: connection refused',
    size: 310,
    headers: { 'Tasker-Type': 'task.completed', 'Tasker-Event': '00-77-3' },
    data: { type: 'task.completed' },
  },
];

/** Makes the server; listen(port) is the caller's. `tick` moves the world by hand when rate is 0. */
export function mockServer({ dist, token = '', rate = 0.4, start = Date.now(), namespaces = [] } = {}) {
  const world = newWorld(start);
  const timer = setInterval(() => {
    world.tick(200);
    world.now = Math.max(world.now, Date.now());
    if (rate && world.random() < rate * 0.2) {
      const def = definitions[world.random() < 0.75 ? 0 : 2];
      world.submit(def, { context: contextOf(def, world.tasks.size), initiator: 'shop', tags: ['live'] });
    }
  }, 200);
  const dead = structuredClone(letters);
  const server = createServer(async (req, res) => {
    const url = new URL(req.url, 'http://mock');
    try {
      if (!url.pathname.startsWith('/api/v1/')) return files(dist, url.pathname, res);
      if (token && req.headers.authorization !== `Bearer ${token}`) {
        throw new Problem(
          401,
          'unauthorized',
          'This server wants a token.',
          'Get one with: tasker token create NAME --scope read',
        );
      }
      const path = url.pathname.slice('/api/v1/'.length).split('/').map(decodeURIComponent);
      const body = req.method === 'GET' ? undefined : await readBody(req);
      await route({ world, dead, token, start, namespaces, req, res, path, q: url.searchParams, body });
    } catch (error) {
      fail(res, error);
    }
  });
  server.keepAliveTimeout = 120_000; // as the engine: 5 s would close a connection under a slow client's next request
  server.on('close', () => clearInterval(timer));
  return { server, world };
}

function fail(res, error) {
  const p =
    error instanceof Problem
      ? error
      : new Problem(500, 'internal', String(error.stack ?? error), 'a fault of the mock');
  if (res.headersSent) return res.end();
  res.writeHead(p.status, { 'Content-Type': 'application/problem+json' });
  res.end(
    JSON.stringify({
      type: 'about:blank',
      title: p.code.replaceAll('_', ' '),
      status: p.status,
      code: p.code,
      detail: p.message,
      hint: p.hint,
      errors: p.errors,
    }),
  );
}

async function readBody(req) {
  let text = '';
  for await (const piece of req) text += piece;
  return text ? JSON.parse(text) : {};
}

function files(dist, path, res) {
  const root = dist && resolve(dist);
  let file = root && join(root, path);
  if (!file || !existsSync(file) || !statSync(file).isFile())
    file = root && !extname(path) ? join(root, 'index.html') : undefined;
  if (!file || !existsSync(file)) {
    res.writeHead(404, { 'Content-Type': 'text/plain' });
    return res.end('not built: npm run build\n');
  }
  const type = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript',
    '.css': 'text/css',
    '.svg': 'image/svg+xml',
  }[extname(file)];
  res.writeHead(200, {
    'Content-Type': type ?? 'application/octet-stream',
    'Content-Security-Policy':
      "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  });
  createReadStream(file).pipe(res);
}

async function route(c) {
  const [a, b, ...rest] = c.path;
  const get = c.req.method === 'GET';
  switch (a) {
    case 'me':
      return json(c, {
        name: 'ann',
        scopes: ['read', 'submit', 'operate', 'admin'],
        namespaces: c.namespaces,
        auth: c.token ? 'token' : 'off',
        version: '0.0.0-mock',
      });
    case 'tasks':
      return b ? task(c, b, rest) : get ? list(c) : submit(c);
    case 'definitions':
      return definition(c, b, rest[0]);
    case 'stuck':
      return json(c, stuck(c));
    case 'steps':
      return json(c, {
        steps: [...c.world.tasks.values()].flatMap((t) => t.state.steps.map((s) => stepRow(t, s))).slice(0, 50),
        lag: lag(c.world),
      });
    case 'dead-letters':
      return deadLetters(c, b, rest[0]);
    case 'subscribers':
      return json(c, {
        subscribers: ['billing', 'audit', 'search'].map((name, i) => ({
          name,
          lag: i * 7,
          partitions: c.world.sequences.map((n, p) => ({
            partition: p,
            next: `0${p}-${n + 1 - i * p}-0`,
            at: new Date(c.world.now - i * 2000).toISOString(),
            lag: i * p * 7,
          })),
        })),
      });
    case 'analytics':
      return json(c, analytics(c.world, c.q));
    case 'index':
      return json(c, { lag: lag(c.world) });
    case 'status':
      return json(c, status(c.world, c.start));
    case 'events':
      return events(c);
    default:
      throw new Problem(404, 'not_found', `There is no operation ${c.req.url}.`, 'See /openapi.json.');
  }
}

function list(c) {
  const limit = Number(c.q.get('limit') ?? 50);
  const all = select(c.world, c.q);
  const after = c.q.get('after');
  const from = after ? all.findIndex((r) => r.id === after) + 1 : 0;
  const tasks = all.slice(from, from + limit);
  json(c, { tasks, next: from + limit < all.length ? tasks.at(-1).id : undefined, lag: lag(c.world) });
}

function count(c) {
  const q = new URLSearchParams(c.q);
  q.delete('state');
  const rows = select(c.world, q);
  const states = Object.fromEntries(STATES.map((s) => [s, rows.filter((r) => r.state === s).length]));
  json(c, { states, total: rows.length, lag: lag(c.world) });
}

function submit(c) {
  const { name, namespace = 'default', context, tags, initiator, reason, bypass_steps } = c.body;
  const def = c.world.definition(namespace, name);
  if (!def)
    throw new Problem(
      404,
      'definition_not_found',
      `There is no definition ${namespace}.${name}.`,
      'See GET /definitions.',
    );
  const key = c.req.headers['idempotency-key'] ?? c.body.key;
  const there = key && [...c.world.tasks.values()].find((t) => t.key === key);
  if (there) return json(c, { id: there.id, created: false, position: there.state.position });
  const missing = (def.schema?.required ?? []).filter((f) => context?.[f] === undefined);
  if (missing.length) {
    throw new Problem(
      422,
      'invalid_input',
      `The context does not fit the schema of ${def.name}.`,
      'Correct it and submit again.',
      missing.map((f) => ({ location: `body.context.${f}`, message: 'is required' })),
    );
  }
  const t = c.world.submit(def, { context, tags, initiator, reason, bypass: bypass_steps, key }, 'http:ann');
  json(c, { id: t.id, created: true, position: t.state.position }, 201);
}

function task(c, id, rest) {
  if (id === 'count') return count(c);
  const t = c.world.tasks.get(id);
  if (!t)
    throw new Problem(
      404,
      'task_not_found',
      `There is no task ${id}.`,
      'Look it up in the list of tasks; it may have been removed after its retention.',
    );
  const [what, step, verb] = rest;
  if (c.req.method === 'POST') return what === 'steps' ? stepVerb(c, t, step, verb) : taskVerb(c, t, what);
  switch (what) {
    case undefined: {
      const at = c.q.get('at');
      const state = at ? stateAt(t, at) : t.state;
      if (!state)
        throw new Problem(
          404,
          'event_not_found',
          `Task ${id} has no event ${at}.`,
          'Take a position from its history.',
        );
      return json(c, state);
    }
    case 'history': {
      const whole = history(t);
      const after = whole.events.findIndex((e) => e.id === c.q.get('after'));
      return json(c, after < 0 ? whole : { ...whole, events: whole.events.slice(after + 1), executions: [] });
    }
    case 'explain':
      return json(c, explain(t, c.world));
    case 'wait':
      return json(c, { done: OVER.includes(t.state.state) || t.state.state === 'error', task: t.state });
    case 'critical-path':
      return json(c, { steps: [], duration_ns: 0 });
    case 'steps':
      return steps(c, t, step, verb);
    default:
      throw new Problem(404, 'not_found', `There is no ${what} of a task.`, 'See /openapi.json.');
  }
}

function steps(c, t, name, what) {
  if (!name) return json(c, { steps: t.state.steps });
  const s = t.state.steps.find((x) => x.name === name);
  if (!s)
    throw new Problem(
      404,
      'not_found',
      `Task ${t.id} has no step ${name}.`,
      `It has: ${t.state.steps
        .slice(0, 5)
        .map((x) => x.name)
        .join(', ')}`,
    );
  if (what === 'explain') return json(c, explain(t, c.world, name));
  const log = t.events
    .filter((e) => e.type === 'step.log_appended' && e.step === name)
    .map((e) => ({ at: e.at, attempt: e.attempt, ...e.data }));
  const results = Object.fromEntries(
    (s.depends_on ?? []).map((d) => [d, t.state.steps.find((x) => x.name === d)?.result ?? null]),
  );
  const runs = history(t).executions.filter((x) => x.step === name);
  json(c, { ...s, log, executions: runs, input: { context: t.state.context, results } });
}

function stuck(c) {
  const tasks = [...c.world.tasks.values()]
    .filter((t) => !OVER.includes(t.state.state) && !(c.q.get('namespace') && t.def.namespace !== c.q.get('namespace')))
    .map((t) => ({
      ...explain(t, c.world),
      name: t.def.name,
      namespace: t.def.namespace,
      version: t.def.version,
      state: t.state.state,
      place: t.id,
    }))
    .filter((e) => !['step_running', 'about_to_move'].includes(e.reason));
  const reason = c.q.get('reason');
  const wanted = tasks.filter((t) => !reason || t.reason === reason);
  const limit = Number(c.q.get('limit') ?? 100);
  const from = c.q.get('after') ? wanted.findIndex((t) => t.task === c.q.get('after')) + 1 : 0;
  const page = wanted.slice(from, from + limit);
  const more = from + limit < wanted.length;
  return { groups: groupsOf(wanted), tasks: page, next: more ? page.at(-1).task : undefined, more };
}

const SEVERITY = ['no_handler', 'task_failed', 'task_paused', 'backoff'];

/** One line per cause, the worst first. */
function groupsOf(tasks) {
  const groups = new Map();
  for (const t of tasks) {
    const key = [t.reason, t.namespace, t.name, t.step].join(' ');
    const { text, since, fix, hint, namespace, name, step, reason } = t;
    const g = groups.get(key) ?? {
      reason,
      severity: SEVERITY.indexOf(reason) + 1,
      tasks: 0,
      namespace,
      name,
      step,
      text,
      since,
      fix,
      hint,
      examples: [],
    };
    g.tasks++;
    if (g.examples.length < 3) g.examples.push(t.task);
    if (since < g.since) g.since = since;
    groups.set(key, g);
  }
  return [...groups.values()].sort((a, b) => a.severity - b.severity || b.tasks - a.tasks);
}

function definition(c, namespace, name) {
  if (!namespace) {
    const wanted = definitions.filter((d) => !c.q.get('namespace') || d.namespace === c.q.get('namespace'));
    return json(c, {
      definitions: wanted.map(({ schema, steps: s, ...d }) => ({ ...d, steps: s.length, hash: 'c0ffee' })),
    });
  }
  const d = c.world.definition(namespace, name);
  if (!d)
    throw new Problem(
      404,
      'definition_not_found',
      `There is no definition ${namespace}.${name}.`,
      'See GET /definitions.',
    );
  const { schema, ...rest } = d;
  json(c, {
    ...rest,
    context_schema: schema,
    steps: d.steps.map(({ fails, never, ...s }) => ({ retry_limit: 3, depends_on: [], ...s })),
    versions: [d.version, '0.1.0'],
    hash: 'c0ffee',
    body: d,
  });
}

function deadLetters(c, sequence, verb) {
  if (!sequence) {
    const kind = c.q.get('kind');
    return json(c, { letters: c.dead.filter((l) => !kind || l.kind === kind).map(({ data, ...l }) => l) });
  }
  const i = c.dead.findIndex((l) => l.sequence === Number(sequence));
  if (i < 0)
    throw new Problem(404, 'not_found', `There is no dead letter ${sequence} (any more).`, 'Look at the list again.');
  if (c.req.method === 'GET') return json(c, c.dead[i]);
  if (verb === 'requeue' && c.dead[i].kind !== 'submission')
    throw new Problem(
      409,
      'refused',
      `Dead letter ${sequence} cannot be requeued: it is an event that a subscriber could not handle.`,
      "Let the subscriber's program call Redeliver, or drop it.",
    );
  c.dead.splice(i, 1);
  c.res.writeHead(204).end();
}

function events(c) {
  c.res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  c.res.write(': hello\n\n');
  const types = c.q.getAll('type');
  const wants = (t, e) =>
    ['namespace', 'name'].every((k) => !c.q.get(k) || t.def[k] === c.q.get(k)) &&
    (!c.q.get('task') || c.q.get('task') === t.id) &&
    (!types.length || types.some((x) => e.type === x || (x.endsWith('.*') && e.type.startsWith(x.slice(0, -1)))));
  const send = (t, e) => {
    if (!wants(t, e)) return;
    const data = { ...e, task: t.id, namespace: t.def.namespace, name: t.def.name };
    c.res.write(
      `id: mock:${c.world.sequences.map((n, i) => `0${i}=${n}`).join(',')}\nevent: ${e.type}\ndata: ${JSON.stringify(data)}\n\n`,
    );
  };
  c.world.listeners.add(send);
  const beat = setInterval(() => c.res.write(': beat\n\n'), 15_000);
  c.req.on('close', () => {
    c.world.listeners.delete(send);
    clearInterval(beat);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '8090' },
      dist: { type: 'string' },
      token: { type: 'string' },
      rate: { type: 'string', default: '0.4' },
    },
  });
  const { server } = mockServer({ ...values, rate: Number(values.rate) });
  server.listen(Number(values.port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
}

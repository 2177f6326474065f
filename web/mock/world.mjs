// A small world in the place of an engine: tasks that run, wait, fail and are repaired. Everything that happens is an event, and what
// a task is, now or at any event, is what its events say.

import { definitions } from './definitions.mjs';

/** Chance that is the same at every start. */
function dice(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const PARTITIONS = 2;
const OVER = ['complete', 'resolved_manually', 'cancelled'];
export const iso = (ms) => new Date(ms).toISOString();

export class World {
  tasks = new Map();
  sequences = Array(PARTITIONS).fill(0);
  listeners = new Set();
  random = dice(7);
  now;
  #made = 0;

  constructor(now) {
    this.now = now;
  }

  definition(namespace, name) {
    return definitions.find((d) => d.namespace === namespace && d.name === name);
  }

  id() {
    const hex = (n, length) => Math.floor(n).toString(16).padStart(length, '0').slice(-length);
    const time = hex(this.now, 12);
    const rest = () => hex(this.random() * 0x10000, 4);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(++this.#made, 3)}-8${hex(this.random() * 0x1000, 3)}-${rest()}${rest()}${rest()}`;
  }

  /** Appends events to a task as one commit. */
  append(t, events, actor = 'engine') {
    const sequence = ++this.sequences[t.partition];
    events.forEach((e, index) => {
      const full = { id: `0${t.partition}-${sequence}-${index}`, at: iso(this.now), actor, ...e };
      const cause = t.events.at(-1)?.id;
      if (cause) full.cause = cause;
      t.events.push(full);
      fold(t.state, full);
      t.state.position = full.id;
      for (const l of this.listeners) l(t, full);
    });
  }

  submit(def, { context = {}, tags, initiator = 'mock', reason, bypass = [], key, inherit } = {}, actor = 'engine') {
    const id = this.id();
    const t = { id, def, partition: this.#made % PARTITIONS, events: [], state: blank(id, def), plan: {}, key };
    this.tasks.set(id, t);
    const data = { namespace: def.namespace, name: def.name, version: def.version, context, initiator };
    if (tags?.length) data.tags = tags;
    if (reason) data.reason = reason;
    if (bypass.length) data.bypass_steps = bypass;
    if (inherit) data.forked = inherit.from;
    const kept = (inherit?.steps ?? []).map((s) => ({
      type: 'step.inherited',
      step: s.name,
      data: { result: s.result },
    }));
    this.append(t, [{ type: 'task.created', data }, ...kept, { type: 'task.start_requested' }], actor);
    this.advance(t);
    return t;
  }

  /** Starts what is ready, ends what is due, ends the task. */
  advance(t) {
    const s = t.state;
    if (s.paused || OVER.includes(s.state) || s.state === 'error') return;
    const events = [];
    for (const step of s.steps) this.#move(t, step, events);
    if (events.length) this.append(t, events);
    this.#finish(t);
  }

  #move(t, step, events) {
    const plan = t.plan[step.name];
    if (step.state === 'in_progress' && plan && plan.at <= this.now) {
      delete t.plan[step.name];
      events.push(...this.#outcome(t, step, plan));
    } else if (step.state === 'error' && step.retry_at && Date.parse(step.retry_at) <= this.now) {
      events.push({ type: 'step.retry_requested', step: step.name, data: {} });
    } else if (step.state === 'pending' && step.ready && !template(t, step).never) {
      const tpl = template(t, step);
      const fails = this.random() < (tpl.fails ?? 0.04);
      t.plan[step.name] = { at: this.now + 300 + this.random() ** 3 * 9_000, fails };
      events.push({ type: 'step.execution_requested', step: step.name, attempt: step.attempt + 1 });
    }
  }

  #outcome(_t, step, plan) {
    const of = { step: step.name, attempt: step.attempt };
    const log = {
      type: 'step.log_appended',
      ...of,
      data: { lines: [`calling ${step.dependent_system ?? step.handler}`, plan.fails ? 'got 503' : 'got 200'] },
    };
    if (!plan.fails)
      return [
        log,
        { type: 'step.completed', ...of, data: { result: { ok: true, step: step.name, took: step.attempt } } },
      ];
    const final = step.executions >= step.retry_limit;
    const error = {
      message: `${step.dependent_system ?? step.handler} answered 503: try later`,
      kind: 'error',
      code: 'HTTP_503',
      frames: ['shop.charge charge.go:42', 'shop.main main.go:7'],
    };
    const data = final ? { error } : { error, retry_at: iso(this.now + 2_000 * 2 ** step.executions) };
    return [log, { type: 'step.failed', ...of, data }];
  }

  #finish(t) {
    const s = t.state;
    if (s.steps.every((x) => x.state === 'complete' || x.state === 'resolved_manually')) {
      this.append(t, [{ type: 'task.completed', data: { result: { steps: s.steps.length } } }]);
    } else if (
      s.steps.some((x) => x.state === 'error' && !x.retry_at) &&
      !s.steps.some((x) => x.state === 'in_progress' || x.retry_at)
    ) {
      const steps = s.steps.filter((x) => x.state === 'error').map((x) => x.name);
      this.append(t, [{ type: 'task.failed', data: { reason: 'steps_in_error_state', steps } }]);
    }
  }

  tick(ms) {
    this.now += ms;
    for (const t of this.tasks.values()) this.advance(t);
  }
}

const template = (t, step) => t.def.steps.find((s) => s.name === step.name) ?? {};

// The mock does not keep it: no page shows it.
const EXECUTION = {
  total: 0,
  pending: 0,
  in_progress: 0,
  completed: 0,
  ready: 0,
  failed: 0,
  cancelled: 0,
  blocked: 0,
  tolerated: 0,
  completion_percentage: 0,
  execution_status: 'processing',
  recommended_action: 'wait_for_completion',
  health: 'healthy',
};

export function blank(id, def) {
  return {
    id,
    namespace: def.namespace,
    name: def.name,
    version: def.version,
    state: 'pending',
    round: 1,
    execution: EXECUTION,
    steps: def.steps.map((s) => ({
      name: s.name,
      handler: s.handler,
      depends_on: s.depends_on,
      state: 'pending',
      ready: !s.depends_on?.length,
      attempt: 0,
      executions: 0,
      round: 1,
      retry_limit: s.retry_limit ?? 3,
      optional: s.optional,
      dependent_system: s.dependent_system,
    })),
    position: '',
  };
}

/** What a task was right after the event. */
export function stateAt(t, position) {
  const state = blank(t.id, t.def);
  for (const e of t.events) {
    fold(state, e);
    state.position = e.id;
    if (e.id === position) return state;
  }
  return undefined;
}

const ofTask = {
  'task.created': (s, e) => {
    const { context, tags, initiator, reason } = e.data;
    Object.assign(s, { created_at: e.at, context, tags, initiator, reason });
  },
  'task.start_requested': (s, e) => Object.assign(s, { state: 'in_progress', started_at: e.at }),
  'task.completed': (s, e) => Object.assign(s, { state: 'complete', ended_at: e.at, result: e.data.result }),
  'task.failed': (s, e) => Object.assign(s, { state: 'error', ended_at: e.at, failed: e.data.reason }),
  'task.cancelled': (s, e) => Object.assign(s, { state: 'cancelled', ended_at: e.at }),
  'task.resolved_manually': (s, e) => Object.assign(s, { state: 'resolved_manually', ended_at: e.at }),
  'task.retry_requested': (s) =>
    Object.assign(s, { state: 'in_progress', ended_at: undefined, failed: undefined, round: s.round + 1 }),
  'task.paused': (s) => Object.assign(s, { paused: true }),
  'task.resumed': (s) => Object.assign(s, { paused: undefined }),
  'task.annotated': () => {},
};

const ofStep = {
  'step.inherited': (s, e) => Object.assign(s, { state: 'complete', ended_at: e.at, result: e.data?.result }),
  'step.execution_requested': (s, e) =>
    Object.assign(s, {
      state: 'in_progress',
      ready: undefined,
      attempt: e.attempt,
      executions: s.executions + 1,
      started_at: e.at,
      ended_at: undefined,
    }),
  'step.completed': (s, e) =>
    Object.assign(s, { state: 'complete', ended_at: e.at, result: e.data?.result, error: undefined }),
  'step.failed': (s, e) =>
    Object.assign(s, { state: 'error', ended_at: e.at, error: e.data.error, retry_at: e.data.retry_at }),
  'step.retry_requested': (s, e) =>
    Object.assign(
      s,
      { state: 'pending', ready: true, retry_at: undefined, inputs: e.data?.inputs ?? s.inputs },
      e.data?.new_round && { executions: 0, round: s.round + 1 },
    ),
  'step.cancelled': (s, e) => Object.assign(s, { state: 'cancelled', ended_at: e.at }),
  'step.resolved_manually': (s, e) =>
    Object.assign(s, { state: 'resolved_manually', ended_at: e.at, result: e.data?.result, retry_at: undefined }),
  'step.skipped': (s, e) => Object.assign(s, { state: 'complete', skipped: true, ended_at: e.at }),
  'step.log_appended': () => {},
};

export function fold(task, e) {
  if (!e.step) {
    ofTask[e.type]?.(task, e);
    return;
  }
  const step = task.steps.find((s) => s.name === e.step);
  if (!step) return;
  ofStep[e.type]?.(step, e);
  if (step.state !== 'complete' && step.state !== 'resolved_manually') return;
  const over = new Set(
    task.steps.filter((s) => s.state === 'complete' || s.state === 'resolved_manually').map((s) => s.name),
  );
  for (const s of task.steps) {
    if (s.state === 'pending' && !s.ready && s.depends_on?.includes(e.step))
      s.ready = s.depends_on.every((d) => over.has(d)) || undefined;
  }
}

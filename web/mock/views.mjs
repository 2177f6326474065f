// What the API answers, made of the world.

import { definitions } from './definitions.mjs';

const ms = (text) => Date.parse(text);
const ns = (from, to) => (from && to ? (ms(to) - ms(from)) * 1e6 : undefined);
export const STATES = ['pending', 'in_progress', 'complete', 'error', 'cancelled', 'resolved_manually'];

export function row(t) {
  const s = t.state;
  const steps = { total: s.steps.length };
  for (const x of s.steps) steps[x.state] = (steps[x.state] ?? 0) + 1;
  const failed = t.events.findLast((e) => e.type === 'step.failed');
  const retrying = s.steps.find((x) => x.retry_at);
  const { steps: _, context: __, result: ___, execution: ____, ...rest } = s;
  return {
    ...rest,
    waiting: s.paused ? 'workflow_paused' : retrying ? 'retry_backoff' : undefined,
    waiting_until: retrying?.retry_at,
    updated_at: t.events.at(-1).at,
    duration_ns: ns(s.created_at, s.ended_at),
    steps,
    retries: s.steps.reduce((n, x) => n + Math.max(0, x.attempt - 1), 0) || undefined,
    last_error: failed && {
      step: failed.step,
      attempt: failed.attempt,
      at: failed.at,
      ...failed.data.error,
      frames: undefined,
    },
    fields: s.context?.order ? { order: s.context.order } : undefined,
  };
}

export const lag = (w) => ({ covered: `mock:${w.sequences.map((n, i) => `0${i}=${n}`).join(',')}`, commits: 0 });

export function select(w, q) {
  const all = (name) =>
    q
      .getAll(name)
      .flatMap((v) => v.split(','))
      .filter(Boolean);
  const one = (name) => q.get(name) ?? '';
  const states = all('state');
  const tags = q.getAll('tag');
  const text = one('text').toLowerCase();
  const fields = [...q.entries()].filter(([k]) => k.startsWith('field.')).map(([k, v]) => [k.slice(6), v]);
  const rows = [...w.tasks.values()].map(row).filter((r) => {
    const words = [r.reason, r.last_error?.message, ...(r.tags ?? [])].join(' ').toLowerCase();
    return (
      (!states.length || states.includes(r.state)) &&
      ['namespace', 'name', 'version', 'initiator', 'waiting'].every((k) => !one(k) || r[k] === one(k)) &&
      (!one('paused') || Boolean(r.paused) === (one('paused') === 'true')) &&
      tags.every((t) => r.tags?.includes(t)) &&
      fields.every(([k, v]) => r.fields?.[k] === v) &&
      text.split(/\s+/).every((word) => words.includes(word)) &&
      (!one('created_after') || ms(r.created_at) >= ms(one('created_after'))) &&
      (!one('created_before') || ms(r.created_at) < ms(one('created_before')))
    );
  });
  const by = {
    created: 'created_at',
    updated: 'updated_at',
    ended: 'ended_at',
    duration: 'duration_ns',
    retries: 'retries',
  }[one('sort') || 'created'];
  const sign = one('order') === 'asc' ? 1 : -1;
  const value = (r) => (typeof r[by] === 'string' ? ms(r[by]) : (r[by] ?? 0));
  return rows
    .filter((r) => !['ended_at', 'duration_ns'].includes(by) || r[by])
    .sort((a, b) => sign * (value(a) - value(b) || (a.id < b.id ? -1 : 1)));
}

export function history(t) {
  const executions = [];
  const started = new Map();
  for (const e of t.events) {
    if (e.type === 'step.execution_requested') {
      const x = { step: e.step, attempt: e.attempt, round: 1, started_at: e.at, outcome: 'running' };
      started.set(e.step, x);
      executions.push(x);
    }
    const x = started.get(e.step);
    if (x && (e.type === 'step.completed' || e.type === 'step.failed') && x.attempt === e.attempt) {
      Object.assign(x, {
        ended_at: e.at,
        duration_ns: ns(x.started_at, e.at),
        outcome: e.type === 'step.completed' ? 'completed' : 'failed',
      });
      if (e.data?.error) Object.assign(x, { error: e.data.error, retry_at: e.data.retry_at });
    }
  }
  const { id, namespace, name, version, created_at, ended_at } = t.state;
  return {
    task: id,
    namespace,
    name,
    version,
    created_at,
    ended_at,
    duration_ns: ns(created_at, ended_at),
    events: t.events,
    executions,
  };
}

export function explain(t, w, stepName) {
  const s = t.state;
  const failed = t.events.findLast((e) => e.type === 'step.failed');
  const base = { task: t.id };
  const step = stepName ? s.steps.find((x) => x.name === stepName) : undefined;
  if (['complete', 'cancelled', 'resolved_manually'].includes((step ?? s).state)) {
    return {
      ...base,
      step: step?.name,
      reason: step ? 'step_over' : 'task_ended',
      text: `It is ${(step ?? s).state}: nothing more happens.`,
      since: (step ?? s).ended_at,
    };
  }
  if (s.state === 'error' || (step?.state === 'error' && !step.retry_at)) {
    return {
      ...base,
      step: failed?.step,
      reason: 'task_failed',
      text: `Step ${failed?.step} failed for good after ${failed?.attempt} executions: ${failed?.data.error.message}`,
      since: s.ended_at,
      evidence: failed?.id,
      fix: `tasker task retry ${t.id}`,
    };
  }
  if (s.paused) {
    const e = t.events.findLast((x) => x.type === 'task.paused');
    return {
      ...base,
      reason: 'task_paused',
      text: `Paused by ${e.actor}: ${e.data.reason}`,
      since: e.at,
      evidence: e.id,
      fix: `tasker task resume ${t.id}`,
    };
  }
  const retrying = step?.retry_at ? step : s.steps.find((x) => x.retry_at);
  if (retrying && !s.steps.some((x) => x.state === 'in_progress')) {
    return {
      ...base,
      step: retrying.name,
      reason: 'backoff',
      text: `Step ${retrying.name} failed and is tried again in ${Math.max(0, Math.round((ms(retrying.retry_at) - w.now) / 1000))} s: ${retrying.error.message}`,
      since: retrying.ended_at,
      until: retrying.retry_at,
      evidence: failed?.id,
      fix: `tasker step retry ${t.id} ${retrying.name}`,
    };
  }
  const held = s.steps.find((x) => x.state === 'pending' && x.ready);
  if (held) {
    return {
      ...base,
      step: held.name,
      reason: 'no_handler',
      text: `Step ${held.name} is ready, and no engine has a handler named ${held.handler}.`,
      since: t.events.at(-1).at,
      hint: 'Start an engine that registers it.',
    };
  }
  const running = s.steps.find((x) => x.state === 'in_progress');
  return {
    ...base,
    step: running?.name,
    reason: running ? 'step_running' : 'about_to_move',
    text: running ? `The handler of step ${running.name} has it.` : 'The next commit moves it.',
    since: running?.started_at,
  };
}

function durations(list) {
  const sorted = list.toSorted((a, b) => a - b);
  const at = (p) => sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0;
  return {
    count: sorted.length,
    sum_ns: sorted.reduce((a, b) => a + b, 0),
    min_ns: sorted[0] ?? 0,
    p50_ns: at(0.5),
    p95_ns: at(0.95),
    p99_ns: at(0.99),
    max_ns: sorted.at(-1) ?? 0,
  };
}

export function stepRow(t, s) {
  return {
    task: t.id,
    namespace: t.state.namespace,
    task_name: t.state.name,
    version: t.state.version,
    step: s.name,
    handler: s.handler,
    state: s.state,
    attempt: s.attempt,
    executions: s.executions,
    started_at: s.started_at,
    ended_at: s.ended_at,
    duration_ns: ns(s.started_at, s.ended_at),
    error: s.error && { ...s.error, frames: undefined },
    position: t.state.position,
  };
}

export function analytics(w, q) {
  const tasks = [...w.tasks.values()].filter(
    (t) =>
      (!q.get('namespace') || t.def.namespace === q.get('namespace')) &&
      (!q.get('name') || t.def.name === q.get('name')),
  );
  const ended = tasks.filter((t) => t.state.ended_at);
  const stats = definitions
    .map((d) => {
      const mine = ended.filter((t) => t.def === d);
      const count = (state) => mine.filter((t) => t.state.state === state).length;
      const executions = mine.flatMap((t) => history(t).executions);
      const of = (state) =>
        mine.filter((t) => t.state.state === state).map((t) => ns(t.state.created_at, t.state.ended_at));
      let ends = 0;
      const steps = d.steps.map((s) => {
        const all = executions.filter((x) => x.step === s.name);
        const good = all.filter((x) => x.outcome === 'completed');
        const bad = all.filter((x) => x.outcome === 'failed');
        return {
          step: s.name,
          executions: all.length,
          complete: good.length,
          failed: bad.length,
          retries: all.filter((x) => x.attempt > 1).length,
          success_rate: good.length / (good.length + bad.length || 1),
          duration: durations(good.map((x) => x.duration_ns)),
        };
      });
      const critical = d.name === 'process_order' ? ['validate', 'charge', 'pack', 'ship'] : [];
      const critical_path = critical.map((name) => {
        const p50_ns = steps.find((s) => s.step === name).duration.p50_ns;
        ends += p50_ns;
        return { step: name, p50_ns, ends_ns: ends };
      });
      return {
        namespace: d.namespace,
        name: d.name,
        version: d.version,
        tasks: mine.length,
        complete: count('complete'),
        failed: count('error'),
        cancelled: count('cancelled'),
        resolved_manually: count('resolved_manually'),
        success_rate: mine.length ? count('complete') / mine.length : 0,
        duration: durations(of('complete')),
        steps,
        critical_path,
      };
    })
    .filter((d) => d.tasks);
  const steps = ended.flatMap((t) => t.state.steps.filter((s) => s.ended_at).map((s) => stepRow(t, s)));
  return {
    definitions: stats,
    slowest_tasks: ended
      .map(row)
      .sort((a, b) => b.duration_ns - a.duration_ns)
      .slice(0, 10),
    slowest_steps: steps.toSorted((a, b) => b.duration_ns - a.duration_ns).slice(0, 10),
    most_retried: steps
      .filter((s) => s.attempt > 1)
      .sort((a, b) => b.attempt - a.attempt)
      .slice(0, 10),
    lag: lag(w),
  };
}

export function status(w, since) {
  const partitions = w.sequences.map((n, partition) => {
    const mine = [...w.tasks.values()].filter((t) => t.partition === partition);
    const of = (state) => mine.filter((t) => t.state.state === state).length;
    const [pending, in_progress, failed] = ['pending', 'in_progress', 'error'].map(of);
    return {
      partition,
      phase: 'owning',
      owner: 'mock-engine-1',
      sequence: n,
      commits: n,
      events: n * 3,
      bytes: n * 900,
      refused: 0,
      stale: 0,
      ack_wait_ns: n * 1.8e6,
      slowest_ack_ns: 21e6,
      slowest_turn_ns: 3e6,
      snapshots: 1,
      live: pending + in_progress,
      held: partition,
      queued: 0,
      timers: 2,
      pending,
      in_progress,
      failed,
      stored: { first: 1, last: n, bytes: n * 700 },
    };
  });
  const executor = {
    slots: 64,
    free: 51,
    running: 13,
    leaked: 1,
    draining: false,
    executions: 1200 + Math.floor((w.now - since) / 300),
    completed: 1100,
    failed: 87,
    panics: 1,
    timeouts: 4,
    interrupted: 0,
    cancelled: 2,
    late: 0,
    handlers: [
      { name: 'payment', limit: 4, running: 4, leaked: 0, refused: 'all 4 slots of the handler are taken' },
      { name: 'http', limit: 0, running: 6, leaked: 0 },
      { name: 'warehouse', limit: 0, running: 3, leaked: 1 },
    ],
  };
  const handlers = [
    'bank',
    'carrier',
    'http',
    'mail',
    'payment',
    's3_copy',
    's3_list',
    'sum',
    'validate_order',
    'warehouse',
  ];
  return {
    info: { id: 'mock', generation: 1, partitions: w.sequences.length, durability: 'strict' },
    usage: 0.031,
    partitions,
    engines: [{ name: 'mock-engine-1', version: '0.0.0-mock', executor, handlers }],
    reasons: [],
  };
}

// biome-ignore-all lint/style/noNonNullAssertion: the indices come from the arrays themselves
/**
 * What a task's events make of its steps, as far as a graph, a table and a timeline show it. It follows the rules of
 * the engine's own fold; the server's answer for a position (`GET /tasks/{id}?at=`) stays the truth for what is not here:
 * context, results, explanations.
 */

export type State = 'pending' | 'in_progress' | 'complete' | 'error' | 'cancelled' | 'resolved_manually';

/** An event of a task's history; live ones have no cause and no duration. */
export interface TaskEvent {
  id: string;
  type: string;
  at: string;
  step?: string | undefined;
  attempt?: number | undefined;
  actor?: string | undefined;
  cause?: string | undefined;
  data?: unknown;
  duration_ns?: number | undefined;
}

/** What is known of a step beside its events. */
export interface StepShape {
  name: string;
  depends_on?: readonly string[] | undefined;
  optional?: boolean | undefined;
}

/** A step at a moment. Never changed: an event makes a new one. */
export interface FoldedStep {
  name: string;
  state: State;
  skipped: boolean;
  inherited: boolean;
  attempt: number;
  round: number;
  startedAt?: number | undefined;
  endedAt?: number | undefined;
  retryAt?: number | undefined;
  sleepUntil?: number | undefined;
  error?: { message?: string; kind?: string } | undefined;
  progress?: { done: number; total: number; message: string } | undefined;
}

export interface FoldedTask {
  state: State;
  paused: boolean;
  waiting?: string | undefined;
  waitingUntil?: number | undefined;
  failed?: string | undefined;
  round: number;
}

/** A task at a moment: after so many of its events. */
export interface Moment {
  /** How many events are in it. */
  events: number;
  task: FoldedTask;
  steps: readonly FoldedStep[];
}

type Data = Record<string, unknown>;

const text = (v: unknown): string | undefined => (typeof v === 'string' ? v : undefined);
const count = (v: unknown): number => (typeof v === 'number' && Number.isFinite(v) ? v : 0);
const time = (v: unknown): number | undefined => {
  const ms = typeof v === 'string' ? Date.parse(v) : NaN;
  return Number.isNaN(ms) ? undefined : ms;
};

export const newStep = (name: string): FoldedStep => ({
  name,
  state: 'pending',
  skipped: false,
  inherited: false,
  attempt: 0,
  round: 1,
});

/** An event applied to the step that it is about; the same step when it does not apply. */
export function evolveStep(s: FoldedStep, e: TaskEvent): FoldedStep {
  const data = (e.data ?? {}) as Data;
  const at = time(e.at);
  const attempt = e.attempt ?? 1;
  switch (e.type) {
    case 'step.execution_requested':
      if (s.state !== 'pending' || attempt <= s.attempt) return s;
      return {
        ...s,
        state: 'in_progress',
        attempt,
        startedAt: at,
        endedAt: undefined,
        progress: undefined,
        sleepUntil: time(data.until),
      };
    case 'step.completed':
      if (s.state !== 'in_progress' || attempt !== s.attempt) return s;
      return { ...s, state: 'complete', endedAt: at, error: undefined, retryAt: undefined, sleepUntil: undefined };
    case 'step.failed': {
      const error = data.error as FoldedStep['error'];
      const waits = s.state === 'error' && s.retryAt !== undefined && error?.kind === 'deadline';
      if (attempt !== s.attempt || (s.state !== 'in_progress' && !waits)) return s;
      return { ...s, state: 'error', endedAt: at, error, retryAt: time(data.retry_at), sleepUntil: undefined };
    }
    case 'step.retry_requested':
      if (s.state !== 'error') return s;
      return { ...s, state: 'pending', retryAt: undefined, round: s.round + (data.new_round === true ? 1 : 0) };
    case 'step.cancelled':
      if (s.state !== 'pending' && s.state !== 'in_progress' && s.state !== 'error') return s;
      return { ...s, state: 'cancelled', endedAt: at, retryAt: undefined, sleepUntil: undefined };
    case 'step.resolved_manually':
      if (s.state !== 'pending' && s.state !== 'error') return s;
      return { ...s, state: 'resolved_manually', endedAt: at, retryAt: undefined };
    case 'step.skipped':
      return s.state === 'pending' ? { ...s, state: 'complete', skipped: true, endedAt: at } : s;
    case 'step.inherited': {
      if (s.state !== 'pending') return s;
      const state = data.resolved === true ? 'resolved_manually' : 'complete';
      return { ...s, state, inherited: true, skipped: data.skipped === true, endedAt: at };
    }
    case 'step.progressed':
      if (s.state !== 'in_progress' || attempt !== s.attempt) return s;
      return {
        ...s,
        progress: { done: count(data.done), total: count(data.total), message: text(data.message) ?? '' },
      };
    default:
      return s;
  }
}

/** An event applied to the task as a whole; the same task when it does not apply. */
export function evolveTask(t: FoldedTask, e: TaskEvent): FoldedTask {
  const data = (e.data ?? {}) as Data;
  const live = t.state === 'pending' || t.state === 'in_progress';
  const ended = { ...t, waiting: undefined, waitingUntil: undefined };
  switch (e.type) {
    case 'task.start_requested':
      return t.state === 'pending' ? { ...ended, state: 'in_progress' } : t;
    case 'workflow.task_reenqueue_requested':
    case 'workflow.task_reenqueue_delayed':
      return live ? { ...t, state: 'pending', waiting: text(data.reason), waitingUntil: time(data.until) } : t;
    case 'task.completed':
      return t.state === 'in_progress' ? { ...ended, state: 'complete' } : t;
    case 'task.failed':
      return live ? { ...ended, state: 'error', failed: text(data.reason) } : t;
    case 'task.cancelled':
      return live || t.state === 'error' ? { ...ended, state: 'cancelled' } : t;
    case 'task.resolved_manually':
      return t.state === 'error' ? { ...ended, state: 'resolved_manually' } : t;
    case 'task.retry_requested':
      return t.state === 'error'
        ? { ...ended, state: 'pending', paused: false, failed: undefined, round: t.round + 1 }
        : t;
    case 'task.paused':
      return live ? { ...t, paused: true } : t;
    case 'task.resumed':
      return t.paused ? { ...t, paused: false } : t;
    default:
      return t;
  }
}

const between = 256; // events from one kept moment to the next

/**
 * A history that can be looked at anywhere: every 256th moment is kept, so that a step of the slider costs at most 256
 * events, wherever it goes.
 */
export class Fold {
  readonly #index = new Map<string, number>();
  readonly #kept: Moment[] = [];
  readonly #places = new Map<string, number>();
  #last: Moment;

  constructor(
    shapes: readonly StepShape[],
    readonly events: readonly TaskEvent[],
  ) {
    for (const [i, s] of shapes.entries()) this.#index.set(s.name, i);
    for (const [i, e] of events.entries()) this.#places.set(e.id, i);
    this.#last = {
      events: 0,
      task: { state: 'pending', paused: false, round: 1 },
      steps: shapes.map((s) => newStep(s.name)),
    };
    this.#kept.push(this.#last);
  }

  /**
   * The place of an event, from 0; -1 when it is none of these. The position of a commit as a whole, whose index is 0,
   * is that of its last event.
   */
  place(id: string): number {
    const exact = this.#places.get(id);
    if (exact !== undefined) return exact;
    if (!id.endsWith('-0')) return -1;
    const commit = id.slice(0, -1);
    return this.events.findLastIndex((e) => e.id.startsWith(commit));
  }

  /** The task after the first n events. */
  at(n: number): Moment {
    n = Math.max(0, Math.min(n, this.events.length));
    let from = this.#kept[Math.min(Math.floor(n / between), this.#kept.length - 1)]!;
    if (this.#last.events <= n && this.#last.events > from.events) from = this.#last;
    if (from.events === n) {
      this.#last = from;
      return from;
    }
    const steps = from.steps.slice();
    let { task } = from;
    for (let k = from.events; k < n; k++) {
      const e = this.events[k]!;
      if (e.step === undefined || e.step === '') task = evolveTask(task, e);
      else {
        const i = this.#index.get(e.step);
        if (i !== undefined) steps[i] = evolveStep(steps[i]!, e);
      }
      if ((k + 1) % between === 0 && (k + 1) / between === this.#kept.length)
        this.#kept.push({ events: k + 1, task, steps: steps.slice() });
    }
    this.#last = { events: n, task, steps };
    return this.#last;
  }
}

/** The partition, sequence and index that an event's id names; undefined when it is no such id. */
export function positionOf(id: string): [number, number, number] | undefined {
  const m = /^(\d+)-(\d+)-(\d+)$/.exec(id);
  return m ? [Number(m[1]), Number(m[2]), Number(m[3])] : undefined;
}

/** Whether a comes before b in the log of their partition. */
export function isBefore(a: string, b: string): boolean {
  const p = positionOf(a);
  const q = positionOf(b);
  if (!p || !q) return false;
  return p[1] !== q[1] ? p[1] < q[1] : p[2] < q[2];
}

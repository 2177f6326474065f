// biome-ignore-all lint/style/noNonNullAssertion: the indices come from the arrays themselves
import type { StepShape, TaskEvent } from './fold';

/** What a step did during a stretch of time. */
export type Kind =
  | 'parents' // waited for the steps before it
  | 'queued' // ready, but not handed to a handler yet: no slot, or paused
  | 'running'
  | 'backoff' // failed, waiting for the next attempt
  | 'stopped'; // failed for good, until somebody retried or resolved it

export const kinds: readonly Kind[] = ['parents', 'queued', 'running', 'backoff', 'stopped'];

export interface Segment {
  kind: Kind;
  /** Milliseconds since the epoch. An open segment has no end. */
  from: number;
  to?: number | undefined;
  /** Of a running one. */
  attempt?: number | undefined;
  outcome?: 'completed' | 'failed' | 'cancelled' | undefined;
  /** Id of the event that began it. */
  event: string;
}

export interface Row {
  name: string;
  segments: Segment[];
  /** Executions, and how many of them failed. */
  attempts: number;
  failures: number;
}

export interface Timeline {
  rows: Row[];
  from: number;
  /** Time of the newest event. Open segments go on. */
  to: number;
  /** When the task was paused, as [from, to] or [from]. */
  pauses: { from: number; to?: number | undefined }[];
}

interface Track {
  row: Row;
  shape: StepShape;
  open: number; // parents that do not satisfy it yet
  satisfied: boolean; // its children may run
  children: number[];
}

/** Folds a history into rows of segments, in O(events + edges). */
export function timelineOf(shapes: readonly StepShape[], events: readonly TaskEvent[]): Timeline {
  const builder = new Builder(shapes);
  for (const e of events) builder.add(e);
  return builder.timeline();
}

class Builder {
  readonly #tracks: Track[];
  readonly #index = new Map<string, number>();
  readonly #pauses: Timeline['pauses'] = [];
  #from = 0;
  #to = 0;

  constructor(shapes: readonly StepShape[]) {
    for (const [i, s] of shapes.entries()) this.#index.set(s.name, i);
    this.#tracks = shapes.map((shape) => ({
      row: { name: shape.name, segments: [], attempts: 0, failures: 0 },
      shape,
      open: 0,
      satisfied: false,
      children: [],
    }));
    shapes.forEach((s, i) => {
      for (const name of new Set(s.depends_on ?? [])) {
        const parent = this.#index.get(name);
        if (parent === undefined) continue;
        this.#tracks[parent]!.children.push(i);
        this.#tracks[i]!.open++;
      }
    });
  }

  add(e: TaskEvent): void {
    const at = Date.parse(e.at);
    if (Number.isNaN(at)) return;
    if (this.#from === 0) this.#begin(at, e.id);
    this.#to = Math.max(this.#to, at);
    if (e.step) {
      const i = this.#index.get(e.step);
      if (i !== undefined) this.#step(this.#tracks[i]!, e, at);
      return;
    }
    const pause = this.#pauses.at(-1);
    const isPaused = pause !== undefined && pause.to === undefined;
    if (e.type === 'task.paused' && !isPaused) this.#pauses.push({ from: at });
    else if (isPaused && pauseEnds.has(e.type)) pause.to = at;
    if (taskEnds.has(e.type)) for (const t of this.#tracks) this.#close(t, at, 'cancelled');
  }

  timeline(): Timeline {
    return { rows: this.#tracks.map((t) => t.row), from: this.#from, to: this.#to, pauses: this.#pauses };
  }

  #begin(at: number, event: string): void {
    this.#from = at;
    for (const t of this.#tracks) this.#wait(t, at, event);
  }

  #wait(t: Track, from: number, event: string): void {
    t.row.segments.push({ kind: t.open > 0 ? 'parents' : 'queued', from, event });
  }

  /** Ends the open segment; one of no length is dropped. */
  #close(t: Track, to: number, outcome?: Segment['outcome']): void {
    const last = t.row.segments.at(-1);
    if (last === undefined || last.to !== undefined) return;
    if (last.kind !== 'running' && last.from === to) {
      t.row.segments.pop();
      return;
    }
    last.to = to;
    if (last.kind === 'running') last.outcome = outcome;
  }

  #step(t: Track, e: TaskEvent, at: number): void {
    const data = (e.data ?? {}) as { retry_at?: string };
    switch (e.type) {
      case 'step.execution_requested':
        this.#close(t, at);
        t.row.attempts++;
        t.row.segments.push({ kind: 'running', from: at, attempt: e.attempt ?? 1, event: e.id });
        break;
      case 'step.failed':
        this.#close(t, at, 'failed');
        t.row.failures++;
        t.row.segments.push({ kind: data.retry_at ? 'backoff' : 'stopped', from: at, event: e.id });
        if (!data.retry_at && t.shape.optional) this.#satisfy(t, at, e.id);
        break;
      case 'step.retry_requested':
        this.#close(t, at);
        this.#wait(t, at, e.id);
        break;
      case 'step.cancelled':
        this.#close(t, at, 'cancelled');
        if (t.shape.optional) this.#satisfy(t, at, e.id);
        break;
      case 'step.completed':
      case 'step.resolved_manually':
      case 'step.skipped':
      case 'step.inherited':
        this.#close(t, at, 'completed');
        this.#satisfy(t, at, e.id);
        break;
    }
  }

  #satisfy(t: Track, at: number, event: string): void {
    if (t.satisfied) return;
    t.satisfied = true;
    for (const c of t.children) {
      const child = this.#tracks[c]!;
      child.open--;
      const waits = child.row.segments.at(-1);
      if (child.open === 0 && waits?.kind === 'parents' && waits.to === undefined) {
        this.#close(child, at);
        this.#wait(child, at, event);
      }
    }
  }
}

const pauseEnds = new Set(['task.resumed', 'task.retry_requested', 'task.completed', 'task.failed', 'task.cancelled']);
const taskEnds = new Set(['task.completed', 'task.cancelled', 'task.resolved_manually']);

/** Round distances for an axis: 1, 2, 5 times a power of ten below a minute, then what clocks have. */
const distances = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5,
  432e5, 864e5,
];

/** Ticks of a time axis, in milliseconds from its begin, about `every` pixels apart. */
export function ticks(length: number, pixels: number, every = 110): number[] {
  if (!(length > 0) || !(pixels > 0)) return [0];
  const least = (length / pixels) * every;
  const days = 864e5;
  const distance = distances.find((d) => d >= least) ?? Math.ceil(least / days) * days;
  const out: number[] = [];
  for (let t = 0; t <= length && out.length < 2000; t += distance) out.push(t);
  return out;
}

/** A time of the axis as text: 250 ms, 1.5 s, 2 min 30 s, 1 h 5 min, 3 d 2 h. */
export function span(ms: number): string {
  if (ms < 1) return ms <= 0 ? '0' : `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${Math.round(ms * 10) / 10} ms`;
  if (ms < 60_000) return `${Math.round(ms / 10) / 100} s`;
  const s = Math.round(ms / 1000);
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ''}`;
  const min = Math.round(s / 60);
  if (min < 1440) return `${Math.floor(min / 60)} h${min % 60 ? ` ${min % 60} min` : ''}`;
  const h = Math.round(min / 60);
  return `${Math.floor(h / 24)} d${h % 24 ? ` ${h % 24} h` : ''}`;
}

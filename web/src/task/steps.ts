import type { Step, StepError } from '../api/types';
import { duration } from '../components/format';
import type { DagStep } from './dag';
import type { FoldedStep, Moment } from './fold';

/** The steps as they were at a moment: what never changes comes from the steps as they are, the rest from the events. */
export function stepsAt(steps: readonly Step[], moment: Moment): Step[] {
  const folded = new Map<string, FoldedStep>(moment.steps.map((s) => [s.name, s]));
  return steps.map((s) => {
    const f = folded.get(s.name);
    if (!f) return s;
    return {
      name: s.name,
      handler: s.handler,
      retry_limit: s.retry_limit,
      executions: f.attempt,
      state: f.state,
      attempt: f.attempt,
      round: f.round,
      ...(s.depends_on ? { depends_on: s.depends_on } : {}),
      ...(s.optional ? { optional: true } : {}),
      ...(s.dependent_system ? { dependent_system: s.dependent_system } : {}),
      ...(f.skipped ? { skipped: true } : {}),
      ...(f.inherited ? { inherited: true } : {}),
      ...time('started_at', f.startedAt),
      ...time('ended_at', f.endedAt),
      ...time('retry_at', f.retryAt),
      ...time('sleep_until', f.sleepUntil),
      ...(f.state === 'error' && f.error ? { error: f.error as StepError } : {}),
      ...(f.progress ? { progress: { ...f.progress, at: '' } } : {}),
    };
  });
}

function time<K extends string>(key: K, ms: number | undefined): Partial<Record<K, string>> {
  return ms === undefined ? {} : ({ [key]: new Date(ms).toISOString() } as Record<K, string>);
}

/** How long the last execution of a step took, in nanoseconds; undefined when it has none, or runs. */
export function tookOf(s: Step): number | undefined {
  if (!s.started_at || !s.ended_at) return undefined;
  return Math.max(0, Date.parse(s.ended_at) - Date.parse(s.started_at)) * 1e6;
}

/** "40 %" or "12 of 30"; undefined when the step has said nothing. */
export function progressOf(s: Step): string | undefined {
  const p = s.progress;
  if (!p || s.state !== 'in_progress') return undefined;
  return p.total ? `${Math.floor((100 * p.done) / p.total)} %` : `${p.done}`;
}

/** What a graph shows of a step. */
export function dagStep(s: Step): DagStep {
  const took = tookOf(s);
  const progress = progressOf(s);
  const over = s.state === 'complete' && !s.skipped && !s.inherited && took !== undefined;
  const note = over
    ? `complete · ${duration(took)}`
    : progress
      ? `running · ${progress}`
      : s.inherited
        ? 'taken over'
        : undefined;
  return {
    name: s.name,
    state: s.state,
    attempt: s.attempt,
    ...(s.depends_on ? { dependsOn: s.depends_on } : {}),
    ...(s.skipped ? { skipped: true } : {}),
    ...(s.ready ? { ready: true } : {}),
    ...(s.retry_at ? { retryAt: s.retry_at } : {}),
    ...(note ? { note } : {}),
  };
}

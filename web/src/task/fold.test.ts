// biome-ignore-all lint/style/noNonNullAssertion: the indices come from the arrays themselves
import { describe, expect, it } from 'vitest';
import { evolveStep, Fold, isBefore, newStep, type TaskEvent } from './fold';

let sequence = 0;
const at = (s: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, s)).toISOString();
const event = (type: string, rest: Partial<TaskEvent> = {}): TaskEvent => ({
  id: `00-${++sequence}-0`,
  type,
  at: at(sequence),
  ...rest,
});
const start = (step: string, attempt = 1) => event('step.execution_requested', { step, attempt });
const done = (step: string, attempt = 1) => event('step.completed', { step, attempt });
const fail = (step: string, attempt: number, data: object) =>
  event('step.failed', { step, attempt, data: { error: { message: 'no', kind: 'failed' }, ...data } });

const story = () => [
  event('task.created'),
  event('task.start_requested'),
  start('a'),
  fail('a', 1, { retry_at: at(90) }),
  event('workflow.task_reenqueue_delayed', { data: { reason: 'retry_backoff', until: at(90) } }),
  event('step.retry_requested', { step: 'a' }),
  event('task.start_requested', { data: { again: true } }),
  start('a', 2),
  done('a', 2),
  start('b'),
  fail('b', 1, {}),
  event('task.failed', { data: { reason: 'steps_in_error_state' } }),
  event('step.retry_requested', { step: 'b', data: { new_round: true } }),
  event('task.retry_requested'),
  event('task.start_requested'),
  start('b', 2),
  done('b', 2),
  event('task.completed'),
];

describe('fold', () => {
  it('tells the story of a task event by event', () => {
    const f = new Fold([{ name: 'a' }, { name: 'b' }], story());
    const told = f.events.map((_, i) => {
      const m = f.at(i + 1);
      return `${m.task.state}${m.task.waiting ? `(${m.task.waiting})` : ''} ${m.steps.map((s) => `${s.state}${s.attempt}`).join(' ')}`;
    });
    expect(told).toEqual([
      'pending pending0 pending0',
      'in_progress pending0 pending0',
      'in_progress in_progress1 pending0',
      'in_progress error1 pending0',
      'pending(retry_backoff) error1 pending0',
      'pending(retry_backoff) pending1 pending0',
      'in_progress pending1 pending0',
      'in_progress in_progress2 pending0',
      'in_progress complete2 pending0',
      'in_progress complete2 in_progress1',
      'in_progress complete2 error1',
      'error complete2 error1',
      'error complete2 pending1',
      'pending complete2 pending1',
      'in_progress complete2 pending1',
      'in_progress complete2 in_progress2',
      'in_progress complete2 complete2',
      'complete complete2 complete2',
    ]);
    expect(f.at(18).task.round).toBe(2);
    expect(f.at(4).steps[0]).toMatchObject({ retryAt: Date.parse(at(90)), error: { message: 'no' } });
    expect(f.at(99).events).toBe(18);
    expect(f.at(-1).events).toBe(0);
  });

  it('gives the same moment whichever way one came', () => {
    const events: TaskEvent[] = [];
    const names = Array.from({ length: 40 }, (_, i) => ({ name: `s${i}` }));
    for (let attempt = 1; attempt <= 30; attempt++) {
      for (const { name } of names)
        events.push(
          start(name, attempt),
          fail(name, attempt, { retry_at: at(1) }),
          event('step.retry_requested', { step: name }),
        );
    }
    const f = new Fold(names, events);
    const jumps = [3600, 0, 1, 255, 256, 257, 3599, 511, 512, 1800, 7];
    for (const n of jumps) expect(f.at(n), `after ${n}`).toEqual(new Fold(names, events.slice(0, n)).at(n));
  });

  it('leaves steps as they are when an event does not apply', () => {
    const s = newStep('a');
    for (const e of [
      done('a'),
      fail('a', 1, {}),
      event('step.retry_requested', { step: 'a' }),
      event('step.unheard_of', { step: 'a' }),
    ])
      expect(evolveStep(s, e)).toBe(s);
    const running = evolveStep(s, start('a'));
    expect(evolveStep(running, done('a', 2))).toBe(running);
    expect(evolveStep(running, event('step.resolved_manually', { step: 'a' }))).toBe(running);
    expect(evolveStep(evolveStep(running, done('a')), event('step.cancelled', { step: 'a' })).state).toBe('complete');
  });

  it('takes hostile data for nothing', () => {
    const running = evolveStep(newStep('a'), start('a'));
    const odd = evolveStep(
      running,
      event('step.progressed', { step: 'a', attempt: 1, data: { done: 'many', total: null } }),
    );
    expect(odd.progress).toEqual({ done: 0, total: 0, message: '' });
    expect(
      evolveStep(running, event('step.failed', { step: 'a', attempt: 1, data: { retry_at: 'never' } })).retryAt,
    ).toBeUndefined();
    const f = new Fold([{ name: 'a' }], [start('nobody'), { id: '', type: '', at: '' }]);
    expect(f.at(2).steps[0]).toEqual(newStep('a'));
  });

  it('takes what a fork inherits as complete', () => {
    expect(evolveStep(newStep('a'), event('step.inherited', { step: 'a', data: { skipped: true } }))).toMatchObject({
      state: 'complete',
      inherited: true,
      skipped: true,
    });
  });

  it('takes what a fork inherits resolved as resolved', () => {
    expect(evolveStep(newStep('a'), event('step.inherited', { step: 'a', data: { resolved: true } })).state).toBe(
      'resolved_manually',
    );
  });

  it('orders events by number, not by letters', () => {
    expect(isBefore('00-9-0', '00-10-0')).toBe(true);
    expect(isBefore('00-10-2', '00-10-10')).toBe(true);
    expect(isBefore('00-10-0', '00-10-0')).toBe(false);
    expect(isBefore('x', '00-10-0')).toBe(false);
  });

  it('finds the place of an event', () => {
    const events = story();
    expect(new Fold([], events).place(events[3]!.id)).toBe(3);
    expect(new Fold([], events).place('00-0-0')).toBe(-1);
    const commit = ['00-7-1', '00-7-2', '00-70-0'].map((id) => ({ ...event('task.annotated'), id }));
    expect(new Fold([], commit).place('00-7-0')).toBe(1);
    expect(new Fold([], commit).place('00-7-3')).toBe(-1);
  });
});

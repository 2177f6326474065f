// biome-ignore-all lint/style/noNonNullAssertion: the indices come from the arrays themselves
import { describe, expect, it } from 'vitest';
import type { TaskEvent } from './fold';
import { span, ticks, timelineOf } from './timeline';

const zero = Date.UTC(2026, 0, 1);
const event = (s: number, type: string, rest: Partial<TaskEvent> = {}): TaskEvent => ({
  id: `00-${s + 1}-0`,
  type,
  at: new Date(zero + s * 1000).toISOString(),
  ...rest,
});
const start = (s: number, step: string, attempt = 1) => event(s, 'step.execution_requested', { step, attempt });
const done = (s: number, step: string, attempt = 1) => event(s, 'step.completed', { step, attempt });
const shapes = [{ name: 'a' }, { name: 'b', depends_on: ['a'] }];

const told = (events: TaskEvent[], of = shapes) =>
  timelineOf(of, events).rows.map(
    (r) =>
      `${r.name}: ${r.segments.map((s) => `${s.kind}${s.attempt ?? ''} ${(s.from - zero) / 1000}-${s.to === undefined ? '' : (s.to - zero) / 1000}${s.outcome ? ` ${s.outcome}` : ''}`).join(', ')}`,
  );

describe('timeline', () => {
  it('tells waiting for parents, queued, running, backoff and stopped apart', () => {
    expect(
      told([
        event(0, 'task.created'),
        start(2, 'a'),
        event(5, 'step.failed', { step: 'a', attempt: 1, data: { retry_at: 'soon' } }),
        event(9, 'step.retry_requested', { step: 'a' }),
        start(10, 'a', 2),
        done(12, 'a', 2),
        start(13, 'b'),
        event(15, 'step.failed', { step: 'b', attempt: 1 }),
        event(15, 'task.failed'),
        event(20, 'step.retry_requested', { step: 'b' }),
        start(20, 'b', 2),
      ]),
    ).toEqual([
      'a: queued 0-2, running1 2-5 failed, backoff 5-9, queued 9-10, running2 10-12 completed',
      'b: parents 0-12, queued 12-13, running1 13-15 failed, stopped 15-20, running2 20-',
    ]);
  });

  it('counts attempts and failures', () => {
    const rows = timelineOf(shapes, [
      event(0, 'task.created'),
      start(1, 'a'),
      event(2, 'step.failed', { step: 'a', data: { retry_at: 'x' } }),
      start(3, 'a', 2),
    ]).rows;
    expect(rows[0]).toMatchObject({ attempts: 2, failures: 1 });
  });

  it('lets the children of an optional step go on when it has failed or was cancelled', () => {
    const optional = [
      { name: 'a', optional: true },
      { name: 'b', depends_on: ['a'] },
    ];
    expect(
      told(
        [event(0, 'task.created'), start(1, 'a'), event(2, 'step.failed', { step: 'a' }), start(3, 'b')],
        optional,
      )[1],
    ).toBe('b: parents 0-2, queued 2-3, running1 3-');
    expect(
      told([event(0, 'task.created'), event(2, 'step.cancelled', { step: 'a' }), start(3, 'b')], optional)[1],
    ).toBe('b: parents 0-2, queued 2-3, running1 3-');
  });

  it('ends everything with the task', () => {
    expect(
      told([
        event(0, 'task.created'),
        start(1, 'a'),
        event(4, 'task.cancelled'),
        event(4, 'step.cancelled', { step: 'a' }),
      ]),
    ).toEqual(['a: queued 0-1, running1 1-4 cancelled', 'b: parents 0-4']);
  });

  it('says when the task was paused', () => {
    const t = timelineOf(shapes, [
      event(0, 'task.created'),
      event(1, 'task.paused'),
      event(3, 'task.resumed'),
      event(4, 'task.paused'),
    ]);
    expect(t.pauses).toEqual([{ from: zero + 1000, to: zero + 3000 }, { from: zero + 4000 }]);
  });

  it('passes over what it does not know and what has no time', () => {
    expect(
      told([event(0, 'task.created'), { id: 'x', type: 'step.completed', step: 'a', at: 'noon' }, start(1, 'nobody')]),
    ).toEqual(['a: queued 0-', 'b: parents 0-']);
    expect(timelineOf(shapes, []).rows[0]!.segments).toEqual([]);
  });

  it('costs no more than events and edges', () => {
    const wide = [
      { name: 'root' },
      ...Array.from({ length: 5000 }, (_, i) => ({ name: `w${i}`, depends_on: ['root'] })),
    ];
    const events = [
      event(0, 'task.created'),
      start(0, 'root'),
      done(1, 'root'),
      ...wide.slice(1).flatMap((s, i) => [start(2 + i, s.name), done(3 + i, s.name)]),
    ];
    const t = timelineOf(wide, events);
    expect(t.rows[5000]!.segments.map((s) => s.kind)).toEqual(['parents', 'queued', 'running']);
  });
});

describe('axis', () => {
  it('has round ticks that are far enough apart', () => {
    expect(ticks(10_000, 1000)).toEqual([0, 2000, 4000, 6000, 8000, 10_000]);
    expect(ticks(0, 1000)).toEqual([0]);
    for (const length of [3, 777, 61_000, 4e6, 9e8, 3e10]) {
      const t = ticks(length, 1200);
      expect(t.length).toBeGreaterThan(1);
      expect(t.length).toBeLessThan(13);
    }
  });

  it('says times in words that fit', () => {
    expect([0, 0.25, 12.34, 999, 1500, 61_000, 3_600_000, 3_660_000, 90_000_000].map(span)).toEqual([
      '0',
      '250 µs',
      '12.3 ms',
      '999 ms',
      '1.5 s',
      '1 min 1 s',
      '1 h',
      '1 h 1 min',
      '1 d 1 h',
    ]);
  });
});

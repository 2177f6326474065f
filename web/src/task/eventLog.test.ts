import { describe, expect, it } from 'vitest';
import { EventLog } from './eventLog';
import type { TaskEvent } from './fold';

const events = (from: number, to: number): TaskEvent[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({
    id: `00-${from + i}-0`,
    type: 'step.progressed',
    at: '2026-01-01T00:00:00Z',
  }));
const ids = (log: EventLog) => log.state().events.map((e) => Number(e.id.split('-')[1]));

describe('the log of a task', () => {
  it('puts live events behind the history, whichever came first, and none twice', () => {
    const log = new EventLog();
    log.append(events(4, 7), 0);
    expect(log.state()).toMatchObject({ events: [], ready: false });
    log.read(events(1, 5));
    expect(ids(log)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    log.append(events(6, 9), 0);
    expect(ids(log)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('keeps live events when the history is read again and was behind', () => {
    const log = new EventLog();
    log.read(events(1, 5));
    log.append(events(6, 9), 0);
    log.read(events(1, 7));
    expect(ids(log)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('stays bounded, and says how many it has let go', () => {
    const log = new EventLog();
    log.keep = 100;
    log.read(events(1, 50));
    for (let at = 51; at < 100_000; at += 40) {
      log.append(events(at, at + 39), 0);
      expect(log.state().events.length).toBeLessThanOrEqual(120);
    }
    const s = log.state();
    expect(s.older + s.events.length).toBe(Number(s.events.at(-1)?.id.split('-')[1]));
  });

  it('stays bounded before the history is read', () => {
    const log = new EventLog();
    log.keep = 10;
    log.append(events(1, 500), 0);
    log.read([]);
    expect(ids(log)).toEqual(Array.from({ length: 10 }, (_, i) => 491 + i));
  });

  it('says that events are missing until the history is read again', () => {
    const log = new EventLog();
    log.read(events(1, 2));
    log.append(events(9, 9), 6);
    expect(log.state().hole).toBe(true);
    log.read(events(1, 9));
    expect(log.state().hole).toBe(false);
    log.doubt();
    expect(log.state().hole).toBe(true);
  });

  it('tells listeners of changes, and of nothing else', () => {
    const log = new EventLog();
    let told = 0;
    const stop = log.subscribe(() => told++);
    log.read(events(1, 3));
    log.append(events(2, 3), 0);
    log.append(events(4, 4), 0);
    stop();
    log.append(events(5, 5), 0);
    expect(told).toBe(2);
  });
});

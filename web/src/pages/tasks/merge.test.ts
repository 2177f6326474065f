import { describe, expect, it } from 'vitest';
import type { State, TaskPage, TaskRow } from '../../api/types';
import { countNew, type ListPage, mergePage } from './merge';

const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
const row = (id: number, state: State = 'in_progress', position = '00-1-0'): TaskRow => ({
  id: `t${id}`,
  namespace: 'default',
  name: 'x',
  version: '1.0.0',
  state,
  round: 1,
  created_at: at(id),
  updated_at: at(id),
  steps: { total: 1 },
  position,
});
const lag = { covered: 'c', commits: 0 };
const page = (rows: TaskRow[], next = ''): ListPage & TaskPage => ({ tasks: rows, next, lag });
const show = (p: ListPage) => p.tasks.map((r) => `${r.id}${r.gone ? '!' : ''}:${r.state}`);

describe('a fresh answer', () => {
  it('changes rows in their places, and leaves the others the same objects', () => {
    const old = page([row(9), row(8), row(7)]);
    const merged = mergePage(old, page([row(9), row(8, 'complete', '00-2-0'), row(7)]), 'created', false);
    expect(show(merged)).toEqual(['t9:in_progress', 't8:complete', 't7:in_progress']);
    expect(merged.tasks[0]).toBe(old.tasks[0]);
    expect(merged.tasks[2]).toBe(old.tasks[2]);
  });

  it('that says nothing new changes nothing at all', () => {
    const old = page([row(9), row(8)]);
    expect(mergePage(old, page([row(9), row(8)]), 'created', false)).toBe(old);
  });

  it('does not put new rows in, which would move what is being read', () => {
    expect(show(mergePage(page([row(9)]), page([row(11), row(10), row(9)]), 'created', false))).toEqual([
      't9:in_progress',
    ]);
  });

  it('marks what the filter does not take any more', () => {
    const merged = mergePage(page([row(9), row(8), row(7)]), page([row(9), row(7)]), 'created', false);
    expect(show(merged)).toEqual(['t9:in_progress', 't8!:in_progress', 't7:in_progress']);
  });

  it('does not mark what new rows have only pushed beyond its end', () => {
    const fresh = page([row(11), row(10), row(9)], 'more');
    expect(show(mergePage(page([row(9), row(8), row(7)], 'more'), fresh, 'created', false))).toEqual([
      't9:in_progress',
      't8:in_progress',
      't7:in_progress',
    ]);
  });

  it('knows where the end is in both orders', () => {
    const old = page([row(1), row(2), row(3)], 'more');
    const fresh = page([row(1), row(3)], 'more');
    expect(show(mergePage(old, fresh, 'created', true))).toEqual([
      't1:in_progress',
      't2!:in_progress',
      't3:in_progress',
    ]);
  });

  it('takes a mark away when the row is back', () => {
    const gone = mergePage(page([row(9), row(8)]), page([row(9)]), 'created', false);
    expect(show(mergePage(gone, page([row(9), row(8)]), 'created', false))).toEqual([
      't9:in_progress',
      't8:in_progress',
    ]);
  });

  it('of nothing marks everything', () => {
    expect(show(mergePage(page([row(2), row(1)]), page([]), 'created', false))).toEqual([
      't2!:in_progress',
      't1!:in_progress',
    ]);
  });
});

describe('new rows', () => {
  it('are counted over all pages, once', () => {
    expect(countNew([page([row(5)]), page([row(4)])], page([row(7), row(6), row(5), row(4)]))).toBe(2);
    expect(countNew([], page([]))).toBe(0);
  });
});

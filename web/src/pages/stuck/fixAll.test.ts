import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../../api/client';
import type { StuckGroup, StuckTask } from '../../api/types';
import type { Fix } from '../../components/fix';
import { said } from './FixAllButton';
import { collect, fixAll, isOf, type Progress } from './fixAll';

const group: StuckGroup = {
  reason: 'task_failed',
  severity: 12,
  tasks: 3,
  namespace: 'shop',
  name: 'refund',
  step: 'pay',
  text: 'x',
  fix: 'tasker task retry t0',
};
const task = (id: string, more: Partial<StuckTask> = {}): StuckTask => ({
  task: id,
  name: 'refund',
  namespace: 'shop',
  state: 'error',
  reason: 'task_failed',
  step: 'pay',
  text: 'x',
  fix: `tasker task retry ${id}`,
  ...more,
});
const fixes = (n: number): Fix[] => Array.from({ length: n }, (_, i) => ({ task: `t${i}`, step: '', verb: 'retry' }));
const refusal = (status: number, code: string) => new ApiError({ status, code, detail: '' });

describe('a task is of a cause', () => {
  it('by its step, else by the definition, else by its words or because it is named', () => {
    expect([isOf(group, task('a')), isOf(group, task('a', { step: 'tell' }))]).toEqual([true, false]);
    expect(isOf({ ...group, step: undefined }, task('a', { step: 'tell' }))).toBe(true);
    const nameless = { ...group, step: undefined, name: undefined, examples: ['b'] };
    expect([
      isOf(nameless, task('a')),
      isOf(nameless, task('b', { text: 'y' })),
      isOf(nameless, task('c', { text: 'y' })),
    ]).toEqual([true, true, false]);
  });
});

describe('the tasks of a cause', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('are collected over all pages: only those that the same verb fixes', async () => {
    const pages = [
      {
        tasks: [task('a'), task('b', { step: 'tell' }), task('c', { fix: 'tasker task resume c' })],
        next: 'p 2',
        groups: [],
      },
      { tasks: null, next: 'p3', groups: [] },
      { tasks: [task('d'), task('e', { fix: undefined })], groups: [] },
    ];
    const asked: string[] = [];
    vi.stubGlobal('fetch', async (url: string) => {
      asked.push(url);
      return new Response(JSON.stringify(pages[asked.length - 1]));
    });
    expect((await collect(group, '')).map((f) => f.task)).toEqual(['a', 'd']);
    expect(asked).toEqual([
      '/api/v1/stuck?namespace=shop&name=refund&reason=task_failed&limit=500',
      '/api/v1/stuck?namespace=shop&name=refund&reason=task_failed&limit=500&after=p+2',
      '/api/v1/stuck?namespace=shop&name=refund&reason=task_failed&limit=500&after=p3',
    ]);
  });
});

describe('the same verb for all', () => {
  it('is done once to each, a few at a time, and what is refused does not stop the rest', async () => {
    let [running, most] = [0, 0];
    const done: string[] = [];
    const told: Progress[] = [];
    const result = await fixAll(
      fixes(20),
      async (f) => {
        most = Math.max(most, ++running);
        await Promise.resolve();
        running--;
        done.push(f.task);
        if (f.task === 't3' || f.task === 't4') throw refusal(409, 'refused');
        if (f.task === 't5') throw refusal(404, 'task_not_found');
        return { changed: f.task !== 't6' };
      },
      (p) => told.push(p),
    );
    expect(done.toSorted()).toEqual(
      fixes(20)
        .map((f) => f.task)
        .toSorted(),
    );
    expect(most).toBe(4);
    expect(told).toHaveLength(20);
    expect(said(result)).toBe('16 of 20 changed; not done: 2 refused, 1 task_not_found');
  });

  it.each([
    [0, 'unreachable'],
    [403, 'forbidden'],
    [503, 'overloaded'],
  ])('ends when the rest would fare no better: %i %s', async (status, code) => {
    let calls = 0;
    const act = async () => {
      calls++;
      throw refusal(status, code);
    };
    await expect(fixAll(fixes(100), act, () => {})).rejects.toMatchObject({ code });
    expect(calls).toBeLessThanOrEqual(4);
  });

  it('of nothing is done at once', async () => {
    expect(
      said(
        await fixAll(
          [],
          () => Promise.reject(new Error('not called')),
          () => {},
        ),
      ),
    ).toBe('0 of 0 changed');
  });
});

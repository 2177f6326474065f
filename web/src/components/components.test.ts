// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import { safeNext } from '../pages/LoginPage';
import { keepSamples, ratesBetween, type Sample } from '../pages/system/rates';
import { parseFix } from './fix';
import { bytes, count, duration, exact, few, percent, relative, shortId } from './format';
import { reasonFlag, shellQuote } from './ReasonDialog';
import { shownOfStep, shownOfTask } from './StateBadge';

describe('a duration', () => {
  it.each([
    [0, '0 ns'],
    [999, '999 ns'],
    [1_234, '1.23 µs'],
    [1_500_000, '1.5 ms'],
    [999_999_999, '999 ms'],
    [1_000_000_000, '1 s'],
    [59_999_999_999, '59.9 s'],
    [60e9, '1 m'],
    [125e9, '2 m 5 s'],
    [3_600e9, '1 h'],
    [7_500e9, '2 h 5 m'],
    [90_000e9, '1 d 1 h'],
    [-2e9, '-2 s'],
    [Number.NaN, '–'],
  ])('of %d ns is %s', (ns, text) => {
    expect(duration(ns)).toBe(text);
  });
});

describe('a time', () => {
  it('is said from now, roughly', () => {
    const now = Date.UTC(2026, 0, 2);
    expect([now, now - 999, now - 61_000, now + 5_400_000, now - 200_000_000].map((t) => relative(t, now))).toEqual([
      'now',
      'now',
      '1 m ago',
      'in 1 h',
      '2 d ago',
    ]);
  });

  it('is said exactly in UTC, wherever the browser is', () => {
    expect(exact('2026-01-02T03:04:05.678901Z', true)).toBe('2026-01-02 03:04:05.678 UTC');
    expect(exact('not a time')).toBe('not a time');
  });
});

describe('a number', () => {
  it('is short and the same everywhere', () => {
    expect([0, 999, 1_000, 1_234_567].map(count)).toEqual(['0', '999', '1,000', '1,234,567']);
    expect([9_999, 12_345, 123_456, 1_234_567].map(few)).toEqual(['9,999', '12.3k', '123k', '1.2M']);
    expect([0, 1023, 1024, 15_000_000].map(bytes)).toEqual(['0 B', '1023 B', '1.00 KiB', '14.3 MiB']);
    expect(shortId('01890a5d-ac96-774b-bcce-b302099a8058')).toBe('…099a8058');
  });

  it('is never 100 % of what has failed once', () => {
    expect([0, 0.5, 0.99999, 1].map(percent)).toEqual(['0.0 %', '50.0 %', '99.9 %', '100 %']);
  });
});

describe('the command of an explanation', () => {
  const id = '01890a5d-ac96-774b-bcce-b302099a8058';
  it.each([
    [`tasker task retry ${id}`, { task: id, step: '', verb: 'retry' }],
    [`tasker step resolve ${id} pay_back`, { task: id, step: 'pay_back', verb: 'resolve' }],
    [`tasker step complete ${id} pay --result '{}'`, { task: id, step: 'pay', verb: 'complete' }],
  ])('%s is a button too', (command, fix) => {
    expect(parseFix(command)).toEqual(fix);
  });

  it.each([
    undefined,
    '',
    'tasker serve',
    'tasker log skip 01 9',
    `tasker task annotate ${id}`,
    `tasker step retry ${id}`,
    `tasker step retry ${id} --reason`,
    `tasker step retry ${id} 'two words'`,
    `rm -rf / ${id}`,
    'tasker task retry --all',
  ])('%j is none', (command) => {
    expect(parseFix(command)).toBeUndefined();
  });
});

describe('a word for a shell', () => {
  it('is quoted when it has to be', () => {
    expect([shellQuote('a-b_c.d/e'), shellQuote("it's $HOME"), shellQuote('')]).toEqual([
      'a-b_c.d/e',
      "'it'\\''s $HOME'",
      "''",
    ]);
    expect([reasonFlag(''), reasonFlag('fixed; rm -rf')]).toEqual(['', " --reason 'fixed; rm -rf'"]);
  });
});

describe('the badge', () => {
  it('of a task says what is more telling than its state', () => {
    expect(shownOfTask({ state: 'in_progress', paused: true, waiting: 'retry_backoff' })).toBe('paused');
    expect(shownOfTask({ state: 'in_progress', waiting: 'retry_backoff' })).toBe('retrying');
    expect(shownOfTask({ state: 'error', paused: true })).toBe('error');
  });

  it('of a step tells a failure from a retry, and what waits for a slot from what waits for steps', () => {
    expect([
      shownOfStep({ state: 'error' }),
      shownOfStep({ state: 'error', retry_at: 'x' }),
      shownOfStep({ state: 'pending', ready: true }),
      shownOfStep({ state: 'pending' }),
      shownOfStep({ state: 'complete', skipped: true }),
    ]).toEqual(['error', 'retrying', 'ready', 'pending', 'skipped']);
  });
});

describe('rates', () => {
  const s = (at: number, commits: number, more: Partial<Sample> = {}): Sample => ({
    at,
    commits,
    events: commits * 3,
    bytes: 0,
    ackWaitNs: commits * 2e6,
    owners: 'a,a',
    ...more,
  });

  it('are what has grown, per second', () => {
    expect(ratesBetween(s(0, 100), s(2_000, 300))).toEqual({ commits: 100, events: 300, bytes: 0, ackNs: 2e6 });
    expect(ratesBetween(s(0, 100), s(2_000, 100))?.ackNs).toBeUndefined();
  });

  it('are unknown across a restart, a change of owner, and too short a time', () => {
    expect(ratesBetween(undefined, s(0, 1))).toBeUndefined();
    expect(ratesBetween(s(0, 100), s(2_000, 5))).toBeUndefined();
    expect(ratesBetween(s(0, 100), s(2_000, 300, { owners: 'a,b' }))).toBeUndefined();
    expect(ratesBetween(s(0, 100), s(50, 300))).toBeUndefined();
  });

  it('are made of so many samples and no more', () => {
    let kept: Sample[] = [];
    for (let i = 0; i < 10; i++) kept = keepSamples(kept, s(i, i), 3);
    expect(kept.map((k) => k.at)).toEqual([7, 8, 9]);
    expect(keepSamples(kept, s(9, 9), 3)).toBe(kept); // the same answer again
  });
});

describe('the way back after a login', () => {
  it.each([
    ['/tasks?state=error', '/tasks?state=error'],
    [null, '/tasks'],
    ['', '/tasks'],
    ['https://evil.example', '/tasks'],
    ['//evil.example/x', '/tasks'],
    ['/\\evil.example', '/tasks'],
    ['/login?next=/login', '/tasks'],
    ['javascript:alert(1)', '/tasks'],
  ])('from %j leads to %s', (next, to) => {
    expect(safeNext(next)).toBe(to);
  });
});

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Refresher } from './refresher';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('refresher', () => {
  it('reads at once, then once more for all changes during the rest', async () => {
    let reads = 0;
    const r = new Refresher(async () => reads++, 250);
    r.touch();
    expect(reads).toBe(1);
    for (let i = 0; i < 1000; i++) r.touch();
    await vi.advanceTimersByTimeAsync(249);
    expect(reads).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(reads).toBe(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(reads).toBe(2);
  });

  it('rests longer when reading takes long, and not for ever', async () => {
    let reads = 0;
    const r = new Refresher(() => new Promise((done) => setTimeout(done, 400, reads++)), 250, 1500);
    r.touch();
    r.touch();
    await vi.advanceTimersByTimeAsync(400 + 1499);
    expect(reads).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(reads).toBe(2);
  });

  it('goes on after an error, and ends when it is closed', async () => {
    let reads = 0;
    const r = new Refresher(async () => {
      reads++;
      throw new Error('away');
    });
    r.touch();
    await vi.advanceTimersByTimeAsync(300);
    r.touch();
    expect(reads).toBe(2);
    r.touch();
    r.close();
    r.touch();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(reads).toBe(2);
  });
});

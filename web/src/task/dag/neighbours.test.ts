import { describe, expect, it } from 'vitest';
import { layout } from './layout';
import { next } from './neighbours';

describe('neighbours', () => {
  const steps = [
    { name: 'root' },
    { name: 'a', dependsOn: ['root'] },
    { name: 'b', dependsOn: ['root'] },
    { name: 'join', dependsOn: ['a', 'b'] },
  ];
  const l = layout(steps);
  const walk = (from: number, ...ways: ('left' | 'right' | 'up' | 'down')[]) =>
    ways.reduce((at, way) => next(l, at, way), from);

  it('follows dependencies sideways and the layer up and down', () => {
    expect(walk(-1, 'down')).toBe(0);
    expect(walk(1, 'right')).toBe(3);
    expect(walk(3, 'left', 'left')).toBe(0);
    const [upper, lower] = (l.points[1]?.y ?? 0) < (l.points[2]?.y ?? 0) ? [1, 2] : [2, 1];
    expect(walk(upper ?? 0, 'down')).toBe(lower);
    expect(walk(lower ?? 0, 'up')).toBe(upper);
  });

  it('ends where there is nothing', () => {
    expect(next(l, 3, 'right')).toBe(-1);
    expect(next(l, 0, 'up')).toBe(-1);
    expect(next(layout([]), -1, 'down')).toBe(-1);
  });

  it('reaches every step of a layer that is folded into columns', () => {
    const wide = layout(Array.from({ length: 400 }, (_, i) => ({ name: `s${i}` })));
    let at = wide.points.findIndex((p) => wide.points.every((q) => p.x < q.x || (p.x === q.x && p.y <= q.y)));
    const seen = new Set<number>();
    for (; at >= 0; at = next(wide, at, 'down')) {
      expect(seen.has(at)).toBe(false);
      seen.add(at);
    }
    expect(seen.size).toBe(400);
  });
});

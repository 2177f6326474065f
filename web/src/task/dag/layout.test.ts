// biome-ignore-all lint/style/noNonNullAssertion: the indices come from the arrays themselves
import { describe, expect, it } from 'vitest';
import { type LayoutStep, layout } from './layout';

const chain = (n: number): LayoutStep[] =>
  Array.from({ length: n }, (_, i) => ({ name: `s${i}`, dependsOn: i ? [`s${i - 1}`] : [] }));
const fan = (n: number): LayoutStep[] => [
  { name: 'root' },
  ...Array.from({ length: n }, (_, i) => ({ name: `w${i}`, dependsOn: ['root'] })),
  { name: 'join', dependsOn: Array.from({ length: n }, (_, i) => `w${i}`) },
];
const diamonds = (n: number): LayoutStep[] => {
  const steps: LayoutStep[] = [{ name: 'j0' }];
  for (let i = 1; i <= n; i++) {
    steps.push(
      { name: `a${i}`, dependsOn: [`j${i - 1}`] },
      { name: `b${i}`, dependsOn: [`j${i - 1}`] },
      { name: `j${i}`, dependsOn: [`a${i}`, `b${i}`] },
    );
  }
  return steps;
};

function overlaps(steps: LayoutStep[]): number {
  const { points } = layout(steps);
  const seen = new Set<string>();
  let found = 0;
  // Nodes are 190 x 58: no two centres within one cell of that size, in any of its four neighbours.
  for (const p of points) {
    for (const [dx, dy] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ] as const) {
      const key = `${Math.floor(p.x / 190 + dx / 2)}:${Math.floor(p.y / 58 + dy / 2)}:${dx}${dy}`;
      if (seen.has(key)) found++;
      seen.add(key);
    }
  }
  return found;
}

describe('layout', () => {
  it('puts every step right of what it depends on, in graphs without bands', () => {
    const steps = [...diamonds(5), { name: 'late', dependsOn: ['j0', 'j5'] }];
    const l = layout(steps);
    for (const [i, parents] of l.parents.entries())
      for (const p of parents) expect(l.points[p]!.x).toBeLessThan(l.points[i]!.x);
    expect(l.layers[steps.length - 1]).toBe(11);
  });

  it('lets no two nodes overlap', () => {
    for (const steps of [chain(1), chain(300), fan(7), fan(400), diamonds(100), [...fan(30), ...chain(20)]])
      expect(overlaps(steps)).toBe(0);
  });

  it('keeps branches that do not cross apart from each other', () => {
    // Declared crosswise: a2 hangs on a, b2 on b.
    const l = layout([
      { name: 'a' },
      { name: 'b' },
      { name: 'b2', dependsOn: ['b'] },
      { name: 'a2', dependsOn: ['a'] },
    ]);
    expect(Math.sign(l.points[0]!.y - l.points[1]!.y)).toBe(Math.sign(l.points[3]!.y - l.points[2]!.y));
  });

  it('folds a long chain and a wide fan into something that fits a screen', () => {
    for (const steps of [chain(5000), fan(5000), diamonds(1666)]) {
      const l = layout(steps);
      expect(l.width / l.height).toBeGreaterThan(0.4);
      expect(l.width / l.height).toBeLessThan(6);
    }
  });

  it('is done with 5,000 steps long before a frame would notice many times over', () => {
    // Not an absolute time: ten times the steps may cost at most about ten times as much, with room for noise.
    const cost = (n: number) => {
      const steps = fan(n);
      const best = Array.from({ length: 5 }, () => {
        const from = performance.now();
        layout(steps);
        return performance.now() - from;
      });
      return Math.min(...best);
    };
    cost(500);
    expect(cost(5000)).toBeLessThan(Math.max(cost(500), 0.2) * 60);
  });

  it('passes over parents that do not exist, itself, and doubles', () => {
    const l = layout([
      { name: 'a', dependsOn: ['a', 'nobody'] },
      { name: 'b', dependsOn: ['a', 'a'] },
    ]);
    expect(l.parents).toEqual([[], [0]]);
  });

  it('ends with a cycle, and with nothing', () => {
    expect(
      layout([
        { name: 'a', dependsOn: ['b'] },
        { name: 'b', dependsOn: ['a'] },
      ]).layers,
    ).toEqual([0, 0]);
    expect(layout([])).toMatchObject({ points: [], width: 0 });
  });

  it('gives the same answer for the same question', () => {
    expect(layout(diamonds(20))).toEqual(layout(diamonds(20)));
  });
});

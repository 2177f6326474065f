// biome-ignore-all lint/style/noNonNullAssertion: the indices come from the layout
import type { Layout } from './layout';

export type Direction = 'left' | 'right' | 'up' | 'down';

/**
 * The step next to one in a direction: left and right follow dependencies, up and down stay in the layer. -1 when there
 * is none. Without a step to begin with it is the first one.
 */
export function next(l: Layout, from: number, direction: Direction): number {
  if (l.points.length === 0) return -1;
  if (from < 0) return 0;
  const here = l.points[from]!;
  const distance = (i: number) => {
    const p = l.points[i]!;
    return Math.abs(p.y - here.y) + Math.abs(p.x - here.x) / 1000;
  };
  const nearest = (candidates: Iterable<number>) => {
    let best = -1;
    for (const i of candidates) if (best < 0 || distance(i) < distance(best)) best = i;
    return best;
  };
  if (direction === 'left') return nearest(l.parents[from]!);
  if (direction === 'right') return nearest(l.children[from]!);
  const sign = direction === 'down' ? 1 : -1;
  const layer: number[] = [];
  for (const [i, p] of l.points.entries()) {
    if (l.layers[i] !== l.layers[from] || i === from) continue;
    // A layer of several columns is read column by column.
    const later = p.x === here.x ? (p.y - here.y) * sign > 0 : false;
    if (later) layer.push(i);
  }
  if (layer.length > 0) return nearest(layer);
  let best = -1;
  for (const [i, p] of l.points.entries()) {
    if (l.layers[i] !== l.layers[from] || (p.x - here.x) * sign <= 0) continue;
    const q = best < 0 ? undefined : l.points[best]!;
    if (!q || (p.x - q.x) * sign < 0 || (p.x === q.x && (p.y - q.y) * sign < 0)) best = i;
  }
  return best;
}

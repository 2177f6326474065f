// biome-ignore-all lint/style/noNonNullAssertion: the indices come from the arrays themselves
/**
 * A layered layout of a DAG, left to right: every step stands right of all steps it depends on (longest path), the
 * order within a layer comes from a few barycentre sweeps. It costs O(steps log steps + edges), so that thousands
 * of steps take milliseconds.
 *
 * Two shapes would be unreadable as they are, and are folded: a layer with very many steps (a fan-out of 1,000) becomes
 * several columns, and a graph with very many layers (a chain of 5,000) goes on in a new band below, like lines of text.
 */

export interface LayoutStep {
  name: string;
  dependsOn?: readonly string[] | undefined;
}

export interface Point {
  /** Centre of the node. */
  x: number;
  y: number;
}

export interface Layout {
  /** By index of the step. */
  points: Point[];
  /** By index of the step, from 0. */
  layers: number[];
  /** Parents and children, by index. Names that no step has are left out. */
  parents: number[][];
  children: number[][];
  width: number;
  height: number;
}

export interface LayoutOptions {
  nodeWidth?: number;
  nodeHeight?: number;
  gapX?: number;
  gapY?: number;
  /** Width over height that folding aims at. */
  aspect?: number;
  /** A layer with more steps than this is folded into columns. */
  tallest?: number;
}

const sweeps = 4;

interface Graph {
  parents: number[][];
  children: number[][];
}

function graphOf(steps: readonly LayoutStep[]): Graph {
  const index = new Map<string, number>();
  for (const [i, s] of steps.entries()) index.set(s.name, i);
  const parents: number[][] = steps.map(() => []);
  const children: number[][] = steps.map(() => []);
  steps.forEach((s, i) => {
    for (const name of new Set(s.dependsOn ?? [])) {
      const p = index.get(name);
      if (p === undefined || p === i) continue;
      parents[i]!.push(p);
      children[p]!.push(i);
    }
  });
  return { parents, children };
}

/** The longest way from a root, by step. Steps of a cycle, which no definition has, go to layer 0. */
function longestPaths(g: Graph): number[] {
  const n = g.parents.length;
  const layer = new Array<number>(n).fill(0);
  const open = g.parents.map((p) => p.length);
  const queue: number[] = [];
  for (let i = 0; i < n; i++) if (open[i] === 0) queue.push(i);
  for (let head = 0; head < queue.length; head++) {
    const i = queue[head]!;
    for (const c of g.children[i]!) {
      if (layer[c]! < layer[i]! + 1) layer[c] = layer[i]! + 1;
      if (--open[c]! === 0) queue.push(c);
    }
  }
  if (queue.length < n) for (let i = 0; i < n; i++) if (open[i]! > 0) layer[i] = 0;
  return layer;
}

/** Orders every layer by the mean place of its neighbours, to and fro. */
function order(g: Graph, layer: number[]): number[][] {
  const rows: number[][] = [];
  layer.forEach((l, i) => {
    while (rows.length <= l) rows.push([]);
    rows[l]!.push(i);
  });
  // Places are relative (0 to 1), because layers differ in size and edges may skip layers.
  const place = new Float64Array(layer.length);
  const number = (row: number[]) => {
    for (const [at, i] of row.entries()) place[i] = (at + 0.5) / row.length;
  };
  rows.forEach(number);
  const mean = new Float64Array(layer.length);
  const sweep = (row: number[], neighbours: number[][]) => {
    for (const i of row) {
      const near = neighbours[i]!;
      if (near.length === 0) {
        mean[i] = place[i]!;
        continue;
      }
      let sum = 0;
      for (const j of near) sum += place[j]!;
      mean[i] = sum / near.length;
    }
    row.sort((a, b) => mean[a]! - mean[b]! || a - b);
    number(row);
  };
  for (let s = 0; s < sweeps; s++) {
    if (s % 2 === 0) for (let l = 1; l < rows.length; l++) sweep(rows[l]!, g.parents);
    else for (let l = rows.length - 2; l >= 0; l--) sweep(rows[l]!, g.children);
  }
  return rows;
}

/** Heights of one column's nodes: near their parents, at least `pitch` apart, in the given order. */
function settle(column: number[], wanted: (i: number) => number, pitch: number): number[] {
  const ys: number[] = [];
  let drift = 0;
  column.forEach((i, at) => {
    const want = wanted(i);
    const y = at === 0 ? want : Math.max(want, ys[at - 1]! + pitch);
    drift += want - y;
    ys.push(y);
  });
  const shift = column.length > 0 ? drift / column.length : 0;
  return ys.map((y) => y + shift);
}

interface Column {
  layer: number;
  steps: number[];
}

/** Layers as columns: a layer that is too tall becomes several of about the same height, together of the wanted shape. */
function columnsOf(rows: number[][], tallest: number, square: number): Column[] {
  const columns: Column[] = [];
  rows.forEach((row, layer) => {
    const height = Math.max(tallest / 2, Math.ceil(Math.sqrt(row.length * square)));
    const parts = row.length <= tallest ? 1 : Math.ceil(row.length / height);
    const each = Math.ceil(row.length / parts);
    for (let at = 0; at < row.length; at += each) columns.push({ layer, steps: row.slice(at, at + each) });
  });
  return columns;
}

/** Lays the steps out. The answer depends on nothing but its arguments. */
export function layout(steps: readonly LayoutStep[], options: LayoutOptions = {}): Layout {
  const { nodeWidth = 190, nodeHeight = 58, gapX = 64, gapY = 22, aspect = 1.8, tallest = 24 } = options;
  const g = graphOf(steps);
  const layers = longestPaths(g);
  const pitchX = nodeWidth + gapX;
  const pitchY = nodeHeight + gapY;
  const columns = columnsOf(order(g, layers), tallest, pitchX / pitchY / aspect);
  const points: Point[] = steps.map(() => ({ x: 0, y: 0 }));

  // How many columns fit into a band, so that all bands together have about the wanted shape.
  const tallestColumn = columns.reduce((most, c) => Math.max(most, c.steps.length), 1);
  const bandHeight = (tallestColumn + 1) * pitchY;
  const perBand = Math.max(24, Math.ceil(Math.sqrt((columns.length * bandHeight * aspect) / pitchX)));

  let top = 0;
  let width = 0;
  for (let first = 0; first < columns.length; first += perBand) {
    const band = columns.slice(first, first + perBand);
    const folded = columns.length > perBand;
    let low = Infinity;
    let high = -Infinity;
    band.forEach((column, at) => {
      const lonely = folded || column.steps.length > tallest / 2;
      const middle = ((column.steps.length - 1) / 2) * pitchY;
      const ys = lonely
        ? column.steps.map((_, k) => k * pitchY - middle)
        : settle(column.steps, (i) => wantedHeight(g.parents[i]!, points), pitchY);
      column.steps.forEach((i, k) => {
        points[i] = { x: at * pitchX + nodeWidth / 2, y: ys[k]! };
        low = Math.min(low, ys[k]!);
        high = Math.max(high, ys[k]!);
      });
    });
    for (const column of band) for (const i of column.steps) points[i]!.y += top - low + nodeHeight / 2;
    top += high - low + nodeHeight + gapY * 2;
    width = Math.max(width, band.length * pitchX - gapX);
  }
  return { points, layers, ...g, width, height: Math.max(0, top - gapY * 2) };
}

function wantedHeight(parents: number[], points: Point[]): number {
  if (parents.length === 0) return 0;
  let sum = 0;
  for (const p of parents) sum += points[p]!.y;
  return sum / parents.length;
}

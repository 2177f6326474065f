// biome-ignore-all lint/style/noNonNullAssertion: the indices come from the layout of the same steps
import { type DagStep, type Drawing, type DrawingOptions, node, nodeText } from './drawing';
import { type Layout, layout } from './layout';
import { type Appearance, appearance, appearances, icons, type Palette, palette } from './look';
import { fitted, listen, type View, zoomed } from './view';

/** Names are written when they would be at least this large, in pixels of the screen. */
const legible = 5.5;
const fontSize = 13;
const settleAfter = 120; // milliseconds without movement until the edges are drawn anew

/**
 * Draws a graph of thousands of steps on a canvas of its own. Nodes are drawn for every picture, which takes some
 * milliseconds; edges are drawn once for a view, and that drawing is moved along while the view moves.
 */
export class LargePicture implements Drawing {
  readonly #element: HTMLElement;
  readonly #canvas = document.createElement('canvas');
  readonly #edges = document.createElement('canvas');
  readonly layout: Layout;
  readonly #onSelect: DrawingOptions['onSelect'];
  readonly #index = new Map<string, number>();
  readonly #looks: Appearance[];
  readonly #icons = new Map<Appearance, Path2D>();
  readonly #stop: () => void;
  readonly #observer: ResizeObserver;
  #steps: readonly DagStep[];
  #colours: Palette;
  readonly #plain: boolean; // the graph of a definition
  #selected = -1;
  #view: View = { x: 0, y: 0, k: 1 };
  #edgesView: View | undefined; // of what is drawn in #edges
  #frame = 0;
  #settle: ReturnType<typeof setTimeout> | undefined;
  #waiting: (() => void)[] = [];
  #touched = false; // the user has moved the view: a new size does not fit it again

  constructor(element: HTMLElement, steps: readonly DagStep[], options: DrawingOptions) {
    this.#element = element;
    this.#colours = palette(element);
    this.#onSelect = options.onSelect;
    this.#steps = steps;
    this.#looks = steps.map(appearance);
    this.#plain = steps.every((s) => s.state === undefined);
    for (const [i, s] of steps.entries()) this.#index.set(s.name, i);
    this.layout = layout(steps, { nodeWidth: node.width, nodeHeight: node.height });
    for (const a of appearances) this.#icons.set(a, new Path2D(icons[a]));
    this.#canvas.style.cssText = 'display:block;width:100%;height:100%;touch-action:none;cursor:grab';
    element.append(this.#canvas);
    this.#stop = listen(this.#canvas, {
      view: () => this.#view,
      move: (v) => this.#move(v),
      tap: (x, y) => this.#onSelect?.(this.#hit(x, y)),
    });
    this.#observer = new ResizeObserver(() => {
      if (this.#touched) this.#redraw();
      else this.fit();
    });
    this.#observer.observe(element);
    this.fit();
  }

  update(steps: readonly DagStep[]): void {
    this.#steps = steps;
    let changed = this.#view.k * fontSize >= legible; // then names and notes can be read, and may be others
    for (const [i, s] of steps.entries()) {
      const look = appearance(s);
      if (look === this.#looks[i]) continue;
      this.#looks[i] = look;
      changed = true;
    }
    if (changed) this.#ask();
  }

  select(name: string | undefined): void {
    this.#selected = name === undefined ? -1 : (this.#index.get(name) ?? -1);
    const p = this.layout.points[this.#selected];
    if (p) {
      const { width, height } = this.#size();
      const x = p.x * this.#view.k + this.#view.x;
      const y = p.y * this.#view.k + this.#view.y;
      if (x < 0 || y < 0 || x > width || y > height)
        this.#move({ ...this.#view, x: this.#view.x + width / 2 - x, y: this.#view.y + height / 2 - y });
    }
    this.#ask();
  }

  zoom(factor: number): void {
    const { width, height } = this.#size();
    this.#move(zoomed(this.#view, factor, { x: width / 2, y: height / 2 }));
  }

  pan(x: number, y: number): void {
    this.#move({ ...this.#view, x: this.#view.x + x, y: this.#view.y + y });
  }

  fit(): void {
    this.#view = fitted(this.layout, this.#size());
    this.#touched = false;
    this.#redraw();
  }

  recolour(): void {
    this.#colours = palette(this.#element);
    this.#redraw();
  }

  destroy(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#settle);
    this.#observer.disconnect();
    this.#stop();
    this.#canvas.remove();
    this.#waiting = [];
  }

  painted(then: () => void): void {
    this.#waiting.push(then);
    this.#ask();
  }

  #size(): { width: number; height: number } {
    return { width: this.#element.clientWidth, height: this.#element.clientHeight };
  }

  #redraw(): void {
    this.#edgesView = undefined;
    this.#ask();
  }

  #move(v: View): void {
    this.#view = v;
    this.#touched = true;
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => this.#redraw(), settleAfter);
    this.#ask();
  }

  #ask(): void {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #hit(x: number, y: number): string | undefined {
    const { x: left, y: top, k } = this.#view;
    // At least 6 pixels around the pointer count, or the nodes of a distant view could not be met.
    const reachX = Math.max(node.width / 2, 6 / k);
    const reachY = Math.max(node.height / 2, 6 / k);
    let best = -1;
    let least = Infinity;
    for (const [i, p] of this.layout.points.entries()) {
      const dx = Math.abs(p.x - (x - left) / k);
      const dy = Math.abs(p.y - (y - top) / k);
      if (dx <= reachX && dy <= reachY && dx + dy < least) {
        least = dx + dy;
        best = i;
      }
    }
    return this.#steps[best]?.name;
  }

  #draw(): void {
    this.#frame = 0;
    const { width, height } = this.#size();
    if (width === 0 || height === 0) return; // not on the screen: the observer asks again
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const w = Math.round(width * ratio);
    const h = Math.round(height * ratio);
    if (this.#canvas.width !== w || this.#canvas.height !== h) {
      this.#canvas.width = w;
      this.#canvas.height = h;
      this.#edgesView = undefined;
    }
    if (!this.#edgesView) this.#drawEdges(w, h, ratio);
    const c = this.#canvas.getContext('2d');
    if (!c) return;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, w, h);
    const old = this.#edgesView ?? this.#view;
    const scale = this.#view.k / old.k;
    c.setTransform(scale, 0, 0, scale, (this.#view.x - old.x * scale) * ratio, (this.#view.y - old.y * scale) * ratio);
    c.drawImage(this.#edges, 0, 0);
    c.setTransform(ratio * this.#view.k, 0, 0, ratio * this.#view.k, ratio * this.#view.x, ratio * this.#view.y);
    this.#drawNodes(c, this.#visible(width, height));
    const done = this.#waiting;
    this.#waiting = [];
    for (const then of done) then();
  }

  #drawEdges(w: number, h: number, ratio: number): void {
    this.#edges.width = w;
    this.#edges.height = h;
    this.#edgesView = this.#view;
    const c = this.#edges.getContext('2d');
    if (!c) return;
    const { x, y, k } = this.#view;
    const { points, parents } = this.layout;
    c.strokeStyle = this.#colours.line;
    c.lineWidth = Math.max(0.5, Math.min(1.5, 1.5 * k)) * ratio;
    c.globalAlpha = k < 0.2 ? 0.5 : 1;
    const half = node.width / 2;
    const screen = (p: number, by: number): [number, number] => [
      ((points[p]!.x + by) * k + x) * ratio,
      (points[p]!.y * k + y) * ratio,
    ];
    let pieces = 0;
    c.beginPath();
    for (const [i, of] of parents.entries()) {
      const [bx, by] = screen(i, -half);
      for (const p of of) {
        const [ax, ay] = screen(p, half);
        if (Math.max(ax, bx) < 0 || Math.min(ax, bx) > w || Math.max(ay, by) < 0 || Math.min(ay, by) > h) continue;
        c.moveTo(ax, ay);
        c.lineTo(bx, by);
        // Many short paths are painted faster than one very long one.
        if (++pieces % 500 === 0) {
          c.stroke();
          c.beginPath();
        }
      }
    }
    c.stroke();
  }

  #visible(width: number, height: number): number[] {
    const { x, y, k } = this.#view;
    const left = -x / k - node.width / 2;
    const top = -y / k - node.height / 2;
    const right = (width - x) / k + node.width / 2;
    const bottom = (height - y) / k + node.height / 2;
    const seen: number[] = [];
    for (const [i, p] of this.layout.points.entries())
      if (p.x > left && p.x < right && p.y > top && p.y < bottom) seen.push(i);
    return seen;
  }

  #drawNodes(c: CanvasRenderingContext2D, seen: number[]): void {
    const colours = this.#colours;
    const near = this.#view.k * fontSize >= legible;
    const { points } = this.layout;
    for (const a of appearances) {
      c.beginPath();
      for (const i of seen)
        if (this.#looks[i] === a)
          c.rect(points[i]!.x - node.width / 2, points[i]!.y - node.height / 2, node.width, node.height);
      c.fillStyle = near ? colours.ground[a] : colours.colour[a];
      c.fill();
      if (!near) continue;
      c.strokeStyle = colours.colour[a];
      c.lineWidth = 2;
      c.setLineDash(a === 'pending' && !this.#plain ? [6, 4] : []);
      c.stroke();
    }
    c.setLineDash([]);
    if (!near && node.width * this.#view.k >= 14) this.#mark(c, seen);
    if (near) for (const i of seen) this.#write(c, i, colours.ink, colours.colour[this.#looks[i]!]);
    const chosen = points[this.#selected];
    if (!chosen) return;
    c.strokeStyle = colours.chosen;
    c.lineWidth = Math.max(5, 3 / this.#view.k);
    c.strokeRect(chosen.x - node.width / 2, chosen.y - node.height / 2, node.width, node.height);
  }

  /** From afar, what is not simply pending or complete gets its icon: colour alone tells nobody enough. */
  #mark(c: CanvasRenderingContext2D, seen: number[]): void {
    const size = node.height * 0.8;
    for (const i of seen) {
      const look = this.#looks[i]!;
      if (look === 'pending' || look === 'complete') continue;
      const p = this.layout.points[i]!;
      c.save();
      c.translate(p.x - size / 2, p.y - size / 2);
      c.scale(size / 16, size / 16);
      c.strokeStyle = this.#colours.ground[look];
      c.lineWidth = 2.2;
      c.stroke(this.#icons.get(look)!);
      c.restore();
    }
  }

  #write(c: CanvasRenderingContext2D, i: number, ink: string, colour: string): void {
    const p = this.layout.points[i]!;
    const t = nodeText(this.#steps[i]!);
    const left = p.x - node.width / 2 - (t.plain ? 20 : 0);
    c.save();
    c.translate(left + 10, p.y - 9);
    c.scale(18 / 16, 18 / 16);
    c.strokeStyle = colour;
    c.lineWidth = 1.7;
    if (!t.plain) c.stroke(this.#icons.get(t.look)!);
    c.restore();
    c.fillStyle = ink;
    c.font = `${fontSize}px system-ui, sans-serif`;
    c.textBaseline = 'middle';
    c.fillText(t.name, left + 36, t.second ? p.y - 9 : p.y, node.width - 44);
    if (t.second) c.fillText(t.second, left + 36, p.y + 10, node.width - 44);
  }
}

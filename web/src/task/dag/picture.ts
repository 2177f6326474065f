import cytoscape, { type Core, type NodeSingular, type StylesheetJson } from 'cytoscape';
import { type DagStep, type Drawing, type DrawingOptions, node, nodeText } from './drawing';
import { type Layout, layout } from './layout';
import { type Appearance, appearances, iconUrl, type Palette, palette } from './look';

/** Draws a graph of up to some hundred steps with cytoscape. */
export class Picture implements Drawing {
  readonly layout: Layout;
  readonly #element: HTMLElement;
  readonly #cy: Core;
  readonly #shown = new Map<string, string>(); // what the node of a step shows, to touch only those that change
  readonly #observer: ResizeObserver;
  #selected: string | undefined;
  #touched = false; // the user has moved the view: a new size does not fit it again

  constructor(element: HTMLElement, steps: readonly DagStep[], options: DrawingOptions) {
    this.layout = layout(steps, { nodeWidth: node.width, nodeHeight: node.height });
    const { points, parents } = this.layout;
    this.#element = element;
    this.#cy = cytoscape({
      container: element,
      elements: {
        nodes: steps.map((s, i) => ({
          data: { id: s.name, ...this.#data(s) },
          position: { x: 0, y: 0, ...points[i] },
        })),
        edges: parents.flatMap((of, i) =>
          of.map((p) => ({ data: { id: `${p} > ${i}`, source: steps[p]?.name ?? '', target: steps[i]?.name ?? '' } })),
        ),
      },
      layout: { name: 'preset', fit: false },
      style: styles(palette(element)),
      minZoom: 0.02,
      maxZoom: 3,
      autoungrabify: true,
      boxSelectionEnabled: false,
      selectionType: 'single',
    });
    this.fit();
    this.#observer = new ResizeObserver(() => {
      if (this.#touched) this.#cy.resize();
      else this.fit();
    });
    this.#observer.observe(element);
    this.#cy.on('dragpan scrollzoom pinchzoom', () => {
      this.#touched = true;
    });
    this.#cy.on('tap', 'node', (e) => options.onSelect?.((e.target as NodeSingular).id()));
    this.#cy.on('tap', (e) => {
      if (e.target === this.#cy) options.onSelect?.(undefined);
    });
  }

  #data(s: DagStep): { look: Appearance | 'plain'; label: string } {
    const t = nodeText(s);
    const data = { look: t.plain ? ('plain' as const) : t.look, label: t.second ? `${t.name}\n${t.second}` : t.name };
    this.#shown.set(s.name, `${data.look}\n${data.label}`);
    return data;
  }

  update(steps: readonly DagStep[]): void {
    this.#cy.batch(() => {
      for (const s of steps) {
        const before = this.#shown.get(s.name);
        const data = this.#data(s);
        if (this.#shown.get(s.name) !== before) this.#cy.getElementById(s.name).data(data);
      }
    });
  }

  select(name: string | undefined): void {
    if (this.#selected !== undefined) this.#cy.getElementById(this.#selected).removeClass('chosen');
    this.#selected = name;
    if (name === undefined) return;
    const chosen = this.#cy.getElementById(name);
    chosen.addClass('chosen');
    if (chosen.empty()) return;
    const box = chosen.renderedBoundingBox();
    if (box.x1 < 0 || box.y1 < 0 || box.x2 > this.#cy.width() || box.y2 > this.#cy.height()) this.#cy.center(chosen);
  }

  zoom(factor: number): void {
    this.#touched = true;
    const middle = { x: this.#cy.width() / 2, y: this.#cy.height() / 2 };
    this.#cy.zoom({ level: this.#cy.zoom() * factor, renderedPosition: middle });
  }

  pan(x: number, y: number): void {
    this.#touched = true;
    this.#cy.panBy({ x, y });
  }

  fit(): void {
    this.#touched = false;
    this.#cy.resize();
    this.#cy.fit(undefined, 16);
    if (this.#cy.zoom() > 1) {
      this.#cy.zoom(1);
      this.#cy.center();
    }
  }

  recolour(): void {
    this.#cy.style(styles(palette(this.#element)));
  }

  destroy(): void {
    this.#observer.disconnect();
    this.#cy.destroy();
  }

  painted(then: () => void): void {
    this.#cy.one('render', then);
  }
}

function styles(colours: Palette): StylesheetJson {
  const base: StylesheetJson = [
    {
      selector: 'node',
      style: {
        shape: 'round-rectangle',
        width: node.width,
        height: node.height,
        'border-width': 2,
        label: 'data(label)',
        color: colours.ink,
        'font-family': 'system-ui, sans-serif',
        'font-size': 13,
        'line-height': 1.35,
        'text-wrap': 'wrap',
        'text-max-width': `${node.width - 44}px`,
        'text-halign': 'center',
        'text-valign': 'center',
        'border-color': colours.line,
        'background-color': colours.ground.pending,
        'min-zoomed-font-size': 5,
        'overlay-opacity': 0,
        'background-width': 18,
        'background-height': 18,
        'background-position-x': '10px',
        'background-position-y': '50%',
      },
    },
    {
      selector: 'edge',
      style: {
        width: 1.5,
        'line-color': colours.line,
        'curve-style': 'bezier',
        'target-arrow-shape': 'triangle',
        'target-arrow-color': colours.line,
        'arrow-scale': 0.9,
        events: 'no',
      },
    },
  ];
  for (const a of appearances) {
    base.push({
      selector: `node[look = "${a}"]`,
      style: {
        'border-color': colours.colour[a],
        'border-style': a === 'pending' ? 'dashed' : 'solid',
        'background-color': colours.ground[a],
        'background-image': iconUrl(a, colours.colour[a]),
        'text-margin-x': 12,
      },
    });
  }
  base.push({
    selector: 'node.chosen',
    style: { 'border-width': 5, 'border-style': 'solid', 'border-color': colours.chosen },
  });
  return base;
}

import { ActionIcon, Tooltip, useComputedColorScheme } from '@mantine/core';
import { type KeyboardEvent, type ReactNode, useEffect, useMemo, useRef, useState } from 'react';
import { ProblemAlert } from '../../components/Problem';
import { StateBadge } from '../../components/StateBadge';
import { type DagStep, type Drawing, type DrawingOptions, large } from './drawing';
import { appearance, appearances } from './look';
import { type Direction, next } from './neighbours';
import './dag.css';

export type { DagStep } from './drawing';

export interface DagProps {
  /** In the order of the definition. Without states it is the graph of a definition. */
  steps: readonly DagStep[];
  selected?: string | undefined;
  onSelect?: ((name: string | undefined) => void) | undefined;
  /** Of the drawing, for instance "60vh"; default 420px. */
  height?: string | undefined;
  /** What it is a graph of, for screen readers. */
  label?: string | undefined;
}

/**
 * The steps of a task or a definition and what depends on what. It is a drawing: whoever cannot see it needs a table of
 * the same steps beside it. Arrow keys walk along it, + and - zoom, 0 fits it in.
 */
export function Dag({ steps, selected, onSelect, height = '420px', label = 'Graph of the steps' }: DagProps) {
  const element = useRef<HTMLDivElement>(null);
  const { drawing, error, retry } = useDrawing(element, steps, selected, onSelect);

  const walk = (direction: Direction) => {
    if (!drawing) return;
    const from = steps.findIndex((s) => s.name === selected);
    const to = steps[next(drawing.layout, from, direction)];
    if (to) onSelect?.(to.name);
  };
  const onKeyDown = (e: KeyboardEvent) => {
    if (!drawing || e.ctrlKey || e.metaKey || e.altKey) return;
    const arrow = arrows[e.key];
    const pan = arrow && pans[arrow];
    if (arrow && pan && e.shiftKey) drawing.pan(...pan);
    else if (arrow) walk(arrow);
    else if (e.key === '+' || e.key === '=') drawing.zoom(1.3);
    else if (e.key === '-') drawing.zoom(1 / 1.3);
    else if (e.key === '0') drawing.fit();
    else if (e.key === 'Escape' && selected !== undefined) onSelect?.(undefined);
    else return;
    e.preventDefault();
    e.stopPropagation();
  };

  return (
    <div className="dag">
      <div
        className="dag-drawing"
        style={{ height }}
        role="group"
        aria-label={`${label}: arrow keys go from step to step, plus and minus zoom, 0 shows all`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it has keys of its own
        tabIndex={0}
        onKeyDown={onKeyDown}
        data-testid="dag"
      >
        <div ref={element} className="dag-canvas" />
        {error !== undefined && <ProblemAlert error={error} onRetry={retry} />}
        <div className="dag-tools">
          <Tool label="Zoom in" onClick={() => drawing?.zoom(1.4)} path={<path d="M8 3.5v9M3.5 8h9" />} />
          <Tool label="Zoom out" onClick={() => drawing?.zoom(1 / 1.4)} path={<path d="M3.5 8h9" />} />
          <Tool
            label="Show all"
            onClick={() => drawing?.fit()}
            path={<path d="M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10" />}
          />
        </div>
      </div>
      {steps.some((s) => s.state !== undefined) && <Legend steps={steps} />}
    </div>
  );
}

const arrows: Record<string, Direction | undefined> = {
  ArrowLeft: 'left',
  ArrowRight: 'right',
  ArrowUp: 'up',
  ArrowDown: 'down',
};
const pans: Record<Direction, [number, number]> = { left: [60, 0], right: [-60, 0], up: [0, 60], down: [0, -60] };

function Tool({ label, onClick, path }: { label: string; onClick: () => void; path: ReactNode }) {
  return (
    <Tooltip label={label} withArrow position="left">
      <ActionIcon variant="default" size="lg" onClick={onClick} aria-label={label}>
        <svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.6" aria-hidden>
          {path}
        </svg>
      </ActionIcon>
    </Tooltip>
  );
}

/** How many steps look how. */
function Legend({ steps }: { steps: readonly DagStep[] }) {
  const counts = new Map<string, number>();
  for (const s of steps) {
    const a = appearance(s);
    counts.set(a, (counts.get(a) ?? 0) + 1);
  }
  return (
    <ul className="dag-legend" aria-label="Legend: steps by state">
      {appearances
        .filter((a) => counts.has(a))
        .map((a) => (
          <li key={a}>
            <StateBadge state={a} /> {counts.get(a)}
          </li>
        ))}
    </ul>
  );
}

/** Keeps a drawing in the element that shows the steps; cytoscape is loaded only for graphs that it draws. */
function useDrawing(
  element: React.RefObject<HTMLDivElement | null>,
  steps: readonly DagStep[],
  selected: string | undefined,
  onSelect: DagProps['onSelect'],
): { drawing: Drawing | undefined; error: unknown; retry: () => void } {
  const [drawing, setDrawing] = useState<Drawing>();
  const [error, setError] = useState<unknown>();
  const [tries, setTries] = useState(0);
  const scheme = useComputedColorScheme('light');
  const shape = useMemo(() => steps.map((s) => `${s.name}:${s.dependsOn?.join() ?? ''}`).join('\n'), [steps]);
  const now = useRef({ steps, onSelect });
  useEffect(() => {
    now.current = { steps, onSelect };
  });

  // biome-ignore lint/correctness/useExhaustiveDependencies: another shape or another try needs another drawing
  useEffect(() => {
    const at = element.current;
    if (!at) return;
    const began = performance.now();
    let gone = false;
    let made: Drawing | undefined;
    delete at.dataset.painted;
    setError(undefined);
    void load(now.current.steps.length)
      .then((make) => {
        if (gone) return;
        made = make(at, now.current.steps, { onSelect: (name) => now.current.onSelect?.(name) });
        made.painted(() => {
          at.dataset.painted = String(Math.round(performance.now() - began)); // what the browser tests read
        });
        setDrawing(made);
      })
      .catch((e: unknown) => {
        if (!gone) setError(e);
      });
    return () => {
      gone = true;
      made?.destroy();
      setDrawing(undefined);
    };
  }, [shape, tries]);

  useEffect(() => drawing?.update(steps), [drawing, steps]);
  useEffect(() => drawing?.select(selected), [drawing, selected]);
  useEffect(() => {
    if (!drawing || !scheme) return;
    const frame = requestAnimationFrame(() => drawing.recolour()); // when the page has its new colours
    return () => cancelAnimationFrame(frame);
  }, [drawing, scheme]);
  return { drawing, error, retry: () => setTries((n) => n + 1) };
}

type Make = (element: HTMLElement, steps: readonly DagStep[], options: DrawingOptions) => Drawing;

async function load(steps: number): Promise<Make> {
  if (steps > large) {
    const { LargePicture } = await import('./largePicture');
    return (element, of, options) => new LargePicture(element, of, options);
  }
  const { Picture } = await import('./picture');
  return (element, of, options) => new Picture(element, of, options);
}

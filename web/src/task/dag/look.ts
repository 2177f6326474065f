import type { State } from '../../api/types';
import { type Shown, STATE_TEXT, shownOfStep } from '../../components/StateBadge';

export type Appearance = Exclude<Shown, 'paused'>;

/** How steps look in the graph: never by colour alone. The paths are drawn with lines, in a box of 16 by 16. */
export const icons: Record<Appearance, string> = {
  pending: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M8 4.5V8l2.5 1.5',
  ready: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M8 4.5V8l2.5 1.5',
  in_progress: 'M5 3.2 12.5 8 5 12.8Z',
  complete: 'M3 8.5 6.5 12 13 4.5',
  error: 'M8 2 1.5 13.5h13ZM8 6.5v3M8 11.6v.1',
  retrying: 'M13 8a5 5 0 1 1-1.5-3.5M13 2v3h-3',
  cancelled: 'M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M3.8 3.8l8.4 8.4',
  resolved_manually: 'M8 2.4a2.6 2.6 0 1 0 0 5.2A2.6 2.6 0 0 0 8 2.4M2.8 14c.5-3 2.6-4.4 5.2-4.4s4.7 1.4 5.2 4.4',
  skipped: 'M3 3.5 9 8l-6 4.5ZM12.5 3.5v9',
};

export const appearances = Object.keys(icons) as Appearance[];

export interface Seen {
  state?: State | undefined;
  skipped?: boolean | undefined;
  ready?: boolean | undefined;
  retryAt?: number | string | undefined;
}

/** What a step looks like: one that will be tried again has not failed for good, and a skipped one is not merely complete. */
export function appearance(s: Seen): Appearance {
  if (s.state === undefined) return 'pending';
  const shown = shownOfStep({
    state: s.state,
    ...(s.skipped ? { skipped: true } : {}),
    ...(s.ready ? { ready: true } : {}),
    ...(s.retryAt ? { retry_at: String(s.retryAt) } : {}),
  });
  return shown === 'paused' ? 'pending' : shown;
}

export const textOf = (a: Appearance): string => STATE_TEXT[a];

/** The icon as an address that a canvas can draw. */
export function iconUrl(a: Appearance, colour: string): string {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" width="32" height="32"><path fill="none" stroke="${colour}" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" d="${icons[a]}"/></svg>`;
  return `data:image/svg+xml;utf8,${encodeURIComponent(svg)}`;
}

export interface Palette {
  ink: string;
  line: string;
  chosen: string;
  colour: Record<Appearance, string>;
  ground: Record<Appearance, string>;
}

/** The colours of app.css, as they are for an element now. */
export function palette(element: Element): Palette {
  const style = getComputedStyle(element);
  const read = (name: string, otherwise: string) => style.getPropertyValue(name).trim() || otherwise;
  const each = (end: string, otherwise: string) =>
    Object.fromEntries(appearances.map((a) => [a, read(`--s-${a}${end}`, otherwise)])) as Record<Appearance, string>;
  return {
    ink: read('--t-text', '#1d2125'),
    line: read('--t-quiet', '#545b62'),
    chosen: read('--t-focus', '#1971c2'),
    colour: each('', '#4d545b'),
    ground: each('-ground', '#eceef0'),
  };
}

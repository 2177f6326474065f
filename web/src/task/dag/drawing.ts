import type { Layout } from './layout';
import { type Appearance, appearance, type Seen, textOf } from './look';

/** A step as the graph shows it. */
export interface DagStep extends Seen {
  name: string;
  dependsOn?: readonly string[] | undefined;
  attempt?: number | undefined;
  /** The second line, in place of the name of the state. */
  note?: string | undefined;
}

export interface DrawingOptions {
  onSelect?: ((name: string | undefined) => void) | undefined;
}

/** What draws a graph into an element. Other steps or other dependencies need a new one. */
export interface Drawing {
  readonly layout: Layout;
  /** Shows the steps as they are now. Costs what has changed. */
  update(steps: readonly DagStep[]): void;
  /** Marks a step, and brings it into view when it is not. */
  select(name: string | undefined): void;
  zoom(factor: number): void;
  pan(x: number, y: number): void;
  fit(): void;
  /** Takes the colours of the page as they are now. */
  recolour(): void;
  destroy(): void;
  /** Calls when the next picture is on the screen. */
  painted(then: () => void): void;
}

/** Graphs with more steps than this are drawn by LargePicture: a graph library takes seconds for a fan of 5,000. */
export const large = 150;

export const node = { width: 190, height: 58 };

export interface NodeText {
  look: Appearance;
  /** Of a step without a state: it looks like none. */
  plain: boolean;
  name: string;
  second: string;
}

export function nodeText(s: DagStep): NodeText {
  const look = appearance(s);
  const state = s.note ?? (s.state === undefined ? '' : textOf(look));
  const tries = s.attempt !== undefined && s.attempt > 1 ? `${state ? ' · ' : ''}try ${s.attempt}` : '';
  return { look, plain: s.state === undefined, name: shortened(s.name), second: state + tries };
}

/** A name that fits: both ends of a long one, because many names differ at their end. */
export function shortened(name: string, most = 22): string {
  if (name.length <= most) return name;
  const tail = Math.floor((most - 1) * 0.45);
  return `${name.slice(0, most - 1 - tail)}…${name.slice(-tail)}`;
}

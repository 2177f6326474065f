import type { ReactNode } from 'react';
import type { State } from '../api/types';
import { IconAlert, IconBan, IconCheck, IconClock, IconPause, IconPerson, IconRetry, IconRun, IconSkip } from './icons';

/** What a badge can say: a state, or what is more telling than the state that it belongs to. */
export type Shown = State | 'paused' | 'skipped' | 'retrying' | 'ready';

export const STATE_TEXT: Record<Shown, string> = {
  pending: 'pending',
  in_progress: 'in progress',
  complete: 'complete',
  error: 'error',
  cancelled: 'cancelled',
  resolved_manually: 'resolved',
  paused: 'paused',
  skipped: 'skipped',
  retrying: 'retrying',
  ready: 'ready',
};

const ICONS: Record<Shown, (p: { size?: number }) => ReactNode> = {
  pending: IconClock,
  in_progress: IconRun,
  complete: IconCheck,
  error: IconAlert,
  cancelled: IconBan,
  resolved_manually: IconPerson,
  paused: IconPause,
  skipped: IconSkip,
  retrying: IconRetry,
  ready: IconClock,
};

export function StateIcon({ state, size = 13 }: { state: Shown; size?: number }) {
  const Icon = ICONS[state] ?? IconClock;
  return <Icon size={size} />;
}

/** The most telling word for a task. */
export function shownOfTask(t: { state: State; paused?: boolean; waiting?: string }): Shown {
  if (t.state !== 'pending' && t.state !== 'in_progress') return t.state;
  if (t.paused) return 'paused';
  return t.waiting === 'retry_backoff' ? 'retrying' : t.state;
}

/** The most telling word for a step. */
export function shownOfStep(s: { state: State; skipped?: boolean; ready?: boolean; retry_at?: string }): Shown {
  if (s.skipped) return 'skipped';
  if (s.state === 'error' && s.retry_at) return 'retrying';
  if (s.state === 'pending' && s.ready) return 'ready';
  return s.state;
}

/** Colour, icon and word: never colour alone. The colours are the classes state-* of app.css, which a graph uses too. */
export function StateBadge({ state, text }: { state: Shown; text?: string }) {
  return (
    <span className={`state-badge state-${state}`}>
      <StateIcon state={state} />
      <span>{text ?? STATE_TEXT[state] ?? state}</span>
    </span>
  );
}

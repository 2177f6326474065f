import { useCallback } from 'react';
import { useSearchParams } from 'wouter';

export const tabs = ['graph', 'timeline', 'events', 'data'] as const;
export type Tab = (typeof tabs)[number];

/** What of a task is looked at. All of it stands in the address, so that every view can be sent to somebody. */
export interface Place {
  tab: Tab;
  /** The name of a step. */
  step?: string | undefined;
  /** The event after which the task is looked at: the time machine. */
  at?: string | undefined;
}

export const isPosition = (text: string): boolean => /^\d{1,3}-\d{1,19}-\d{1,9}$/.test(text);

export function placeOf(params: URLSearchParams): Place {
  const tab = params.get('tab');
  const at = params.get('at');
  return {
    tab: tabs.find((t) => t === tab) ?? 'graph',
    step: params.get('step') || undefined,
    at: at !== null && isPosition(at) ? at : undefined,
  };
}

/** The parameters with a part of the place changed; undefined takes it away, and what belongs to others stays. */
export function withPlace(params: URLSearchParams, change: Partial<Place>): URLSearchParams {
  const to = new URLSearchParams(params);
  for (const [key, value] of Object.entries(change)) {
    if (value === undefined || (key === 'tab' && value === 'graph')) to.delete(key);
    else to.set(key, value);
  }
  return to;
}

export type Go = (change: Partial<Place>, how?: { replace?: boolean }) => void;

/** The place that the address names, and the way to another. */
export function usePlace(): [Place, Go] {
  const [params, setParams] = useSearchParams();
  const go = useCallback<Go>(
    (change, how) => setParams((now) => withPlace(now, change), { replace: how?.replace ?? false }),
    [setParams],
  );
  return [placeOf(params), go];
}

/** The address of a place of a task. */
export function hrefOf(id: string, place: Partial<Place>): string {
  const query = withPlace(new URLSearchParams(), place).toString();
  return `/tasks/${encodeURIComponent(id)}${query ? `?${query}` : ''}`;
}

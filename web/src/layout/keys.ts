// Keys of the whole UI: "g t" and the like, "?" for the list of them. Nothing happens while somebody writes.

import { useEffect, useRef } from 'react';

export const PLACES: { keys: string; name: string; href: string }[] = [
  { keys: 'g t', name: 'Tasks', href: '/tasks' },
  { keys: 'g n', name: 'New task', href: '/tasks/new' },
  { keys: 'g s', name: 'Stuck', href: '/stuck' },
  { keys: 'g d', name: 'Definitions', href: '/definitions' },
  { keys: 'g a', name: 'Analytics', href: '/analytics' },
  { keys: 'g l', name: 'Dead letters', href: '/dead-letters' },
  { keys: 'g u', name: 'Subscribers', href: '/subscribers' },
  { keys: 'g y', name: 'System', href: '/system' },
];

/** Whether a key that was pressed belongs to what has the focus: a field, or a dialog over the page. */
export function isWriting(e: KeyboardEvent): boolean {
  if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return true;
  const at = e.target;
  if (!(at instanceof HTMLElement)) return false;
  return at.isContentEditable || at.matches('input, textarea, select') || at.closest('[role="dialog"]') !== null;
}

/** Sequences of keys, written with a blank between: {"g t": ..., "j": ...}. A second key must come within 1.2 s. */
export function useKeys(bindings: Record<string, (e: KeyboardEvent) => void>): void {
  const current = useRef(bindings);
  useEffect(() => {
    current.current = bindings;
  });
  useEffect(() => {
    let first = '';
    let firstAt = 0;
    const down = (e: KeyboardEvent) => {
      if (isWriting(e)) return;
      const pair = first && e.timeStamp - firstAt < 1_200 ? `${first} ${e.key}` : '';
      first = '';
      const action = (pair && current.current[pair]) || current.current[e.key];
      if (action) {
        e.preventDefault();
        action(e);
        return;
      }
      if (Object.keys(current.current).some((k) => k.startsWith(`${e.key} `))) {
        first = e.key;
        firstAt = e.timeStamp;
      }
    };
    document.addEventListener('keydown', down);
    return () => document.removeEventListener('keydown', down);
  }, []);
}

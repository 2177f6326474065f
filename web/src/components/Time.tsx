import { Tooltip } from '@mantine/core';
import { useEffect, useState, useSyncExternalStore } from 'react';
import { duration, exact, relative } from './format';

// One clock for all times on the page: a thousand of them are one timer.
let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(changed: () => void) {
  listeners.add(changed);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const l of listeners) l();
  }, 1_000);
  return () => {
    listeners.delete(changed);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

const idle = () => () => {};

/** The time now, in milliseconds, to the second. */
export function useNow(running = true): number {
  const at = useSyncExternalStore(running ? subscribe : idle, () => now);
  const [mounted] = useState(() => Date.now());
  return Math.max(at, mounted); // the clock stood while nobody listened
}

/** "3 m ago"; exactly when on hover and for screen readers. */
export function Time({ at, fallback = '–' }: { at: string | undefined; fallback?: string }) {
  const current = useNow();
  if (!at) return <>{fallback}</>;
  return (
    <Tooltip label={`${exact(at)} (${exact(at, true)})`} withArrow openDelay={200}>
      <time dateTime={at} className="nowrap">
        {relative(Date.parse(at), current)}
      </time>
    </Tooltip>
  );
}

/** A duration of nanoseconds, or one that runs since a time. */
export function Duration({ ns, since, fallback = '–' }: { ns?: number; since?: string; fallback?: string }) {
  const running = ns === undefined && since !== undefined;
  const current = useNow(running);
  if (ns !== undefined) return <span className="number">{duration(ns)}</span>;
  if (!since) return <>{fallback}</>;
  const ms = Math.max(0, current - Date.parse(since));
  return <span className="number">{ms < 1_000 ? '0 s' : duration(Math.floor(ms / 1_000) * 1e9)}</span>;
}

/** The title of the document while the page is there. */
export function usePageTitle(title: string) {
  useEffect(() => {
    document.title = title ? `${title} · Tasker` : 'Tasker';
  }, [title]);
}

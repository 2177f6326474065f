import { useEffect, useRef, useState } from 'react';
import type { QueryValue } from './client';
import { EventStream, type StreamOptions, type StreamState } from './events';

/**
 * Follows live events while the component is there. A change of the query opens a new stream; new functions do not. query undefined:
 * nothing is followed. Gives the state of the stream.
 */
export function useEvents(
  query: Record<string, QueryValue> | undefined,
  handlers: Pick<StreamOptions, 'onEvents' | 'onGap'>,
  options: Pick<StreamOptions, 'interval' | 'keep'> = {},
): StreamState {
  const [state, setState] = useState<StreamState>('closed');
  const current = useRef(handlers);
  useEffect(() => {
    current.current = handlers;
  });
  const key = query && JSON.stringify(query);
  const { interval, keep } = options;
  useEffect(() => {
    if (key === undefined) return;
    const stream = new EventStream({
      query: JSON.parse(key),
      onEvents: (events, dropped) => current.current.onEvents(events, dropped),
      onGap: () => current.current.onGap?.(),
      onState: setState,
      interval,
      keep,
    });
    stream.open();
    return () => stream.close();
  }, [key, interval, keep]);
  return state;
}

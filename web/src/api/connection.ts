// Whether the server answers, for the banner over every page. What is on the screen stays when it does not.

import { useSyncExternalStore } from 'react';
import type { ApiError } from './client';

export interface Connection {
  /** undefined while the server answers */
  error: ApiError | undefined;
  /** of the first failure in a row, milliseconds since 1970 */
  since: number;
}

let state: Connection = { error: undefined, since: 0 };
const listeners = new Set<() => void>();

function set(next: Connection) {
  state = next;
  for (const l of listeners) l();
}

export function noteFailure(error: ApiError): void {
  set({ error, since: state.error ? state.since : Date.now() });
}

export function noteSuccess(): void {
  if (state.error) set({ error: undefined, since: 0 });
}

export function connection(): Connection {
  return state;
}

export function useConnection(): Connection {
  return useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => state,
  );
}

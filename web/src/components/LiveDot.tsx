import type { StreamState } from '../api/events';

const TEXT: Record<StreamState, string> = {
  live: 'live',
  connecting: 'connecting',
  waiting: 'not live: trying again',
  paused: 'paused while hidden',
  refused: 'not live: refused by the server',
  closed: 'not live',
};

/** Whether what is shown follows events as they happen. */
export function LiveDot({ state }: { state: StreamState }) {
  const kind = state === 'live' ? 'is-live' : state === 'waiting' || state === 'connecting' ? 'is-waiting' : '';
  return <span className={`live-dot ${kind}`}>{TEXT[state]}</span>;
}

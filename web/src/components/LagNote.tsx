import type { Lag } from '../api/types';
import { count, duration } from './format';

/** How far behind the log an answer of the index is. */
export function LagNote({ lag }: { lag: Lag | undefined }) {
  if (!lag) return null;
  const behind = lag.behind_ns ?? 0;
  if (lag.commits === 0 && behind < 1e9) return <span className="dimmed small nowrap">up to date</span>;
  const late = behind > 5e9;
  return (
    <span className={late ? 'lag late' : 'lag'} title={`covers ${lag.covered}`}>
      {behind > 0 ? `${duration(behind)} behind` : 'behind'} ({count(lag.commits)} commits)
    </span>
  );
}

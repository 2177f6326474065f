import './analytics.css';
import type { Durations } from '../../api/types';

/** Median, p95 and p99 as parts of one bar, to the scale of the longest; the numbers stand beside it. */
export function DurationBar({ durations: d, longest }: { durations: Durations; longest: number }) {
  const part = (ns: number) => `${Math.min(100, (100 * ns) / longest)}%`;
  return (
    <span className="duration-bar" aria-hidden="true">
      <span className="p99" style={{ width: part(d.p99_ns) }} />
      <span className="p95" style={{ width: part(d.p95_ns) }} />
      <span className="p50" style={{ width: part(d.p50_ns) }} />
    </span>
  );
}

import './analytics.css';
import { duration } from '../../components/format';

/** The longest way through the DAG by the medians of its steps, to scale. */
export function CriticalPath({ points }: { points: { step: string; p50_ns: number; ends_ns: number }[] }) {
  const end = Math.max(1, ...points.map((p) => p.ends_ns));
  return (
    <ol className="critical">
      {points.map((p) => (
        <li key={p.step}>
          <span className="cut" title={p.step}>
            {p.step}
          </span>
          <span className="critical-track" aria-hidden="true">
            <span
              className="critical-bar"
              style={{
                left: `${(100 * (p.ends_ns - p.p50_ns)) / end}%`,
                width: `max(2px, ${(100 * p.p50_ns) / end}%)`,
              }}
            />
          </span>
          <span className="number">{duration(p.p50_ns)}</span>
        </li>
      ))}
    </ol>
  );
}

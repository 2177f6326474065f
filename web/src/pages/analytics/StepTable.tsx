import type { StepStats } from '../../api/types';
import { count, duration, percent } from '../../components/format';
import { Scroll } from '../../components/Page';
import { DurationBar } from './DurationBar';

const MOST = 200;

/** A line for every step: how often it ran, how often it went well, how long it took. */
export function StepTable({ steps }: { steps: StepStats[] }) {
  const longest = Math.max(1, ...steps.map((s) => s.duration.p99_ns));
  return (
    <Scroll label="Steps">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Step</th>
            <th scope="col" className="right">
              Executions
            </th>
            <th scope="col" className="right">
              Failed
            </th>
            <th scope="col" className="right">
              Retries
            </th>
            <th scope="col" className="right">
              Success
            </th>
            <th scope="col">p50 · p95 · p99</th>
          </tr>
        </thead>
        <tbody>
          {steps.slice(0, MOST).map((s) => (
            <tr key={s.step}>
              <th scope="row">{s.step}</th>
              <td className="right">{count(s.executions)}</td>
              <td className="right">{count(s.failed)}</td>
              <td className="right">{count(s.retries)}</td>
              <td className="right">{s.complete + s.failed > 0 ? percent(s.success_rate) : '–'}</td>
              <td>
                {s.duration.count > 0 ? (
                  <>
                    <DurationBar durations={s.duration} longest={longest} />
                    <span className="number small">
                      {duration(s.duration.p50_ns)} · {duration(s.duration.p95_ns)} · {duration(s.duration.p99_ns)}
                    </span>
                  </>
                ) : (
                  '–'
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {steps.length > MOST && <p className="dimmed">… and {count(steps.length - MOST)} more steps.</p>}
    </Scroll>
  );
}

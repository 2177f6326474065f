import type { EngineStatus } from '../../api/types';
import { count } from '../../components/format';
import { Figures, Panel, Scroll } from '../../components/Page';
import { EmptyState } from '../../components/Problem';

/** The engines that have a partition: their slots, and the handlers that they can run. */
export function Engines({ engines }: { engines: EngineStatus[] }) {
  if (engines.length === 0) {
    return <EmptyState title="No engine has a partition">Start one with: tasker serve</EmptyState>;
  }
  return engines.map((e) => <Engine key={e.name} engine={e} />);
}

function Engine({ engine: e }: { engine: EngineStatus }) {
  const x = e.executor;
  const busy = (x.handlers ?? []).filter((h) => h.running > 0 || h.limit > 0 || h.refused || h.leaked);
  return (
    <Panel title={`Engine ${e.name}`} actions={<span className="dimmed small">{e.version}</span>}>
      {x.draining && <p className="lag late">It is draining: it finishes what runs and starts nothing.</p>}
      <Figures
        items={[
          { name: 'slots in use', value: `${count(x.running)} of ${count(x.slots)}`, bad: x.free === 0 },
          { name: 'started', value: count(x.executions ?? 0) },
          { name: 'completed', value: count(x.completed ?? 0) },
          {
            name: 'failed',
            value: count(x.failed ?? 0),
            hint: `${count(x.panics ?? 0)} panics, ${count(x.timeouts ?? 0)} timeouts`,
          },
          { name: 'ignore their end', value: count(x.leaked ?? 0), bad: (x.leaked ?? 0) > 0 },
        ]}
      />
      {busy.length > 0 && (
        <Scroll label={`Handlers of ${e.name}`}>
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Handler</th>
                <th scope="col" className="right">
                  Running
                </th>
                <th scope="col" className="right">
                  At most
                </th>
                <th scope="col">Held because</th>
              </tr>
            </thead>
            <tbody>
              {busy.map((h) => (
                <tr key={h.name}>
                  <th scope="row">{h.name}</th>
                  <td className="right">{count(h.running)}</td>
                  <td className="right">{h.limit > 0 ? count(h.limit) : '–'}</td>
                  <td>{h.refused}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
      <p className="small dimmed">Handlers: {(e.handlers ?? []).join(', ') || 'none'}</p>
    </Panel>
  );
}

import { useMemo } from 'react';
import type { Json, Task } from '../api/types';
import { CommandBox } from '../components/CommandBox';
import { JsonView } from '../components/Json';
import { Panel } from '../components/Page';
import { Time } from '../components/Time';
import type { TaskEvent } from './fold';

interface Note {
  id: string;
  kind: string;
  step?: string;
  at: string;
  actor: string;
  annotation: Json;
}

/** What went in, what came out, and what was noted. */
export function DataTab({ task, events }: { task: Task; events: readonly TaskEvent[] | undefined }) {
  const notes = useMemo(
    () =>
      (events ?? [])
        .filter((e) => e.type === 'task.annotated')
        .map(noteOf)
        .reverse(),
    [events],
  );
  const about: [string, string | undefined][] = [
    ['Reason', task.reason],
    ['Initiator', task.initiator],
    ['Source system', task.source_system],
    ['Correlation', task.correlation],
    ['Waits for', task.waiting],
    ['Failed for', task.failed],
    ['Position', task.position],
  ];
  return (
    <div className="data-tab">
      <Panel title="Context">
        <JsonView value={task.context} label="the context" open={2} />
      </Panel>
      <Panel title="Result">
        {task.result === undefined ? (
          <p className="dimmed">
            {task.state === 'complete' ? 'It has none.' : 'There is none before the task is complete.'}
          </p>
        ) : (
          <JsonView value={task.result} label="the result" open={2} />
        )}
      </Panel>
      <Panel title="About">
        <dl className="facts">
          {about
            .filter(([, value]) => value)
            .map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
        </dl>
        <CommandBox command={`tasker task show ${task.id}`} />
      </Panel>
      <Panel title={`Annotations${notes.length ? ` (${notes.length})` : ''}`}>
        {notes.length === 0 ? (
          <p className="dimmed">
            {events ? 'Nobody has noted anything. "Annotate" above does.' : 'Reading the history …'}
          </p>
        ) : (
          <ul className="notes">
            {notes.slice(0, 200).map((n) => (
              <li key={n.id}>
                <p className="small">
                  <strong>{n.kind}</strong>
                  {n.step ? ` · step ${n.step}` : ''}{' '}
                  <span className="dimmed">
                    {n.actor} <Time at={n.at} />
                  </span>
                </p>
                {typeof n.annotation === 'string' ? (
                  <p>{n.annotation}</p>
                ) : (
                  <JsonView value={n.annotation} label="the note" />
                )}
              </li>
            ))}
          </ul>
        )}
      </Panel>
    </div>
  );
}

function noteOf(e: TaskEvent): Note {
  const d = (e.data ?? {}) as { kind?: string; step?: string; annotation?: Json };
  return {
    id: e.id,
    kind: d.kind ?? 'note',
    at: e.at,
    actor: e.actor ?? '',
    annotation: d.annotation ?? null,
    ...(d.step ? { step: d.step } : {}),
  };
}

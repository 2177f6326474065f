import { Button, Loader, Tabs } from '@mantine/core';
import { useEffect, useMemo, useState } from 'react';
import { Link } from 'wouter';
import { ApiError } from '../api/client';
import type { Task } from '../api/types';
import { CommandBox } from '../components/CommandBox';
import { Page } from '../components/Page';
import { ProblemAlert } from '../components/Problem';
import { type Go, type Place, type Tab, tabs, usePlace } from './address';
import { DataTab } from './DataTab';
import { EventsTab } from './EventsTab';
import { ExplainBox } from './ExplainBox';
import { GraphTab } from './GraphTab';
import { type Live, type Past, useLiveTask, useLog, usePast } from './live';
import { stepsAt } from './steps';
import { TaskActions, TaskFigures, TaskLead, TaskTitle } from './TaskHeader';
import { TimelineTab } from './TimelineTab';
import { TimeMachine } from './TimeMachine';
import './task.css';

/** One task: how it is, why, what happened, what it was at any moment, and everything that can be done with it. */
export default function TaskPage({ id }: { id: string }) {
  const live = useLiveTask(id);
  const { data, error, isError, refetch } = live.task;
  if (data) return <Loaded key={id} now={data} live={live} />;
  if (isError) return <NotThere id={id} error={error} retry={() => void refetch()} />;
  return (
    <Page title="Task" lead={<code>{id}</code>}>
      <Loader aria-label="Loading the task" />
    </Page>
  );
}

function NotThere({ id, error, retry }: { id: string; error: unknown; retry: () => void }) {
  const missing = error instanceof ApiError && (error.status === 404 || error.status === 400 || error.status === 422);
  return (
    <Page title={missing ? 'There is no such task' : 'The task cannot be shown'} lead={<code>{id}</code>}>
      <ProblemAlert error={error} onRetry={retry}>
        <Button size="xs" variant="default" component={Link} href="/tasks">
          All tasks
        </Button>
      </ProblemAlert>
      <CommandBox command={`tasker task show ${id}`} />
    </Page>
  );
}

function Loaded({ now, live }: { now: Task; live: Live }) {
  const [place, go] = usePlace();
  const [asked, moveTo] = useAt(place.at);
  const past = usePast(now.id, asked, now);
  const at = past.events[past.place]?.id ?? asked; // a commit stands for its last event
  const task = useShown(now, past, at);
  const here: Place = { ...place, at };
  return (
    <Page
      title={<TaskTitle task={task} />}
      documentTitle={`${task.name} ${task.state}`}
      lead={<TaskLead task={task} />}
      actions={<TaskActions task={task} at={at} />}
    >
      {at === undefined ? <ExplainBox task={now} /> : <TimeMachine past={past} at={at} go={go} moveTo={moveTo} />}
      <TaskFigures task={task} asOf={past.events[past.place]?.at} />
      <Parts task={task} now={now} live={live} past={past} place={here} go={go} />
    </Page>
  );
}

/** The position that is looked at: it follows the slider at once, and the address follows it. */
function useAt(address: string | undefined): [string | undefined, (at: string) => void] {
  const [moved, setMoved] = useState<{ at: string; from: string | undefined }>();
  // biome-ignore lint/correctness/useExhaustiveDependencies: another address wins over an earlier movement
  useEffect(() => setMoved(undefined), [address]);
  const at = moved && moved.from === address ? moved.at : address;
  return [at, (to) => setMoved({ at: to, from: address })];
}

/** The task as it is to be shown: now, or as it was; while the server is asked, as the events say. */
function useShown(now: Task, past: Past, at: string | undefined): Task {
  const { exact, moment, task } = past;
  return useMemo(() => {
    if (at === undefined) return now;
    if (exact && task.data) return task.data;
    if (!moment) return { ...now, steps: [] };
    const { context, forked_from, tags } = now;
    return {
      id: now.id,
      namespace: now.namespace,
      name: now.name,
      version: now.version,
      created_at: now.created_at,
      execution: undefined,
      position: at,
      state: moment.task.state,
      paused: moment.task.paused,
      round: moment.task.round,
      steps: stepsAt(now.steps ?? [], moment),
      ...(context === undefined ? {} : { context }),
      ...(forked_from ? { forked_from } : {}),
      ...(tags ? { tags } : {}),
      ...(moment.task.waiting ? { waiting: moment.task.waiting } : {}),
      ...(moment.task.failed ? { failed: moment.task.failed } : {}),
    };
  }, [now, at, exact, moment, task.data]);
}

const names: Record<Tab, string> = { graph: 'Graph', timeline: 'Timeline', events: 'Events', data: 'Input & result' };

interface PartsProps {
  task: Task;
  now: Task;
  live: Live;
  past: Past;
  place: Place;
  go: Go;
}

function Parts({ task, now, live, past, place, go }: PartsProps) {
  return (
    <Tabs className="parts" value={place.tab} onChange={(t) => go({ tab: (t ?? 'graph') as Tab })} keepMounted={false}>
      <Tabs.List aria-label="Views of the task">
        {tabs.map((t) => (
          <Tabs.Tab key={t} value={t}>
            {names[t]}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {place.at === undefined && (
        <div className="parts-now">
          <Connection live={live} />
          <Button
            size="compact-sm"
            variant="light"
            onClick={() => go({ at: now.position })}
            title="Look at the task after any of its events"
          >
            Time machine
          </Button>
        </div>
      )}
      <Tabs.Panel value="graph" pt="sm">
        <GraphTab task={task} place={place} go={go} />
      </Tabs.Panel>
      {(['timeline', 'events', 'data'] as const).map((t) => (
        <Tabs.Panel key={t} value={t} pt="sm">
          {place.at === undefined ? (
            <NowPart tab={t} task={task} live={live} place={place} go={go} />
          ) : (
            <PastPart tab={t} task={task} past={past} place={place} go={go} />
          )}
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}

interface PartProps {
  tab: Exclude<Tab, 'graph'>;
  task: Task;
  place: Place;
  go: Go;
}

/** A view that needs the events, which go on. */
function NowPart({ tab, task, live, place, go }: PartProps & { live: Live }) {
  const log = useLog(task.id, live.log, live.stream);
  if (log.history.isError) return <ProblemAlert error={log.history.error} onRetry={log.again} />;
  if (!log.ready)
    return tab === 'data' ? <DataTab task={task} events={undefined} /> : <Loader aria-label="Reading the history" />;
  const notes = (
    <>
      {log.history.data?.trimmed && (
        <p className="banner">The beginning of the history is not in the log any more (retention or tasker prune).</p>
      )}
      {log.hole && (
        <p className="banner">
          Events came faster than they could be shown; some are missing here.
          <Button size="xs" variant="default" onClick={log.again}>
            Read them again
          </Button>
        </p>
      )}
    </>
  );
  return (
    <>
      {notes}
      {tab === 'timeline' && <TimelineTab task={task} events={log.events} place={place} go={go} />}
      {tab === 'events' && (
        <EventsTab id={task.id} events={log.events} older={log.older} onOlder={log.all} place={place} go={go} />
      )}
      {tab === 'data' && <DataTab task={task} events={log.events} />}
    </>
  );
}

/** The same at a moment of the past: with the events up to it, but for the list, which has all. */
function PastPart({ tab, task, past, place, go }: PartProps & { past: Past }) {
  const until = useMemo(() => past.events.slice(0, past.place + 1), [past.events, past.place]);
  if (past.history.isPending) return <Loader aria-label="Reading the history" />;
  if (past.history.isError) return null; // the time machine says why
  if (tab === 'timeline') return <TimelineTab task={task} events={until} place={place} go={go} />;
  if (tab === 'data') return <DataTab task={task} events={until} />;
  return <EventsTab id={task.id} events={past.events} older={0} onOlder={() => {}} place={place} go={go} />;
}

function Connection({ live }: { live: Live }) {
  const [text, kind] = {
    live: ['live', 'is-live'],
    connecting: ['connecting', 'is-waiting'],
    waiting: ['not live: trying again', 'is-waiting'],
    paused: ['paused while the page is hidden', ''],
    refused: ['not live: the server refuses the stream', ''],
    closed: ['not live', ''],
  }[live.stream] as [string, string];
  return (
    <p className={`live-dot ${kind}`} role="status" data-testid="live">
      {text}
      {live.stream === 'refused' && (
        <Button size="compact-xs" variant="subtle" onClick={live.touch}>
          Read again
        </Button>
      )}
    </p>
  );
}

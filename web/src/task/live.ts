import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { api } from '../api/client';
import type { StreamState } from '../api/events';
import { taskStays, useTask } from '../api/queries';
import type { Execution, History, Json, Step, StepLog, Task } from '../api/types';
import { useEvents } from '../api/useEvents';
import { EventLog, keepDefault, type LogState } from './eventLog';
import { Fold, type Moment, type TaskEvent } from './fold';
import { Refresher } from './refresher';

/** Follows a task: its state is read again when events of it arrive. */
export function useLiveTask(id: string) {
  const client = useQueryClient();
  const [log] = useState(() => new EventLog()); // the page is made anew for another task
  const [refreshers, setRefreshers] = useState<Refresher[]>([]);
  useEffect(() => {
    const again = (takes: (key: readonly unknown[]) => boolean) =>
      client.refetchQueries(
        { type: 'active', predicate: (q) => q.queryKey[0] === 'task' && q.queryKey[1] === id && takes(q.queryKey) },
        { cancelRefetch: false },
      );
    const made = [
      new Refresher(() => again((key) => key[2] === 'state' && key[3] === '')),
      // These walk through the history on the server.
      new Refresher(() => again((key) => key[2] === 'explain' || key[2] === 'step'), 1_000, 10_000),
    ];
    setRefreshers(made);
    return () => {
      for (const r of made) r.close();
    };
  }, [client, id]);
  const touch = useCallback(() => {
    for (const r of refreshers) r.touch();
  }, [refreshers]);
  const stream = useEvents(
    { task: id },
    {
      onEvents: (events, dropped) => {
        log.append(
          events.filter((e) => e.task === id),
          dropped,
        );
        touch();
      },
      onGap: () => {
        log.doubt();
        touch();
      },
    },
  );
  useEffect(() => {
    if (stream === 'live') touch(); // what happened between the first answer and the begin of the stream
  }, [stream, touch]);
  const task = useTask(id);
  return { task, log, stream, touch };
}

export type Live = ReturnType<typeof useLiveTask>;

/** The events of a task as they come, once its history has been read. */
export function useLog(id: string, log: EventLog, stream: StreamState) {
  const state: LogState = useSyncExternalStore(log.subscribe, log.state);
  const history = useQuery({
    queryKey: ['task', id, 'history'],
    queryFn: async ({ signal }) => {
      const h = await api<History>(['tasks', id, 'history'], { signal, timeout: 60_000 });
      log.read(h.events);
      return { trimmed: h.trimmed === true, total: h.events.length };
    },
    // What is read before the stream is there may miss what happens until then.
    enabled: stream !== 'connecting' && stream !== 'closed',
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    refetchOnWindowFocus: false,
  });
  const all = () => {
    log.keep = Number.POSITIVE_INFINITY;
    void history.refetch();
  };
  const again = () => {
    log.keep = keepDefault;
    void history.refetch();
  };
  return { ...state, history, all, again };
}

/** What GET /tasks/{id}/steps/{step} answers. */
export interface StepDetail extends Omit<Step, 'executions'> {
  executions: Execution[];
  log: StepLog[];
  input: { context?: Json; results: Record<string, Json> };
  trimmed?: boolean;
}

/** A step with what is only read for the one that is looked at. */
export const useStep = (id: string, step: string, enabled: boolean) =>
  useQuery({
    queryKey: ['task', id, 'step', step],
    queryFn: ({ signal }) => api<StepDetail>(['tasks', id, 'steps', step], { signal }),
    enabled: enabled && step !== '',
  });

const none: readonly TaskEvent[] = [];

/** A task as it stood right after an event. The states of the steps are there at once, the rest when the server has answered. */
export function usePast(id: string, at: string | undefined, shape: Task | undefined) {
  const enabled = at !== undefined;
  const client = useQueryClient();
  const history = useQuery({
    queryKey: ['task', id, 'past'],
    queryFn: async ({ queryKey, signal }) => {
      const known = client.getQueryData<History>(queryKey);
      const after = known?.events.at(-1)?.id; // what was read stays: only what came since is asked for
      const more = await api<History>(['tasks', id, 'history'], { signal, query: { after }, timeout: 60_000 });
      return known && after ? { ...known, events: [...known.events, ...more.events] } : more;
    },
    enabled,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: taskStays,
    structuralSharing: false,
    refetchOnWindowFocus: false,
  });
  const events = history.data?.events ?? none;
  const shapes = shape?.steps;
  const names = useMemo(() => shapes?.map((s) => `${s.name}>${s.depends_on?.join() ?? ''}`).join(' '), [shapes]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the fold needs the shape of the steps, not their states
  const fold = useMemo(() => new Fold(shapes ?? [], events), [names, events]);
  const place = at === undefined ? -1 : fold.place(at);

  // An event that is newer than the history that was read: read it again, once for each.
  const { refetch, isFetched } = history;
  useEffect(() => {
    if (at !== undefined && isFetched && place < 0) void refetch();
  }, [at, isFetched, place, refetch]);

  const moment = useMemo<Moment | undefined>(() => (place < 0 ? undefined : fold.at(place + 1)), [fold, place]);
  // What the server is asked for: it knows events, and no commits.
  const settled = useSettled(events[place]?.id, 150);
  const task = useQuery({
    queryKey: ['task', id, 'state', settled ?? ''],
    queryFn: ({ signal }) => api<Task>(['tasks', id], { signal, query: { at: settled } }),
    enabled: enabled && settled !== undefined,
    staleTime: Number.POSITIVE_INFINITY, // the past does not change
    gcTime: taskStays,
    placeholderData: keepPreviousData,
    refetchOnWindowFocus: false,
  });
  const exact = task.data !== undefined && !task.isPlaceholderData && settled === events[place]?.id;
  return { history, events, place, moment, task, exact };
}

export type Past = ReturnType<typeof usePast>;

/** A value that has stood still for so many milliseconds. */
function useSettled<T>(value: T, rest: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(() => value), rest);
    return () => clearTimeout(timer);
  }, [value, rest]);
  return settled;
}

import { type InfiniteData, keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { api } from '../../api/client';
import type { StreamState } from '../../api/events';
import type { Counts, TaskPage } from '../../api/types';
import { useEvents } from '../../api/useEvents';
import { countQuery, type Filters, filtersToQuery } from './filters';
import { countNew, type ListPage, type ListRow, mergePage } from './merge';

/** Rows of one page of the API. */
export const PAGE_SIZE = 100;
/** Milliseconds between two refreshes at least, however much happens. */
const REFRESH_EVERY = 2_000;
/** Milliseconds after which a list that runs is read anew without any event: progress of steps is no event that we listen to. */
const REFRESH_IDLE = 10_000;

export interface TaskList {
  rows: ListRow[];
  counts: Counts | undefined;
  lag: ListPage['lag'] | undefined;
  /** rows that would be shown above or among the others */
  fresh: number;
  stream: StreamState;
  error: unknown;
  loading: boolean;
  hasMore: boolean;
  loadingMore: boolean;
  /** pages that were read: a page may be empty and have another one behind it */
  pages: number;
  loadMore: () => void;
  /** begins again with the newest */
  restart: () => void;
  /** says which rows are on the screen: these are kept up to date */
  setVisible: (first: number, last: number) => void;
}

export function useTaskList(filters: Filters): TaskList {
  const queries = useQueryClient();
  const [begun, setBegun] = useState(() => Date.now());
  const [fresh, setFresh] = useState(0);
  const query = useMemo(() => ({ ...filtersToQuery(filters, begun), limit: PAGE_SIZE }), [filters, begun]);
  const key = useMemo(() => ['tasks', query], [query]);

  const read = useCallback(
    (after: string, signal?: AbortSignal) =>
      api<TaskPage>(['tasks'], { query: { ...query, after }, signal }).then(whole),
    [query],
  );
  const list = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ pageParam, signal }) => read(pageParam, signal) as Promise<ListPage>,
    initialPageParam: '',
    getNextPageParam: (page) => page.next || undefined,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
    placeholderData: keepPreviousData,
  });
  const counts = useQuery({
    queryKey: ['tasks', 'count', countQuery(filters, begun)],
    queryFn: ({ signal }) => api<Counts>(['tasks', 'count'], { query: countQuery(filters, begun), signal }),
    placeholderData: keepPreviousData,
    refetchInterval: REFRESH_IDLE,
  });

  const visible = useRef({ first: 0, last: 0 });
  const refresh = useCallback(async () => {
    const data = queries.getQueryData<InfiniteData<ListPage, string>>(key);
    if (!data) return;
    const [from, to] = [pageOf(data, visible.current.first), pageOf(data, visible.current.last)];
    for (const i of new Set([0, from, to])) {
      const answer = await read(data.pageParams[i] ?? '');
      queries.setQueryData<InfiniteData<ListPage, string>>(key, (old) => {
        const page = old?.pages[i];
        if (!old || !page) return old;
        const merged = mergePage(page, answer, filters.sort, filters.ascending);
        return merged === page ? old : { ...old, pages: old.pages.with(i, merged) };
      });
      if (i === 0) setFresh(countNew(data.pages, answer));
    }
  }, [queries, key, read, filters.sort, filters.ascending]);

  const counted = counts.refetch;
  const soon = useThrottled(() => Promise.all([refresh(), counted()]), REFRESH_EVERY);
  useEffect(() => {
    const timer = setInterval(soon, REFRESH_IDLE);
    return () => clearInterval(timer);
  }, [soon]);
  const stream = useEvents(
    { type: ['task.*', 'step.failed'], namespace: filters.namespace, name: filters.name },
    { onEvents: soon, onGap: soon },
    { interval: 500, keep: 1 },
  );

  const restart = useCallback(() => {
    setFresh(0);
    setBegun(Date.now());
    queries.removeQueries({ queryKey: key });
  }, [queries, key]);
  useEffect(() => {
    if (key) setFresh(0);
  }, [key]);
  const rows = useMemo(() => list.data?.pages.flatMap((p) => p.tasks) ?? [], [list.data]);
  return {
    rows,
    counts: counts.data,
    lag: list.data?.pages[0]?.lag ?? counts.data?.lag,
    fresh,
    stream,
    error: list.error,
    loading: list.isPending,
    hasMore: list.hasNextPage,
    loadingMore: list.isFetchingNextPage,
    pages: list.data?.pages.length ?? 0,
    loadMore: useCallback(() => void list.fetchNextPage({ cancelRefetch: false }), [list.fetchNextPage]),
    restart,
    setVisible: useCallback((first: number, last: number) => {
      visible.current = { first, last };
    }, []),
  };
}

/** Go writes an empty list as null where nobody took care. */
function whole(page: TaskPage): TaskPage {
  return { ...page, tasks: page.tasks ?? [] };
}

function pageOf(data: InfiniteData<ListPage, string>, row: number): number {
  let before = 0;
  for (const [i, page] of data.pages.entries()) {
    before += page.tasks.length;
    if (row < before) return i;
  }
  return data.pages.length - 1;
}

/** Calls it now, or when `every` milliseconds have passed since the last call ended; never twice at a time. */
export function useThrottled(call: () => Promise<unknown>, every: number): () => void {
  const current = useRef(call);
  const state = useRef({
    running: false,
    again: false,
    timer: undefined as ReturnType<typeof setTimeout> | undefined,
    over: false,
  });
  useEffect(() => {
    current.current = call;
  });
  useEffect(() => {
    const s = state.current;
    s.over = false;
    return () => {
      s.over = true;
      clearTimeout(s.timer);
      s.timer = undefined;
    };
  }, []);
  return useCallback(() => {
    const s = state.current;
    const run = async () => {
      s.timer = undefined;
      s.running = true;
      s.again = false;
      await current.current().catch(() => {}); // the banner says that the server is gone; the next event tries again
      s.running = false;
      if (s.over) return;
      s.timer = setTimeout(() => {
        s.timer = undefined;
        if (s.again) run();
      }, every);
    };
    if (s.over) return;
    if (s.running || s.timer !== undefined) s.again = true;
    else run();
  }, [every]);
}

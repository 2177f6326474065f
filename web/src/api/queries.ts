// Every question to the server that more than one page asks. The keys begin with what is asked about, so that an action can name
// what it has changed.

import { QueryClient, useQuery } from '@tanstack/react-query';
import { api, retryDelay, retryRead } from './client';
import type {
  Definition,
  DefinitionSummary,
  Explanation,
  IndexStatus,
  Me,
  Status,
  Stuck,
  Subscriber,
  Task,
  VerbReceipt,
} from './types';

/** How long an answer stays when no view shows it any more: long enough to go back, in milliseconds. */
const stays = 60_000;

/** The same of a task, whose answers may be megabytes. */
export const taskStays = 5_000;

export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        gcTime: stays,
        retry: retryRead,
        retryDelay,
        staleTime: 1_000,
        refetchOnWindowFocus: true,
        networkMode: 'always',
      },
      mutations: { retry: false, networkMode: 'always' },
    },
  });
}

export const useMe = () =>
  useQuery({ queryKey: ['me'], queryFn: ({ signal }) => api<Me>(['me'], { signal }), staleTime: 60_000 });

/** The current definitions, of all namespaces when none is given. */
export const useDefinitions = (namespace = '') =>
  useQuery({
    queryKey: ['definitions', namespace],
    queryFn: ({ signal }) =>
      api<{ definitions: DefinitionSummary[] | null }>(['definitions'], { signal, query: { namespace } }).then(
        (a) => a.definitions ?? [],
      ),
    staleTime: 15_000,
  });

export const useDefinition = (namespace: string, name: string, version = '') =>
  useQuery({
    queryKey: ['definition', namespace, name, version],
    queryFn: ({ signal }) => api<Definition>(['definitions', namespace, name], { signal, query: { version } }),
    enabled: name !== '',
    staleTime: 15_000,
  });

export const useStatus = (every = 2_000) =>
  useQuery({
    queryKey: ['status'],
    queryFn: ({ signal }) => api<Status>(['status'], { signal }),
    refetchInterval: every,
  });

export const useIndexStatus = (every = 5_000) =>
  useQuery({
    queryKey: ['index'],
    queryFn: ({ signal }) => api<IndexStatus>(['index'], { signal }),
    refetchInterval: every,
  });

export const useSubscribers = () =>
  useQuery({
    queryKey: ['subscribers'],
    queryFn: ({ signal }) =>
      api<{ subscribers: Subscriber[] | null }>(['subscribers'], { signal }).then((a) => a.subscribers ?? []),
    refetchInterval: 3_000,
  });

export const useStuck = (namespace: string) =>
  useQuery({
    queryKey: ['stuck', namespace],
    queryFn: ({ signal }) => api<Stuck>(['stuck'], { signal, query: { namespace, limit: 1 } }),
    refetchInterval: 5_000,
  });

export const useTask = (id: string, at = '') =>
  useQuery({
    queryKey: ['task', id, 'state', at],
    queryFn: ({ signal }) => api<Task>(['tasks', id], { signal, query: { at } }),
    gcTime: taskStays,
  });

export const useExplain = (id: string, step = '', enabled = true) =>
  useQuery({
    queryKey: ['task', id, 'explain', step],
    queryFn: ({ signal }) =>
      api<Explanation>(step ? ['tasks', id, 'steps', step, 'explain'] : ['tasks', id, 'explain'], { signal }),
    enabled,
  });

export type TaskVerb = 'cancel' | 'retry' | 'resolve' | 'pause' | 'resume';

export const taskVerb = (id: string, verb: TaskVerb, reason: string) =>
  api<VerbReceipt>(['tasks', id, verb], { method: 'POST', body: reason ? { reason } : {} });

import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api } from '../../api/client';
import type { Analytics } from '../../api/types';
import { RANGES } from '../tasks/filters';

export interface AnalyticsQuery {
  namespace?: string;
  name?: string;
  version?: string;
  /** a key of RANGES, or "" for everything */
  range: string;
  top?: number;
}

export function useAnalytics(query: AnalyticsQuery) {
  const { range, ...rest } = query;
  // The server counts in whole hours: an address that changes every minute would only make it count again.
  const since = useMemo(() => {
    const ms = RANGES[range]?.ms;
    return ms ? new Date(Math.floor((Date.now() - ms) / 60_000) * 60_000).toISOString() : undefined;
  }, [range]);
  return useQuery({
    queryKey: ['analytics', rest, range],
    queryFn: ({ signal }) => api<Analytics>(['analytics'], { signal, query: { ...rest, since } }),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });
}

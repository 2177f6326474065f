// What a list of tasks is filtered and sorted by: in the address of the page, under the names that the API has for it.

import type { QueryValue } from '../../api/client';
import { STATES, type State } from '../../api/types';

export const SORTS = ['created', 'updated', 'ended', 'duration', 'retries'] as const;
export type Sort = (typeof SORTS)[number];

/** Times before now, in milliseconds: "since" of the address. */
export const RANGES: Record<string, { name: string; ms: number }> = {
  '15m': { name: 'last 15 minutes', ms: 15 * 60_000 },
  '1h': { name: 'last hour', ms: 3_600_000 },
  '24h': { name: 'last 24 hours', ms: 86_400_000 },
  '7d': { name: 'last 7 days', ms: 7 * 86_400_000 },
  '30d': { name: 'last 30 days', ms: 30 * 86_400_000 },
};

export interface Filters {
  states: State[];
  namespace: string;
  name: string;
  version: string;
  waiting: string;
  paused: '' | 'true' | 'false';
  initiator: string;
  source_system: string;
  correlation: string;
  tags: string[];
  fields: Record<string, string>;
  text: string;
  /** a key of RANGES, or "" */
  since: string;
  created_after: string;
  created_before: string;
  sort: Sort;
  ascending: boolean;
}

export const NO_FILTERS: Filters = {
  states: [],
  namespace: '',
  name: '',
  version: '',
  waiting: '',
  paused: '',
  initiator: '',
  source_system: '',
  correlation: '',
  tags: [],
  fields: {},
  text: '',
  since: '',
  created_after: '',
  created_before: '',
  sort: 'created',
  ascending: false,
};

const PLAIN = ['namespace', 'name', 'version', 'waiting', 'initiator', 'source_system', 'correlation', 'text'] as const;

/** Reads the address; what it does not know or cannot be is left out, so that an old link still shows something. */
export function parseFilters(search: string): Filters {
  const q = new URLSearchParams(search);
  const states = q.getAll('state').flatMap((s) => s.split(','));
  const paused = q.get('paused');
  const since = q.get('since') ?? '';
  const sort = q.get('sort') as Sort | null;
  const f: Filters = {
    ...NO_FILTERS,
    states: STATES.filter((s) => states.includes(s)),
    paused: paused === 'true' || paused === 'false' ? paused : '',
    tags: [...new Set(q.getAll('tag').filter(Boolean))],
    fields: Object.fromEntries(
      [...q].filter(([k, v]) => k.startsWith('field.') && k.length > 6 && v).map(([k, v]) => [k.slice(6), v]),
    ),
    since: since in RANGES ? since : '',
    created_after: time(q.get('created_after')),
    created_before: time(q.get('created_before')),
    sort: sort && SORTS.includes(sort) ? sort : 'created',
    ascending: q.get('order') === 'asc',
  };
  for (const key of PLAIN) f[key] = q.get(key) ?? '';
  return f;
}

function time(text: string | null): string {
  return text && !Number.isNaN(Date.parse(text)) ? text : '';
}

/** The address that says the same; "" without filters. */
export function filtersToSearch(f: Filters): string {
  const q = new URLSearchParams();
  if (f.states.length > 0) q.set('state', f.states.join(','));
  for (const key of PLAIN) if (f[key]) q.set(key, f[key]);
  if (f.paused) q.set('paused', f.paused);
  for (const tag of f.tags) q.append('tag', tag);
  for (const [k, v] of Object.entries(f.fields)) q.set(`field.${k}`, v);
  for (const key of ['since', 'created_after', 'created_before'] as const) if (f[key]) q.set(key, f[key]);
  if (f.sort !== 'created') q.set('sort', f.sort);
  if (f.ascending) q.set('order', 'asc');
  return q.toString();
}

/** The parameters of GET /tasks. `now` fixes what "the last hour" is for all pages of one list. */
export function filtersToQuery(f: Filters, now: number): Record<string, QueryValue> {
  const range = RANGES[f.since];
  return {
    ...countQuery(f, now),
    state: f.states,
    created_after: range ? new Date(now - range.ms).toISOString() : f.created_after,
    sort: f.sort,
    order: f.ascending ? 'asc' : 'desc',
  };
}

/** The parameters of GET /tasks/count: the same without states and order. */
export function countQuery(f: Filters, now: number): Record<string, QueryValue> {
  const range = RANGES[f.since];
  return {
    ...Object.fromEntries(PLAIN.map((k) => [k, f[k]])),
    paused: f.paused,
    tag: f.tags,
    ...Object.fromEntries(Object.entries(f.fields).map(([k, v]) => [`field.${k}`, v])),
    created_after: range ? new Date(now - range.ms).toISOString() : f.created_after,
    created_before: f.created_before,
  };
}

/** Whether anything is filtered, beside the order. */
export function isFiltered(f: Filters): boolean {
  return filtersToSearch({ ...f, sort: 'created', ascending: false }) !== '';
}

/** A tag, "field=value" of an indexed field, or words: what somebody types into the one search box. */
export function parseSearch(typed: string): Pick<Filters, 'tags' | 'fields' | 'text'> {
  const tags: string[] = [];
  const fields: Record<string, string> = {};
  const words: string[] = [];
  for (const word of typed.trim().split(/\s+/).filter(Boolean)) {
    const field = /^([\w.-]+)=(.+)$/.exec(word);
    if (word.startsWith('#') && word.length > 1) tags.push(word.slice(1));
    else if (field?.[1] && field[2]) fields[field[1]] = field[2];
    else words.push(word);
  }
  return { tags, fields, text: words.join(' ') };
}

/** What parseSearch would be given for these filters. */
export function searchText(f: Pick<Filters, 'tags' | 'fields' | 'text'>): string {
  return [...f.tags.map((t) => `#${t}`), ...Object.entries(f.fields).map(([k, v]) => `${k}=${v}`), f.text]
    .filter(Boolean)
    .join(' ');
}

import { describe, expect, it } from 'vitest';
import {
  countQuery,
  type Filters,
  filtersToQuery,
  filtersToSearch,
  isFiltered,
  NO_FILTERS,
  parseFilters,
  parseSearch,
  searchText,
} from './filters';

const ALL: Filters = {
  states: ['in_progress', 'error'],
  namespace: 'shop',
  name: 'order',
  version: '1.0.0',
  waiting: 'retry_backoff',
  paused: 'false',
  initiator: 'ann & bob',
  source_system: 's',
  correlation: 'c=1',
  tags: ['a b', 'c,d'],
  fields: { order: 'SO 1', 'address.city': 'Kiel' },
  text: 'bank 503',
  since: '',
  created_after: '2026-01-01T00:00:00.000Z',
  created_before: '2026-01-02T00:00:00.000Z',
  sort: 'duration',
  ascending: true,
};

describe('filters in an address', () => {
  it('come back as they were', () => {
    expect(parseFilters(filtersToSearch(ALL))).toEqual(ALL);
    expect(parseFilters(filtersToSearch({ ...NO_FILTERS, since: '24h' })).since).toBe('24h');
  });

  it('are nothing when nothing is filtered', () => {
    expect(filtersToSearch(NO_FILTERS)).toBe('');
    expect(parseFilters('')).toEqual(NO_FILTERS);
    expect(isFiltered({ ...NO_FILTERS, sort: 'ended', ascending: true })).toBe(false);
    expect(isFiltered({ ...NO_FILTERS, tags: ['x'] })).toBe(true);
  });

  it('leave out what cannot be', () => {
    const f = parseFilters(
      '?state=error,dead&paused=maybe&since=9y&sort=luck&order=up&created_after=soon&field.=x&tag=&field.a=',
    );
    expect(f).toEqual({ ...NO_FILTERS, states: ['error'] });
  });

  it('know repeated states, and states with commas', () => {
    expect(parseFilters('state=error&state=pending,complete').states).toEqual(['pending', 'error', 'complete']);
  });
});

describe('the parameters of the list', () => {
  it('have the names of the API', () => {
    expect(filtersToQuery(ALL, 0)).toMatchObject({
      state: ['in_progress', 'error'],
      tag: ['a b', 'c,d'],
      'field.order': 'SO 1',
      'field.address.city': 'Kiel',
      paused: 'false',
      sort: 'duration',
      order: 'asc',
      created_after: '2026-01-01T00:00:00.000Z',
    });
  });

  it('count without states and order', () => {
    expect(Object.keys(countQuery(ALL, 0))).not.toEqual(expect.arrayContaining(['state']));
    expect(countQuery(ALL, 0)).not.toHaveProperty('sort');
  });

  it('have one "last hour" for all pages of a list', () => {
    const now = Date.parse('2026-01-02T10:00:00Z');
    expect(filtersToQuery({ ...NO_FILTERS, since: '1h' }, now).created_after).toBe('2026-01-02T09:00:00.000Z');
  });
});

describe('what somebody types', () => {
  it('is words, tags and fields', () => {
    expect(parseSearch('  bank #vip 503  order=SO-1 #eu:de ')).toEqual({
      tags: ['vip', 'eu:de'],
      fields: { order: 'SO-1' },
      text: 'bank 503',
    });
  });

  it('is taken for words when it is neither', () => {
    expect(parseSearch('# =x a= a!b=c')).toEqual({ tags: [], fields: {}, text: '# =x a= a!b=c' });
  });

  it('is shown again as it was typed', () => {
    expect(searchText(parseSearch('#vip order=1 bank down'))).toBe('#vip order=1 bank down');
  });
});

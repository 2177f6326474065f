import { Button, Group, Select, SimpleGrid, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { type RefObject, useEffect, useState } from 'react';
import { useDefinitions } from '../../api/queries';
import { IconSearch } from '../../components/icons';
import { type Filters, isFiltered, NO_FILTERS, parseSearch, RANGES, SORTS, type Sort, searchText } from './filters';

const SORT_NAMES: Record<Sort, string> = {
  created: 'created',
  updated: 'last change',
  ended: 'ended',
  duration: 'duration',
  retries: 'retries',
};

export interface FilterBarProps {
  filters: Filters;
  onChange: (change: Partial<Filters>) => void;
  searchRef: RefObject<HTMLInputElement | null>;
}

/** One box to search in, the definition, the time and the order; the rest behind "More". */
export function FilterBar({ filters, onChange, searchRef }: FilterBarProps) {
  const [more, toggle] = useDisclosure(hasMore(filters));
  const definitions = useDefinitions();
  const known = [...new Set([...(definitions.data ?? []).map((d) => d.namespace), filters.namespace])]
    .filter(Boolean)
    .sort();
  const names = [...new Set((definitions.data ?? []).map((d) => `${d.namespace}/${d.name}`))].sort();
  const definition = filters.name && `${filters.namespace || '*'}/${filters.name}`;
  const options = definition && !names.includes(definition) ? [definition, ...names] : names;
  return (
    <search className="filters" aria-label="Filters">
      <SearchBox filters={filters} onChange={onChange} searchRef={searchRef} />
      <Select
        aria-label="Definition"
        placeholder="all definitions"
        data={options}
        value={definition || null}
        onChange={(value) => {
          const [namespace = '', name = ''] = value?.split('/') ?? [];
          onChange({ namespace: namespace === '*' ? '' : namespace, name, version: '' });
        }}
        clearable
        searchable
        nothingFoundMessage="No such definition"
      />
      <Select
        aria-label="Created"
        placeholder="any time"
        data={Object.entries(RANGES).map(([value, r]) => ({ value, label: r.name }))}
        value={filters.since || null}
        onChange={(since) => onChange({ since: since ?? '', created_after: '', created_before: '' })}
        clearable
      />
      <Select
        aria-label="Order"
        data={SORTS.flatMap((s) => [
          { value: s, label: `${SORT_NAMES[s]} ↓` },
          { value: `${s} asc`, label: `${SORT_NAMES[s]} ↑` },
        ])}
        value={filters.ascending ? `${filters.sort} asc` : filters.sort}
        onChange={(value) => {
          const [sort, asc] = (value ?? 'created').split(' ');
          onChange({ sort: sort as Sort, ascending: asc === 'asc' });
        }}
        allowDeselect={false}
      />
      <Group gap={4} wrap="nowrap">
        <Button variant="default" onClick={toggle.toggle} aria-expanded={more}>
          {more ? 'Less' : 'More'}
        </Button>
        {isFiltered(filters) && (
          <Button
            variant="subtle"
            onClick={() => onChange({ ...NO_FILTERS, sort: filters.sort, ascending: filters.ascending })}
          >
            Clear
          </Button>
        )}
      </Group>
      {more && <MoreFilters filters={filters} onChange={onChange} namespaces={known} />}
    </search>
  );
}

function hasMore(f: Filters): boolean {
  return Boolean(
    (f.namespace && !f.name) ||
      f.initiator ||
      f.source_system ||
      f.correlation ||
      f.waiting ||
      f.paused ||
      f.version ||
      f.created_after ||
      f.created_before,
  );
}

function SearchBox({ filters, onChange, searchRef }: FilterBarProps) {
  const shown = searchText(filters);
  const [typed, setTyped] = useState(shown);
  useEffect(() => setTyped(shown), [shown]);
  useEffect(() => {
    if (typed.trim() === shown) return;
    const timer = setTimeout(() => onChange(parseSearch(typed)), 350);
    return () => clearTimeout(timer);
  }, [typed, shown, onChange]);
  return (
    <TextInput
      ref={searchRef}
      className="search-box"
      type="search"
      aria-label="Search in errors, reasons, annotations; #tag; field=value"
      placeholder="words, #tag, field=value   ( / )"
      leftSection={<IconSearch />}
      value={typed}
      onChange={(e) => setTyped(e.currentTarget.value)}
      onKeyDown={(e) => {
        if (e.key === 'Escape') e.currentTarget.blur();
        if (e.key === 'Enter') onChange(parseSearch(typed));
      }}
      maxLength={500}
    />
  );
}

const MORE: [keyof Filters & ('initiator' | 'source_system' | 'correlation' | 'version'), string][] = [
  ['initiator', 'Initiator'],
  ['source_system', 'Source system'],
  ['correlation', 'Correlation'],
  ['version', 'Version of the definition'],
];

function MoreFilters({ filters, onChange, namespaces }: Omit<FilterBarProps, 'searchRef'> & { namespaces: string[] }) {
  return (
    <SimpleGrid cols={{ base: 1, xs: 2, md: 4 }} spacing="xs" className="filters-more">
      <Select
        label="Namespace"
        placeholder="all"
        data={namespaces}
        value={filters.namespace || null}
        onChange={(namespace) => onChange({ namespace: namespace ?? '', name: '', version: '' })}
        clearable
      />
      {MORE.map(([key, label]) => (
        <Settled key={key} label={label} value={filters[key]} onChange={(v) => onChange({ [key]: v })} />
      ))}
      <Select
        label="Waiting"
        placeholder="no matter"
        data={[
          { value: 'retry_backoff', label: 'for a retry' },
          { value: 'workflow_paused', label: 'because it is paused' },
          { value: 'awaiting_dependencies', label: 'for steps before' },
        ]}
        value={filters.waiting || null}
        onChange={(waiting) => onChange({ waiting: waiting ?? '' })}
        clearable
      />
      <Select
        label="Paused"
        placeholder="no matter"
        data={[
          { value: 'true', label: 'paused' },
          { value: 'false', label: 'not paused' },
        ]}
        value={filters.paused || null}
        onChange={(paused) => onChange({ paused: (paused ?? '') as Filters['paused'] })}
        clearable
      />
      <TimeField
        label="Created at or after"
        value={filters.created_after}
        onChange={(v) => onChange({ created_after: v, since: '' })}
      />
      <TimeField
        label="Created before"
        value={filters.created_before}
        onChange={(v) => onChange({ created_before: v })}
      />
    </SimpleGrid>
  );
}

/** A field that speaks when it is left or Enter is pressed, not at every letter. */
function Settled({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  const settle = () => typed.trim() !== value && onChange(typed.trim());
  return (
    <TextInput
      label={label}
      value={typed}
      onChange={(e) => setTyped(e.currentTarget.value)}
      onBlur={settle}
      onKeyDown={(e) => e.key === 'Enter' && settle()}
      maxLength={256}
    />
  );
}

function TimeField({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const at = value ? new Date(value) : undefined;
  const local = at ? new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16) : '';
  return (
    <TextInput
      type="datetime-local"
      label={label}
      value={local}
      onChange={(e) => {
        const typed = e.currentTarget.value;
        const ms = Date.parse(typed);
        if (!typed || !Number.isNaN(ms)) onChange(typed ? new Date(ms).toISOString() : '');
      }}
    />
  );
}

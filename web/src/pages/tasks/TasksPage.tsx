import './tasks.css';
import { Button, Skeleton } from '@mantine/core';
import { useCallback, useMemo, useRef } from 'react';
import { Link, useLocation, useSearch } from 'wouter';
import { CommandBox } from '../../components/CommandBox';
import { count } from '../../components/format';
import { IconPlus } from '../../components/icons';
import { LagNote } from '../../components/LagNote';
import { LiveDot } from '../../components/LiveDot';
import { Page } from '../../components/Page';
import { EmptyState, ProblemAlert } from '../../components/Problem';
import { useKeys } from '../../layout/keys';
import { FilterBar } from './FilterBar';
import { type Filters, filtersToSearch, isFiltered, parseFilters } from './filters';
import { StateChips } from './StateChips';
import { TaskTable } from './TaskTable';
import { PAGE_SIZE, useTaskList } from './useTaskList';

export default function TasksPage() {
  const search = useSearch();
  const [, go] = useLocation();
  const filters = useMemo(() => parseFilters(search), [search]);
  const list = useTaskList(filters);
  const searchBox = useRef<HTMLInputElement>(null);
  const change = useCallback(
    (part: Partial<Filters>) => {
      const next = filtersToSearch({ ...filters, ...part });
      go(`/tasks${next ? `?${next}` : ''}`, { replace: true });
    },
    [filters, go],
  );
  const showNew = useCallback(() => {
    window.scrollTo({ top: 0 });
    list.restart();
  }, [list.restart]);
  useKeys({
    '/': () => searchBox.current?.focus(),
    n: () => list.fresh > 0 && showNew(),
  });
  return (
    <Page
      title="Tasks"
      lead={
        <>
          <LiveDot state={list.stream} /> {list.stream === 'live' && <LagNote lag={list.lag} />}
        </>
      }
      actions={
        <Button component={Link} href="/tasks/new" leftSection={<IconPlus />}>
          New task
        </Button>
      }
    >
      <StateChips counts={list.counts} chosen={filters.states} onChange={(states) => change({ states })} />
      <FilterBar filters={filters} onChange={change} searchRef={searchBox} />
      <div role="status" aria-live="polite" className="new-rows">
        {list.fresh > 0 && (
          <Button size="compact-sm" variant="light" onClick={showNew}>
            {list.fresh >= PAGE_SIZE ? `${PAGE_SIZE}+` : count(list.fresh)} new {list.fresh === 1 ? 'task' : 'tasks'}:
            show
          </Button>
        )}
      </div>
      {list.error !== null && list.error !== undefined && <ProblemAlert error={list.error} onRetry={list.restart} />}
      {list.loading ? (
        !list.error && <Loading />
      ) : list.rows.length === 0 && !list.hasMore ? (
        <Nothing filtered={isFiltered(filters)} onClear={() => go('/tasks')} />
      ) : (
        <TaskTable
          rows={list.rows}
          total={list.counts?.at_least || filters.states.length > 0 ? undefined : list.counts?.total}
          loadingMore={list.loadingMore}
          pages={list.pages}
          onEnd={list.hasMore ? list.loadMore : nothing}
          onVisible={list.setVisible}
        />
      )}
    </Page>
  );
}

const nothing = () => {};

function Loading() {
  return (
    <div aria-busy="true" role="status" aria-label="Loading the tasks">
      {Array.from({ length: 8 }, (_, i) => (
        <Skeleton key={i} height={44} mb={8} />
      ))}
    </div>
  );
}

function Nothing({ filtered, onClear }: { filtered: boolean; onClear: () => void }) {
  if (filtered) {
    return (
      <EmptyState title="No task is like that">
        <p>
          Words are searched for in errors, reasons, tags and annotations; what ended long ago may have been removed.
        </p>
        <Button variant="default" mt="sm" onClick={onClear}>
          Clear the filters
        </Button>
      </EmptyState>
    );
  }
  return (
    <EmptyState title="There are no tasks yet">
      <p>
        Submit one with <Link href="/tasks/new">a form</Link>, or from the command line:
      </p>
      <CommandBox command="tasker submit NAME --input '{}'" />
    </EmptyState>
  );
}

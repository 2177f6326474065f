import './stuck.css';
import { Button, Loader, Select, Skeleton } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useLocation, useSearch } from 'wouter';
import { api } from '../../api/client';
import { useDefinitions, useStuck } from '../../api/queries';
import type { Stuck, StuckGroup } from '../../api/types';
import { Fixes } from '../../components/Fixes';
import { count, shortId } from '../../components/format';
import { IconCheck, IconDown, IconRight } from '../../components/icons';
import { Page } from '../../components/Page';
import { EmptyState, ProblemAlert } from '../../components/Problem';
import { StateBadge } from '../../components/StateBadge';
import { Time } from '../../components/Time';
import { FixAllButton } from './FixAllButton';
import { isOf, queryOf } from './fixAll';

/** Everything that does not move, a line for every cause, the worst first: /stuck?namespace=N */
export default function StuckPage() {
  const namespace = new URLSearchParams(useSearch()).get('namespace') ?? '';
  const [, go] = useLocation();
  const choose = (n: string | null) =>
    go(n ? `/stuck?namespace=${encodeURIComponent(n)}` : '/stuck', { replace: true });
  const stuck = useStuck(namespace);
  const definitions = useDefinitions();
  const namespaces = [...new Set([...(definitions.data ?? []).map((d) => d.namespace), namespace])]
    .filter(Boolean)
    .sort();
  const groups = stuck.data?.groups ?? [];
  const total = groups.reduce((n, g) => n + g.tasks, 0);
  return (
    <Page
      title="Stuck"
      lead={
        stuck.data
          ? `${count(total)} ${total === 1 ? 'task does' : 'tasks do'} not move by themselves, for ${count(groups.length)} ${groups.length === 1 ? 'cause' : 'causes'}.`
          : 'What does not move by itself, why, and what moves it.'
      }
      actions={
        <Select
          aria-label="Namespace"
          placeholder="all namespaces"
          data={namespaces}
          value={namespace || null}
          onChange={choose}
          clearable
        />
      }
    >
      {stuck.isError && <ProblemAlert error={stuck.error} onRetry={stuck.refetch} />}
      {stuck.isPending && !stuck.isError && <Skeleton height={120} aria-busy="true" />}
      {stuck.data && groups.length === 0 && (
        <EmptyState title="Nothing is stuck" icon={<IconCheck size={28} />}>
          Every task runs, sleeps as its definition says, is tried again soon, or has ended. What failed for good would
          be here too.
        </EmptyState>
      )}
      {groups.map((g) => (
        <Group key={keyOf(g)} group={g} namespace={namespace} />
      ))}
    </Page>
  );
}

// Held as a whole, or failed for good: somebody has to act. The rest waits for something that may still come.
const isBad = (g: StuckGroup) =>
  g.partitions !== undefined || /fail|frozen|full|closed|without_owner|deadline/.test(g.reason);

const keyOf = (g: StuckGroup) =>
  [g.reason, g.namespace, g.name, g.step, g.handler, g.error_kind, g.partitions?.join()].join(' ');

function Group({ group: g, namespace }: { group: StuckGroup; namespace: string }) {
  const [open, setOpen] = useState(false);
  const many = g.tasks !== 1;
  const how =
    g.tasks > 0
      ? `${count(g.tasks)}${g.at_least ? '+' : ''} ${many ? 'tasks' : 'task'}`
      : g.partitions
        ? 'whole partitions'
        : '';
  return (
    <section className={`panel stuck${isBad(g) ? ' is-bad' : ''}`} aria-label={`${g.reason}, ${how}`}>
      <div className="stuck-head">
        <h2>
          <code>{g.reason}</code>
        </h2>
        <strong className="number">{how}</strong>
        {g.name && (
          <Link href={`/definitions/${encodeURIComponent(g.namespace ?? '')}/${encodeURIComponent(g.name)}`}>
            {g.namespace}/{g.name}
          </Link>
        )}
        {g.step && <span className="dimmed">step {g.step}</span>}
        {g.handler && <span className="dimmed">handler {g.handler}</span>}
        {g.partitions && <span className="dimmed">partitions {g.partitions.join(', ')}</span>}
        {g.since && (
          <span className="dimmed nowrap">
            since <Time at={g.since} />
          </span>
        )}
      </div>
      <p className="sentence">{g.text}</p>
      {(g.fix || g.hint) && (
        <div className="stuck-fix">
          {many && g.fix && <p className="dimmed small">For the first of them:</p>}
          <Fixes explanation={g} />
          <FixAllButton group={g} namespace={namespace} />
        </div>
      )}
      {g.tasks > 0 && (
        <>
          <Button
            size="compact-sm"
            variant="subtle"
            className="stuck-more"
            aria-expanded={open}
            leftSection={open ? <IconDown size={12} /> : <IconRight size={12} />}
            onClick={() => setOpen(!open)}
          >
            {open ? 'Hide the tasks' : many ? `Show the tasks` : 'Show the task'}
          </Button>
          {open && <Tasks group={g} namespace={namespace} />}
        </>
      )}
    </section>
  );
}

/** The tasks of one cause, as far as the page of the server tells causes apart: by reason and definition. */
function Tasks({ group: g, namespace }: { group: StuckGroup; namespace: string }) {
  const query = { ...queryOf(g, namespace), limit: 50 };
  const list = useInfiniteQuery({
    queryKey: ['stuck', 'tasks', query],
    queryFn: ({ pageParam, signal }) => api<Stuck>(['stuck'], { signal, query: { ...query, after: pageParam } }),
    initialPageParam: '',
    getNextPageParam: (page) => page.next || undefined,
    placeholderData: keepPreviousData,
  });
  if (list.isError) return <ProblemAlert error={list.error} onRetry={list.refetch} />;
  if (list.isPending) return <Loader size="sm" aria-label="Loading the tasks" />;
  const tasks = list.data.pages.flatMap((p) => p.tasks ?? []).filter((t) => isOf(g, t));
  return (
    <>
      <ul className="stuck-tasks">
        {tasks.map((t) => (
          <li key={t.task}>
            <div className="stuck-head">
              <StateBadge state={t.state} />
              <Link href={`/tasks/${t.task}`} title={t.task}>
                {t.name} <span className="mono">{shortId(t.task)}</span>
              </Link>
              <span className="dimmed small">
                <Time at={t.since} fallback="" />
              </span>
            </div>
            {t.text !== g.text && <p className="small sentence">{t.text}</p>}
            {t.fix && <Fixes explanation={{ fix: t.fix }} />}
          </li>
        ))}
      </ul>
      {tasks.length === 0 && <p className="dimmed">They have moved meanwhile.</p>}
      {list.hasNextPage && (
        <Button
          size="compact-sm"
          variant="default"
          loading={list.isFetchingNextPage}
          onClick={() => list.fetchNextPage()}
        >
          More
        </Button>
      )}
    </>
  );
}

import './analytics.css';
import { SegmentedControl, Select, Skeleton } from '@mantine/core';
import { Link, useLocation, useSearch } from 'wouter';
import { useDefinitions } from '../../api/queries';
import type { DefinitionStats, StepRow, TaskRow } from '../../api/types';
import { count, duration, percent, shortId } from '../../components/format';
import { IconChart } from '../../components/icons';
import { LagNote } from '../../components/LagNote';
import { Figures, Page, Panel, Scroll } from '../../components/Page';
import { EmptyState, ProblemAlert } from '../../components/Problem';
import { StateBadge } from '../../components/StateBadge';
import { Time } from '../../components/Time';
import { CriticalPath } from './CriticalPath';
import { DurationBar } from './DurationBar';
import { StepTable } from './StepTable';
import { useAnalytics } from './useAnalytics';

const RANGE_CHOICES = [
  { value: '1h', label: '1 h' },
  { value: '24h', label: '24 h' },
  { value: '7d', label: '7 d' },
  { value: '30d', label: '30 d' },
  { value: 'all', label: 'all' },
];

/** /analytics?range=24h&namespace=N&name=D */
export default function AnalyticsPage() {
  const q = new URLSearchParams(useSearch());
  const [, go] = useLocation();
  const range = RANGE_CHOICES.some((r) => r.value === q.get('range')) ? (q.get('range') as string) : '24h';
  const [namespace, name] = [q.get('namespace') ?? '', q.get('name') ?? ''];
  const answer = useAnalytics({ namespace, name, range });
  const definitions = useDefinitions();
  const set = (change: Record<string, string>) => {
    const next = new URLSearchParams(q);
    for (const [k, v] of Object.entries(change)) {
      if (v) next.set(k, v);
      else next.delete(k);
    }
    const text = next.toString();
    go(`/analytics${text ? `?${text}` : ''}`, { replace: true });
  };
  const ids = [
    ...new Set([
      ...(definitions.data ?? []).map((d) => `${d.namespace}/${d.name}`),
      ...(name ? [`${namespace}/${name}`] : []),
    ]),
  ];
  const a = answer.data;
  const stats = a?.definitions ?? [];
  return (
    <Page
      title="Analytics"
      lead={
        <>
          Tasks by the time of their end or failure. <LagNote lag={a?.lag} />
        </>
      }
      actions={
        <>
          <Select
            aria-label="Definition"
            placeholder="all definitions"
            data={ids.sort()}
            value={name ? `${namespace}/${name}` : null}
            onChange={(id) => {
              const [ns = '', n = ''] = id?.split('/') ?? [];
              set({ namespace: ns, name: n });
            }}
            clearable
            searchable
          />
          <SegmentedControl
            aria-label="Time"
            data={RANGE_CHOICES}
            value={range}
            onChange={(r) => set({ range: r === '24h' ? '' : r })}
          />
        </>
      }
    >
      {answer.isError && <ProblemAlert error={answer.error} onRetry={answer.refetch} />}
      {answer.isPending && !answer.isError && <Skeleton height={240} aria-busy="true" />}
      {a && stats.length === 0 && (
        <EmptyState title="No task ended in this time" icon={<IconChart size={28} />}>
          Choose a longer time. Tasks that still run are in <Link href="/tasks?state=in_progress">the list</Link>.
        </EmptyState>
      )}
      {stats.length > 0 && (
        <>
          <Overview stats={stats} />
          <Definitions stats={stats} />
          {name && stats.map((s) => <OneDefinition key={s.version} stats={s} />)}
          <SlowestTasks tasks={a?.slowest_tasks ?? []} />
          <StepList
            title="Slowest steps"
            steps={a?.slowest_steps ?? []}
            value={(s) => duration(s.duration_ns ?? 0)}
            head="Took"
          />
          <StepList
            title="Most retried"
            steps={a?.most_retried ?? []}
            value={(s) => `${count(s.attempt)} attempts`}
            head="Attempts"
          />
        </>
      )}
    </Page>
  );
}

function Overview({ stats }: { stats: DefinitionStats[] }) {
  const sum = (of: (s: DefinitionStats) => number) => stats.reduce((n, s) => n + of(s), 0);
  const [tasks, complete] = [sum((s) => s.tasks), sum((s) => s.complete)];
  return (
    <Figures
      items={[
        { name: 'tasks', value: count(tasks) },
        { name: 'success', value: tasks ? percent(complete / tasks) : '–', hint: `${count(complete)} complete` },
        { name: 'failed', value: count(sum((s) => s.failed)), bad: sum((s) => s.failed) > 0 },
        { name: 'cancelled', value: count(sum((s) => s.cancelled)) },
        { name: 'resolved', value: count(sum((s) => s.resolved_manually)) },
      ]}
    />
  );
}

function Definitions({ stats }: { stats: DefinitionStats[] }) {
  const longest = Math.max(1, ...stats.map((s) => s.duration.p99_ns));
  return (
    <Panel title="Definitions">
      <Scroll label="Definitions">
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Definition</th>
              <th scope="col" className="right">
                Tasks
              </th>
              <th scope="col">Success</th>
              <th scope="col" className="right">
                Failed
              </th>
              <th scope="col">p50 · p95 · p99 of complete tasks</th>
            </tr>
          </thead>
          <tbody>
            {stats.map((s) => (
              <tr key={`${s.namespace}/${s.name}@${s.version}`}>
                <td>
                  <Link
                    href={`/analytics?namespace=${encodeURIComponent(s.namespace)}&name=${encodeURIComponent(s.name)}`}
                  >
                    {s.name}
                  </Link>
                  <div className="dimmed small">
                    {s.namespace} · {s.version}
                  </div>
                </td>
                <td className="right">{count(s.tasks)}</td>
                <td>
                  <span className="rate">
                    <span className="rate-track" aria-hidden="true">
                      <span className="rate-bar" style={{ width: `${100 * s.success_rate}%` }} />
                    </span>
                    <span className="number">{s.tasks > 0 ? percent(s.success_rate) : '–'}</span>
                  </span>
                </td>
                <td className="right">{count(s.failed)}</td>
                <td>
                  {s.duration.count > 0 ? (
                    <>
                      <DurationBar durations={s.duration} longest={longest} />
                      <span className="number small">
                        {duration(s.duration.p50_ns)} · {duration(s.duration.p95_ns)} · {duration(s.duration.p99_ns)}
                      </span>
                    </>
                  ) : (
                    '–'
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </Panel>
  );
}

function OneDefinition({ stats: s }: { stats: DefinitionStats }) {
  return (
    <>
      {s.critical_path && s.critical_path.length > 0 && (
        <Panel title={`Critical path of ${s.name} ${s.version}`}>
          <CriticalPath points={s.critical_path} />
        </Panel>
      )}
      <Panel title={`Steps of ${s.name} ${s.version}`}>
        <StepTable steps={s.steps ?? []} />
      </Panel>
    </>
  );
}

function SlowestTasks({ tasks }: { tasks: TaskRow[] }) {
  if (tasks.length === 0) return null;
  return (
    <Panel title="Slowest tasks">
      <Scroll label="Slowest tasks">
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Task</th>
              <th scope="col">State</th>
              <th scope="col" className="right">
                Took
              </th>
              <th scope="col" className="right">
                Retries
              </th>
              <th scope="col">Ended</th>
            </tr>
          </thead>
          <tbody>
            {tasks.map((t) => (
              <tr key={t.id}>
                <td>
                  <Link href={`/tasks/${t.id}`}>
                    {t.name} <span className="mono">{shortId(t.id)}</span>
                  </Link>
                </td>
                <td>
                  <StateBadge state={t.state} />
                </td>
                <td className="right">{duration(t.duration_ns ?? 0)}</td>
                <td className="right">{count(t.retries ?? 0)}</td>
                <td>
                  <Time at={t.ended_at} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </Panel>
  );
}

function StepList({
  title,
  steps,
  value,
  head,
}: {
  title: string;
  steps: StepRow[];
  value: (s: StepRow) => string;
  head: string;
}) {
  if (steps.length === 0) return null;
  return (
    <Panel title={title}>
      <Scroll label={title}>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Step</th>
              <th scope="col">Task</th>
              <th scope="col">State</th>
              <th scope="col" className="right">
                {head}
              </th>
              <th scope="col">Last error</th>
            </tr>
          </thead>
          <tbody>
            {steps.map((s) => (
              <tr key={`${s.task} ${s.step}`}>
                <td>
                  <Link href={`/tasks/${s.task}?tab=steps&step=${encodeURIComponent(s.step)}`}>{s.step}</Link>
                </td>
                <td>
                  {s.task_name} <span className="mono dimmed">{shortId(s.task)}</span>
                </td>
                <td>
                  <StateBadge state={s.state} />
                </td>
                <td className="right">{value(s)}</td>
                <td className="small">{s.error?.message}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </Panel>
  );
}

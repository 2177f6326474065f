import { Skeleton } from '@mantine/core';
import { Link } from 'wouter';
import type { Definition } from '../../api/types';
import { count, duration, percent } from '../../components/format';
import { LagNote } from '../../components/LagNote';
import { Figures, Panel } from '../../components/Page';
import { EmptyState, ProblemAlert } from '../../components/Problem';
import { CriticalPath } from '../analytics/CriticalPath';
import { StepTable } from '../analytics/StepTable';
import { useAnalytics } from '../analytics/useAnalytics';

/** How the tasks of one version did in the last seven days. */
export function Statistics({ definition: d }: { definition: Definition }) {
  const query = { namespace: d.namespace, name: d.name, version: d.version, range: '7d', top: 0 };
  const answer = useAnalytics(query);
  if (answer.isError) return <ProblemAlert error={answer.error} onRetry={answer.refetch} />;
  if (answer.isPending) return <Skeleton height={200} aria-busy="true" />;
  const stats = answer.data.definitions?.find((s) => s.version === d.version);
  if (!stats || stats.tasks === 0) {
    return (
      <EmptyState title="No task of this version ended in the last 7 days">
        When some have, their numbers are here.
      </EmptyState>
    );
  }
  return (
    <div className="page">
      <p className="dimmed small">
        Tasks that ended or failed in the last 7 days. <LagNote lag={answer.data.lag} />{' '}
        <Link href={`/analytics?namespace=${encodeURIComponent(d.namespace)}&name=${encodeURIComponent(d.name)}`}>
          More in analytics
        </Link>
      </p>
      <Figures
        items={[
          {
            name: 'success',
            value: percent(stats.success_rate),
            hint: `${count(stats.complete)} of ${count(stats.tasks)}`,
          },
          { name: 'failed', value: count(stats.failed), bad: stats.failed > 0 },
          { name: 'cancelled', value: count(stats.cancelled) },
          { name: 'p50', value: duration(stats.duration.p50_ns) },
          { name: 'p95', value: duration(stats.duration.p95_ns) },
          { name: 'p99', value: duration(stats.duration.p99_ns) },
        ]}
      />
      {stats.critical_path && stats.critical_path.length > 0 && (
        <Panel title="Critical path">
          <CriticalPath points={stats.critical_path} />
        </Panel>
      )}
      <Panel title="Steps">
        <StepTable steps={stats.steps ?? []} />
      </Panel>
    </div>
  );
}

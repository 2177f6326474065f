import { Skeleton } from '@mantine/core';
import { useEffect, useState } from 'react';
import { ApiError } from '../../api/client';
import { useIndexStatus, useMe, useStatus } from '../../api/queries';
import type { PartitionStatus, Status } from '../../api/types';
import { CommandBox } from '../../components/CommandBox';
import { bytes, count, duration, percent } from '../../components/format';
import { LagNote } from '../../components/LagNote';
import { Figures, Page, Panel, Scroll } from '../../components/Page';
import { ProblemAlert } from '../../components/Problem';
import { Engines } from './Engines';
import { keepSamples, type Rates, ratesBetween, type Sample, sampleOf } from './rates';
import { Sparkline } from './Sparkline';

const SAMPLES = 60;

export default function SystemPage() {
  const status = useStatus();
  const me = useMe();
  const samples = useSamples(status.data, status.dataUpdatedAt);
  const rates = samples.slice(1).map((s, i) => ratesBetween(samples[i], s));
  const s = status.data;
  return (
    <Page
      title="System"
      lead={s ? `Data ${s.info.id} · generation ${s.info.generation} · server ${me.data?.version ?? ''}` : undefined}
    >
      {status.isError && <ProblemAlert error={status.error} onRetry={status.refetch} />}
      {status.isPending && !status.isError && <Skeleton height={240} aria-busy="true" />}
      {s && (
        <>
          <Reasons status={s} />
          <Overview status={s} rates={rates} />
          <Index />
          <Panel title="Partitions">
            <Partitions partitions={s.partitions} />
          </Panel>
          <Engines engines={s.engines ?? []} />
          <Panel title="From the command line">
            <CommandBox command="tasker top" />
            <CommandBox command="tasker doctor" />
          </Panel>
        </>
      )}
    </Page>
  );
}

function useSamples(status: Status | undefined, at: number): Sample[] {
  const [samples, setSamples] = useState<Sample[]>([]);
  useEffect(() => {
    if (status && at) setSamples((old) => keepSamples(old, sampleOf(status, at), SAMPLES));
  }, [status, at]);
  return samples;
}

function Reasons({ status }: { status: Status }) {
  const reasons = status.reasons ?? [];
  if (reasons.length === 0) return null;
  return (
    <Panel title="What holds partitions">
      {reasons.map((r) => (
        <div key={`${r.partition} ${r.reason}`} className="system-reason">
          <p>
            <strong>Partition {String(r.partition).padStart(2, '0')}</strong> <code>{r.reason}</code>: {r.text}
          </p>
          {r.fix && <CommandBox command={r.fix} />}
        </div>
      ))}
    </Panel>
  );
}

function Overview({ status: s, rates }: { status: Status; rates: (Rates | undefined)[] }) {
  const sum = (of: (p: PartitionStatus) => number | undefined) => s.partitions.reduce((n, p) => n + (of(p) ?? 0), 0);
  const now = rates.at(-1);
  const owned = s.partitions.filter((p) => p.phase === 'owning').length;
  const stored = sum((p) => p.stored?.bytes);
  const slowest = Math.max(0, ...s.partitions.map((p) => p.slowest_ack_ns ?? 0));
  return (
    <Figures
      items={[
        { name: 'partitions owned', value: `${owned} of ${s.info.partitions}`, bad: owned < s.info.partitions },
        { name: 'durability', value: s.info.durability },
        {
          name: 'events/s',
          value: now ? count(now.events) : '–',
          hint: <Sparkline values={rates.map((r) => r?.events ?? 0)} label="events per second, the last two minutes" />,
        },
        {
          name: 'commits/s',
          value: now ? count(now.commits) : '–',
          hint: (
            <Sparkline values={rates.map((r) => r?.commits ?? 0)} label="commits per second, the last two minutes" />
          ),
        },
        {
          name: 'commit latency',
          value: now?.ackNs === undefined ? '–' : duration(now.ackNs),
          hint: `slowest ${duration(slowest)}`,
        },
        {
          name: 'live tasks',
          value: count(sum((p) => p.live)),
          hint: `${count(sum((p) => p.held))} ready steps held`,
        },
        { name: 'failed tasks', value: count(sum((p) => p.failed)) },
        ...(stored > 0 || s.usage !== undefined
          ? [
              {
                name: 'stored',
                value: stored > 0 ? bytes(stored) : '–',
                hint: s.usage === undefined ? undefined : `${percent(s.usage)} of the store`,
                bad: (s.usage ?? 0) >= 0.85,
              },
            ]
          : []),
      ]}
    />
  );
}

function Index() {
  const index = useIndexStatus();
  if (index.isError) {
    const none = index.error instanceof ApiError && index.error.code === 'no_index';
    return (
      <Panel title="Index">
        {none ? <p>{index.error.message}</p> : <ProblemAlert error={index.error} onRetry={index.refetch} />}
      </Panel>
    );
  }
  if (!index.data) return null;
  return (
    <Panel title="Index" actions={<LagNote lag={index.data.lag} />}>
      <p className="mono small dimmed">covers {index.data.lag.covered}</p>
    </Panel>
  );
}

const PHASES: Record<string, string> = {
  owning: 'complete',
  loading: 'in_progress',
  closed: 'error',
  away: 'paused',
  stopped: 'cancelled',
};

function Partitions({ partitions }: { partitions: PartitionStatus[] }) {
  const heads = ['Sequence', 'Stored', 'Live', 'Held', 'Queued', 'Timers', 'Refused', 'Slowest commit', 'Slowest turn'];
  return (
    <Scroll label="Partitions">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">No.</th>
            <th scope="col">Phase</th>
            <th scope="col">Owner</th>
            {heads.map((h) => (
              <th key={h} scope="col" className="right">
                {h}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {partitions.map((p) => (
            <tr key={p.partition}>
              <th scope="row">{String(p.partition).padStart(2, '0')}</th>
              <td>
                <span className={`state-badge state-${PHASES[p.phase] ?? 'pending'}`}>{p.phase}</span>
                {p.why && <div className="small bad-text">{p.why}</div>}
              </td>
              <td className="nowrap">{p.owner ?? '–'}</td>
              <td className="right">{count(p.sequence ?? 0)}</td>
              <td className="right">{p.stored ? bytes(p.stored.bytes) : '–'}</td>
              <td className="right">{count(p.live ?? 0)}</td>
              <td className="right">{count(p.held ?? 0)}</td>
              <td className="right">{count(p.queued ?? 0)}</td>
              <td className="right">{count(p.timers ?? 0)}</td>
              <td className="right">{count(p.refused ?? 0)}</td>
              <td className="right">{duration(p.slowest_ack_ns ?? 0)}</td>
              <td className="right">{duration(p.slowest_turn_ns ?? 0)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

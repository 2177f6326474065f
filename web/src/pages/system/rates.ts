// Rates from counters: what a number has grown by between two answers.

import type { Status } from '../../api/types';

export interface Sample {
  /** milliseconds */
  at: number;
  commits: number;
  events: number;
  bytes: number;
  ackWaitNs: number;
  /** partitions that had an owner: when that changes, the counters begin anew somewhere */
  owners: string;
}

export interface Rates {
  commits: number;
  events: number;
  bytes: number;
  /** mean wait for an acknowledgement, nanoseconds; undefined without a commit */
  ackNs: number | undefined;
}

export function sampleOf(status: Status, at: number): Sample {
  const sum = (of: (p: Status['partitions'][number]) => number | undefined) =>
    status.partitions.reduce((n, p) => n + (of(p) ?? 0), 0);
  return {
    at,
    commits: sum((p) => p.commits),
    events: sum((p) => p.events),
    bytes: sum((p) => p.bytes),
    ackWaitNs: sum((p) => p.ack_wait_ns),
    owners: status.partitions.map((p) => p.owner ?? '').join(),
  };
}

/** Per second between two samples; undefined when they cannot be compared. */
export function ratesBetween(before: Sample | undefined, now: Sample): Rates | undefined {
  if (!before || now.at - before.at < 200 || before.owners !== now.owners || now.commits < before.commits)
    return undefined;
  const seconds = (now.at - before.at) / 1000;
  const commits = now.commits - before.commits;
  return {
    commits: commits / seconds,
    events: (now.events - before.events) / seconds,
    bytes: (now.bytes - before.bytes) / seconds,
    ackNs: commits > 0 ? (now.ackWaitNs - before.ackWaitNs) / commits : undefined,
  };
}

/** The sample with the next one, at most `keep` of them. */
export function keepSamples(samples: Sample[], next: Sample, keep: number): Sample[] {
  const last = samples.at(-1);
  if (last && next.at <= last.at) return samples;
  return [...samples.slice(-(keep - 1)), next];
}

// The wire types of analytics and of the system's state; types.ts has the rest.

import type { Lag, StepRow, TaskRow } from './types';

export interface Durations {
  count: number;
  sum_ns: number;
  min_ns: number;
  p50_ns: number;
  p95_ns: number;
  p99_ns: number;
  max_ns: number;
}

export interface StepStats {
  step: string;
  executions: number;
  complete: number;
  failed: number;
  retries: number;
  success_rate: number;
  duration: Durations;
}

export interface DefinitionStats {
  namespace: string;
  name: string;
  version: string;
  tasks: number;
  complete: number;
  failed: number;
  cancelled: number;
  resolved_manually: number;
  success_rate: number;
  duration: Durations;
  steps: StepStats[] | null;
  critical_path?: { step: string; p50_ns: number; ends_ns: number }[];
}

export interface Analytics {
  definitions: DefinitionStats[] | null;
  slowest_tasks: TaskRow[] | null;
  slowest_steps: StepRow[] | null;
  most_retried: StepRow[] | null;
  lag: Lag;
}

export interface PartitionStatus {
  partition: number;
  phase: string;
  sequence?: number;
  commits?: number;
  events?: number;
  bytes?: number;
  refused?: number;
  stale?: number;
  ack_wait_ns?: number;
  slowest_ack_ns?: number;
  slowest_turn_ns?: number;
  snapshots?: number;
  live?: number;
  held?: number;
  queued?: number;
  timers?: number;
  pending?: number;
  in_progress?: number;
  failed?: number;
  owner?: string;
  why?: string;
  stored?: { first: number; last: number; bytes: number };
}

export interface HandlerStatus {
  name: string;
  limit: number;
  running: number;
  leaked?: number;
  refused?: string;
}

export interface EngineStatus {
  name: string;
  version: string;
  executor: {
    slots: number;
    free: number;
    running: number;
    leaked?: number;
    draining?: boolean;
    handlers?: HandlerStatus[] | null;
    executions?: number;
    completed?: number;
    failed?: number;
    panics?: number;
    timeouts?: number;
    late?: number;
  };
  handlers: string[] | null;
}

export interface Status {
  info: { id: string; generation: number; partitions: number; durability: string };
  partitions: PartitionStatus[];
  engines: EngineStatus[] | null;
  reasons?: { partition: number; reason: string; text: string; fix?: string }[] | null;
  /** of the store, 0 to 1 */
  usage?: number;
}

export interface IndexStatus {
  lag: Lag;
  [more: string]: unknown;
}

// The wire types of /api/v1, as the Go types that they come from have them (httpapi/openapi.json). Durations are integers of
// nanoseconds, times are RFC 3339, positions are ids of events: PP-SEQ-IDX.

export type * from './systemTypes';

export type State = 'pending' | 'in_progress' | 'complete' | 'error' | 'cancelled' | 'resolved_manually';
export const STATES: readonly State[] = [
  'in_progress',
  'pending',
  'error',
  'complete',
  'cancelled',
  'resolved_manually',
];

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface Me {
  name: string;
  scopes: string[];
  namespaces: string[] | null;
  auth: 'off' | 'token' | 'oidc';
  version: string;
}

export interface Lag {
  covered: string;
  commits: number;
  behind_ns?: number;
}

export interface StepCounts {
  total: number;
  pending?: number;
  in_progress?: number;
  complete?: number;
  error?: number;
  cancelled?: number;
  resolved_manually?: number;
}

export interface LastError {
  step: string;
  attempt: number;
  kind: string;
  code?: string;
  message: string;
  at: string;
}

export interface Note {
  kind: string;
  step?: string;
  annotation: Json;
  at: string;
}

export interface TaskRow {
  id: string;
  namespace: string;
  name: string;
  version: string;
  state: State;
  paused?: boolean;
  expired?: boolean;
  waiting?: string;
  waiting_until?: string;
  failed?: string;
  round: number;
  initiator?: string;
  source_system?: string;
  reason?: string;
  correlation?: string;
  tags?: string[];
  fields?: Record<string, string>;
  annotations?: Note[];
  created_at: string;
  started_at?: string;
  updated_at: string;
  ended_at?: string;
  deadline?: string;
  duration_ns?: number;
  steps: StepCounts;
  retries?: number;
  last_error?: LastError;
  position: string;
}

export interface TaskPage {
  tasks: TaskRow[];
  next?: string;
  lag: Lag;
}

export interface Counts {
  states: Partial<Record<State, number>>;
  total: number;
  at_least?: boolean;
  lag: Lag;
}

export interface StepError {
  message: string;
  kind: string;
  code?: string;
  frames?: string[];
}

export interface StepRow {
  task: string;
  namespace: string;
  task_name: string;
  version: string;
  step: string;
  handler: string;
  state: State;
  skipped?: boolean;
  attempt: number;
  executions: number;
  started_at?: string;
  ended_at?: string;
  duration_ns?: number;
  retry_at?: string;
  error?: StepError;
  position: string;
}

export interface StepProgress {
  done: number;
  total?: number;
  message?: string;
  at: string;
}

export interface Step {
  name: string;
  handler: string;
  depends_on?: string[];
  state: State;
  skipped?: boolean;
  /** of a fork: it ended in the task that was forked */
  inherited?: boolean;
  ready?: boolean;
  held?: string;
  optional?: boolean;
  attempt: number;
  executions: number;
  round: number;
  retry_limit: number;
  started_at?: string;
  ended_at?: string;
  retry_at?: string;
  sleep_until?: string;
  inputs?: Json;
  error?: StepError;
  result?: Json;
  dependent_system?: string;
  progress?: StepProgress;
  checkpoint?: Json;
}

export interface Task {
  id: string;
  namespace: string;
  name: string;
  version: string;
  state: State;
  paused?: boolean;
  round: number;
  context?: Json;
  result?: Json;
  initiator?: string;
  source_system?: string;
  reason?: string;
  tags?: string[];
  correlation?: string;
  created_at: string;
  started_at?: string;
  ended_at?: string;
  deadline?: string;
  waiting?: string;
  waiting_until?: string;
  failed?: string;
  /** nothing: it is no fork */
  forked_from?: { task: string; position: string };
  execution: unknown;
  steps?: Step[];
  position: string;
}

export interface StepLog {
  at: string;
  attempt: number;
  lines: string[];
  dropped?: number;
}

export type Outcome = 'running' | 'completed' | 'failed' | 'cancelled';

export interface Execution {
  step: string;
  attempt: number;
  round: number;
  started_at: string;
  ended_at?: string;
  duration_ns?: number;
  outcome: Outcome;
  error?: StepError;
  retry_at?: string;
  waited_ns?: number;
}

export interface StepDetail extends Omit<Step, 'executions'> {
  executions: Execution[] | null;
  log: StepLog[] | null;
  input?: { context?: Json; results?: Record<string, Json> };
  trimmed?: boolean;
}

export interface HistoryEvent {
  id: string;
  type: string;
  at: string;
  step?: string;
  attempt?: number;
  actor: string;
  cause?: string;
  data?: Json;
  duration_ns?: number;
}

export interface History {
  task: string;
  namespace?: string;
  name?: string;
  version?: string;
  created_at?: string;
  ended_at?: string;
  duration_ns?: number;
  trimmed?: boolean;
  events: HistoryEvent[];
  executions: Execution[];
  next?: string;
}

export interface Explanation {
  task: string;
  step?: string;
  reason: string;
  text: string;
  since?: string;
  until?: string;
  evidence?: string;
  fix?: string;
  hint?: string;
}

export interface StuckTask extends Explanation {
  name: string;
  namespace: string;
  state: State;
}

/** One cause, and how many tasks it holds. */
export interface StuckGroup {
  reason: string;
  /** 1 is the worst */
  severity: number;
  /** 0: nobody can say how many */
  tasks: number;
  at_least?: boolean;
  /** that are held as a whole */
  partitions?: number[];
  namespace?: string;
  name?: string;
  step?: string;
  handler?: string;
  error_kind?: string;
  text: string;
  since?: string;
  fix?: string;
  hint?: string;
  examples?: string[] | null;
}

export interface Stuck {
  groups: StuckGroup[] | null;
  tasks: StuckTask[] | null;
  next?: string;
  more?: boolean;
}

export interface Receipt {
  id: string;
  created: boolean;
  position: string;
}

export interface VerbReceipt {
  task: string;
  step?: string;
  changed: boolean;
  from: State;
  to: State;
  attempt?: number;
  reopened?: boolean;
  position: string;
}

export interface DefinitionSummary {
  namespace: string;
  name: string;
  version: string;
  description?: string;
  steps: number;
  hash?: string;
}

export interface DefinitionStep {
  name: string;
  handler: string;
  depends_on?: string[] | null;
  description?: string;
  retry_limit?: number;
  optional?: boolean;
  skippable?: boolean;
  dependent_system?: string;
  timeout_ns?: number;
}

export interface Definition {
  namespace: string;
  name: string;
  version: string;
  description?: string;
  context_schema?: Json;
  steps: DefinitionStep[];
  versions: string[] | null;
  body: Json;
}

export interface Submission {
  name: string;
  namespace?: string;
  version?: string;
  context?: Json;
  id?: string;
  key?: string;
  initiator?: string;
  source_system?: string;
  reason?: string;
  tags?: string[];
  bypass_steps?: string[];
  correlation?: string;
}

export interface DeadLetter {
  sequence: number;
  /** submission: a request to the intake that was refused; subscriber: an event that a subscriber could not handle */
  kind: string;
  name?: string;
  time: string;
  subject?: string;
  reason: string;
  size: number;
  /** what was cut; "" when all is there */
  truncated?: string;
  headers?: Record<string, string>;
  original?: Record<string, string[]>;
  /** the body: one of the three; none in a list */
  data?: Json;
  text?: string;
  binary?: string;
}

export interface DeadLetters {
  letters: DeadLetter[] | null;
  next?: number;
}

export interface Subscriber {
  name: string;
  lag: number;
  /** next is the position of the first event that it has yet to handle */
  partitions: { partition: number; next: string; at?: string; lag: number }[] | null;
}

/** The data of a server-sent event. */
export interface LiveEvent {
  id: string;
  type: string;
  at: string;
  task?: string;
  namespace?: string;
  name?: string;
  step?: string;
  attempt?: number;
  actor?: string;
  data?: Json;
}

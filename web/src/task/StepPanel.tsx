import { CloseButton } from '@mantine/core';
import { useState } from 'react';
import { Link } from 'wouter';
import { useMe } from '../api/queries';
import type { Execution, Json, Step, StepLog, Task } from '../api/types';
import { duration } from '../components/format';
import { JsonView } from '../components/Json';
import { ProblemAlert } from '../components/Problem';
import { StateBadge, shownOfStep } from '../components/StateBadge';
import { Duration, Time } from '../components/Time';
import { StepDialog } from './dialogs';
import { ExplainBox } from './ExplainBox';
import { useStep } from './live';
import { progressOf, tookOf } from './steps';
import { Action } from './TaskHeader';
import { type StepVerb, scopeRefusal, stepRefusal, stepVerbs } from './verbs';

interface Props {
  task: Task;
  step: Step;
  /** The event after which one looks; undefined = now. */
  at: string | undefined;
  onClose: () => void;
  onSelect: (name: string) => void;
}

/** Everything about one step. */
export function StepPanel({ task, step, at, onClose, onSelect }: Props) {
  const detail = useStep(task.id, step.name, at === undefined);
  const now = at === undefined ? detail.data : undefined;
  const children = (task.steps ?? []).filter((s) => s.depends_on?.includes(step.name)).map((s) => s.name);
  return (
    <section className="panel step-panel" aria-label={`Step ${step.name}`} data-testid="step-panel">
      <div className="panel-head">
        <h2 className="cut" title={step.name}>
          {step.name}
        </h2>
        <StateBadge state={shownOfStep(step)} />
        <CloseButton aria-label="Close the step" onClick={onClose} className="push" />
      </div>
      <StepActions task={task} step={step} at={at} />
      {at === undefined && <ExplainBox task={task} step={step} />}
      <StepFacts step={step} />
      {step.error && <StepFailure step={step} />}
      {at === undefined && detail.isError && (
        <ProblemAlert error={detail.error} onRetry={() => void detail.refetch()} />
      )}
      {step.result !== undefined && (
        <Part title="Result">
          <JsonView value={step.result} label="the result" />
        </Part>
      )}
      <StepInput task={task} step={step} now={now?.input} />
      {now && now.executions.length > 0 && <Executions list={now.executions} />}
      {now && now.log.length > 0 && <LogLines log={now.log} />}
      {step.checkpoint !== undefined && (
        <Part title="Checkpoint">
          <JsonView value={step.checkpoint} label="the checkpoint" />
        </Part>
      )}
      {now?.trimmed && <p className="dimmed small">The beginning of the history is not in the log any more.</p>}
      <Neighbours title="Waits for" names={step.depends_on ?? []} onSelect={onSelect} />
      <Neighbours title="Before" names={children} onSelect={onSelect} />
    </section>
  );
}

function Part({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <div className="part">
      <h3>{title}</h3>
      {children}
    </div>
  );
}

const verbs = Object.keys(stepVerbs) as StepVerb[];

function StepActions({ task, step, at }: { task: Task; step: Step; at: string | undefined }) {
  const [open, setOpen] = useState<StepVerb>();
  const me = useMe();
  const before = at === undefined ? scopeRefusal(me.data, 'operate') : 'you look at the past: go back to now first';
  return (
    <div className="page-actions">
      {verbs.map((v) => (
        <Action
          key={v}
          name={stepVerbs[v].name}
          refusal={before || stepRefusal(v, task, step)}
          danger={stepVerbs[v].danger}
          onClick={() => setOpen(v)}
        />
      ))}
      {verbs.map((v) => (
        <StepDialog key={v} task={task} step={step} verb={v} opened={open === v} onClose={() => setOpen(undefined)} />
      ))}
    </div>
  );
}

function StepFacts({ step }: { step: Step }) {
  const took = tookOf(step);
  const progress = progressOf(step);
  const rows: [string, React.ReactNode][] = [
    ['Handler', <code key="h">{step.handler}</code>],
    ['Tries', `${step.attempt} (${step.executions} of ${step.retry_limit} in round ${step.round})`],
  ];
  if (step.started_at) rows.push(['Started', <Time key="s" at={step.started_at} />]);
  if (took !== undefined) rows.push(['Took', duration(took)]);
  else if (step.state === 'in_progress')
    rows.push(['Runs for', <Duration key="r" {...(step.started_at ? { since: step.started_at } : {})} />]);
  if (progress) rows.push(['Progress', `${progress}${step.progress?.message ? `: ${step.progress.message}` : ''}`]);
  if (step.retry_at) rows.push(['Tried again', <Time key="t" at={step.retry_at} />]);
  if (step.sleep_until) rows.push(['Sleeps until', <Time key="u" at={step.sleep_until} />]);
  if (step.held) rows.push(['Held', step.held]);
  if (step.optional) rows.push(['Optional', 'the task completes without it']);
  if (step.inherited) rows.push(['Taken over', 'from the task that was forked']);
  if (step.dependent_system) rows.push(['Talks to', step.dependent_system]);
  return (
    <dl className="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function StepFailure({ step }: { step: Step }) {
  const e = step.error;
  if (!e) return null;
  return (
    <Part title={step.state === 'error' ? 'Error' : 'Last error'}>
      <div className="failure">
        <p className="failure-text">{e.message}</p>
        <p className="small dimmed">
          {e.kind}
          {e.code ? ` · ${e.code}` : ''}
        </p>
        {e.frames && e.frames.length > 0 && (
          <details>
            <summary>Where ({e.frames.length} frames)</summary>
            <pre>{e.frames.join('\n')}</pre>
          </details>
        )}
      </div>
    </Part>
  );
}

/** What the handler is given: an operator's inputs, else the context of the task, and the results of the steps before it. */
function StepInput({
  task,
  step,
  now,
}: {
  task: Task;
  step: Step;
  now: { context?: Json; results: Record<string, Json> } | undefined;
}) {
  const results: Record<string, Json> = now?.results ?? {};
  if (!now) {
    const parents = new Set(step.depends_on);
    for (const s of task.steps ?? []) if (parents.has(s.name) && s.result !== undefined) results[s.name] = s.result;
  }
  const context = step.inputs ?? now?.context ?? task.context;
  return (
    <Part title="Input">
      <p className="small dimmed">
        {step.inputs === undefined ? 'The context of the task' : 'Inputs of an operator, in place of the context'}
      </p>
      <JsonView value={context} label="the input" open={1} />
      {Object.keys(results).length > 0 && (
        <>
          <p className="small dimmed">Results of the steps before it</p>
          <JsonView value={results} label="the results before it" open={1} />
        </>
      )}
    </Part>
  );
}

const most = 100;

function Executions({ list }: { list: Execution[] }) {
  const shown = list.slice(-most).reverse();
  return (
    <Part title={`Executions (${list.length})`}>
      <ol className="executions">
        {shown.map((x) => (
          <li key={`${x.attempt}`}>
            <StateBadge state={stateOf(x)} text={x.outcome} /> <strong>try {x.attempt}</strong>{' '}
            <span className="small dimmed">
              round {x.round}, <Time at={x.started_at} />
              {x.duration_ns !== undefined && `, took ${duration(x.duration_ns)}`}
              {x.waited_ns !== undefined && x.waited_ns > 0 && `, waited ${duration(x.waited_ns)} before`}
            </span>
            {x.error && <p className="small failure-text">{x.error.message}</p>}
          </li>
        ))}
      </ol>
      {list.length > most && <p className="small dimmed">The newest {most}; the events have all.</p>}
    </Part>
  );
}

function stateOf(x: Execution) {
  const of = { running: 'in_progress', completed: 'complete', failed: 'error', cancelled: 'cancelled' } as const;
  return x.outcome === 'failed' && x.retry_at ? 'retrying' : of[x.outcome];
}

function LogLines({ log }: { log: StepLog[] }) {
  const lines = log.flatMap((l) => [
    ...l.lines.map((text) => `${l.attempt > 1 ? `[try ${l.attempt}] ` : ''}${text}`),
    ...(l.dropped ? [`… ${l.dropped} more lines were dropped`] : []),
  ]);
  const shown = lines.slice(-500);
  return (
    <Part title={`Log (${lines.length} lines)`}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard */}
      <pre className="log-lines" tabIndex={0}>
        {shown.join('\n')}
      </pre>
      {lines.length > shown.length && (
        <p className="small dimmed">The last {shown.length} lines; the events have all.</p>
      )}
    </Part>
  );
}

function Neighbours({
  title,
  names,
  onSelect,
}: {
  title: string;
  names: readonly string[];
  onSelect: (name: string) => void;
}) {
  if (names.length === 0) return null;
  return (
    <Part title={`${title} (${names.length})`}>
      <div className="chips small">
        {names.slice(0, 20).map((n) => (
          <Link
            key={n}
            href={`?step=${encodeURIComponent(n)}`}
            onClick={(e) => {
              e.preventDefault();
              onSelect(n);
            }}
          >
            {n}
          </Link>
        ))}
        {names.length > 20 && <span className="dimmed">and {names.length - 20} more</span>}
      </div>
    </Part>
  );
}

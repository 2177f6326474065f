import { Button, Tooltip } from '@mantine/core';
import { useState } from 'react';
import { Link } from 'wouter';
import { useMe } from '../api/queries';
import type { Task } from '../api/types';
import { count } from '../components/format';
import { Copy } from '../components/Json';
import { Figures } from '../components/Page';
import { StateBadge, shownOfTask } from '../components/StateBadge';
import { Duration, Time } from '../components/Time';
import { AnnotateDialog, TaskDialog } from './dialogs';
import { ForkDialog } from './ForkDialog';
import { scopeRefusal, type TaskVerb, taskRefusal, taskVerbs } from './verbs';

/** The title of the page: what it is, and how it is. */
export function TaskTitle({ task }: { task: Task }) {
  return (
    <span className="task-title">
      <span>{task.name}</span>
      <span className="dimmed task-version">@{task.version}</span>
      <span data-testid="task-state">
        <StateBadge state={shownOfTask(task)} />
      </span>
    </span>
  );
}

/** Where the task belongs. */
export function TaskLead({ task }: { task: Task }) {
  return (
    <span className="chips">
      <Link href={`/definitions/${encodeURIComponent(task.namespace)}/${encodeURIComponent(task.name)}`}>
        {task.namespace} / {task.name}
      </Link>
      <span className="task-id">
        <code>{task.id}</code>
        <Copy text={task.id} what="the id" />
      </span>
      {task.forked_from && (
        <span>
          forked from{' '}
          <Link
            href={`/tasks/${encodeURIComponent(task.forked_from.task)}?at=${encodeURIComponent(task.forked_from.position)}`}
          >
            <code>{task.forked_from.task}</code>
          </Link>
        </span>
      )}
      {task.tags?.map((t) => (
        <span key={t} className="tag">
          {t}
        </span>
      ))}
    </span>
  );
}

const verbs = Object.keys(taskVerbs) as TaskVerb[];

/** A button for every verb of the task; what makes no sense now is off, and says why. */
export function TaskActions({ task, at }: { task: Task; at: string | undefined }) {
  const [open, setOpen] = useState<TaskVerb | 'annotate' | 'fork'>();
  const me = useMe();
  const past = at === undefined ? '' : 'you look at the past: go back to now first';
  const operate = scopeRefusal(me.data, 'operate');
  const fork = operate || scopeRefusal(me.data, 'submit');
  const close = () => setOpen(undefined);
  return (
    <div className="page-actions" data-testid="task-actions">
      {verbs.map((v) => {
        const refusal = past || operate || taskRefusal(v, task);
        if (v === 'resume' && !task.paused) return null;
        if (v === 'pause' && task.paused) return null;
        return (
          <Action
            key={v}
            name={taskVerbs[v].name}
            refusal={refusal}
            danger={taskVerbs[v].danger}
            onClick={() => setOpen(v)}
          />
        );
      })}
      <Action name="Annotate" refusal={past || operate} onClick={() => setOpen('annotate')} />
      <Action
        name={at ? 'Fork from here' : 'Fork'}
        refusal={fork}
        onClick={() => setOpen('fork')}
        primary={at !== undefined}
      />
      {verbs.map((v) => (
        <TaskDialog key={v} task={task} verb={v} opened={open === v} onClose={close} />
      ))}
      <AnnotateDialog task={task} opened={open === 'annotate'} onClose={close} />
      <ForkDialog task={task} at={at} opened={open === 'fork'} onClose={close} />
    </div>
  );
}

/** A button that says why it is off: also to those who come with the keyboard, so it keeps the focus. */
export function Action({
  name,
  refusal,
  danger,
  primary,
  onClick,
}: {
  name: string;
  refusal: string;
  danger?: boolean | undefined;
  primary?: boolean;
  onClick: () => void;
}) {
  const off = refusal !== '';
  return (
    <Tooltip
      label={refusal}
      disabled={!off}
      withArrow
      multiline
      maw={280}
      events={{ hover: true, focus: true, touch: true }}
    >
      <Button
        size="xs"
        variant={primary ? 'filled' : 'default'}
        className={danger && !off ? 'danger' : ''}
        data-disabled={off || undefined}
        aria-disabled={off}
        onClick={(e) => (off ? e.preventDefault() : onClick())}
      >
        {name}
      </Button>
    </Tooltip>
  );
}

/** What one wants to know of a task at a glance. */
export function TaskFigures({ task, asOf }: { task: Task; asOf: string | undefined }) {
  const steps = task.steps ?? [];
  const over = steps.filter((s) => s.state === 'complete' || s.state === 'resolved_manually').length;
  const failed = steps.filter((s) => s.state === 'error').length;
  const running = steps.filter((s) => s.state === 'in_progress').length;
  const retries = steps.reduce((sum, s) => sum + Math.max(0, s.attempt - 1), 0);
  const ended = task.ended_at !== undefined;
  const until = task.ended_at ?? asOf;
  const ns = until ? Math.max(0, Date.parse(until) - Date.parse(task.created_at)) * 1e6 : undefined;
  return (
    <Figures
      items={[
        { name: 'Steps over', value: `${count(over)} of ${count(steps.length)}` },
        { name: 'Running', value: count(running) },
        { name: 'Failed', value: count(failed), bad: failed > 0 },
        { name: 'Retries', value: count(retries) },
        {
          name: ended ? 'Took' : 'Runs for',
          value: ns === undefined ? <Duration since={task.created_at} /> : <Duration ns={ns} />,
        },
        {
          name: 'Created',
          value: <Time at={task.created_at} />,
          hint: task.initiator ? `by ${task.initiator}` : undefined,
        },
        ...(task.deadline && !ended ? [{ name: 'Deadline', value: <Time at={task.deadline} /> }] : []),
        ...(task.round > 1 ? [{ name: 'Round', value: count(task.round) }] : []),
      ]}
    />
  );
}

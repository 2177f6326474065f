import { Button, Group } from '@mantine/core';
import { useState } from 'react';
import { Link } from 'wouter';
import { useExplain, useMe } from '../api/queries';
import type { Explanation, Step, Task } from '../api/types';
import { CommandBox } from '../components/CommandBox';
import { IconInfo } from '../components/icons';
import { ProblemAlert } from '../components/Problem';
import { Time } from '../components/Time';
import { hrefOf } from './address';
import { StepDialog, TaskDialog } from './dialogs';
import { fixOf, scopeRefusal, stepRefusal, stepVerbs, taskRefusal, taskVerbs } from './verbs';

/** Reasons that need nobody: the box is quiet then. */
const quiet = new Set([
  'step_running',
  'about_to_move',
  'task_ended',
  'step_over',
  'step_sleeping',
  'waiting_for_steps',
]);

/** Why a task, or a step of it, does not move, and what moves it. */
export function ExplainBox({ task, step }: { task: Task; step?: Step | undefined }) {
  const explain = useExplain(task.id, step?.name ?? '');
  if (explain.isError) return <ProblemAlert error={explain.error} onRetry={() => void explain.refetch()} />;
  if (!explain.data) return <p className="dimmed small">Looking why …</p>;
  return <Answer task={task} explanation={explain.data} of={step ? 'step' : 'task'} />;
}

function Answer({ task, explanation: x, of }: { task: Task; explanation: Explanation; of: 'task' | 'step' }) {
  return (
    <section
      className={quiet.has(x.reason) ? 'explain' : 'explain asks'}
      aria-label={`Why the ${of} is where it is`}
      data-testid={`explain-${of}`}
    >
      <div className="explain-head">
        <IconInfo size={16} />
        <p className="explain-text">{x.text}</p>
      </div>
      <div className="chips small">
        <code>{x.reason}</code>
        {x.since && (
          <span>
            since <Time at={x.since} />
          </span>
        )}
        {x.until && (
          <span>
            until <Time at={x.until} />
          </span>
        )}
        {x.step && of === 'task' && <Link href={hrefOf(x.task, { step: x.step })}>step {x.step}</Link>}
        {x.evidence && <Link href={hrefOf(x.task, { tab: 'events', at: x.evidence })}>event {x.evidence}</Link>}
      </div>
      {x.hint && <p className="small">{x.hint}</p>}
      {x.fix && <FixRow task={task} fix={x.fix} />}
    </section>
  );
}

/** The command that moves it, and a button that does the same. */
function FixRow({ task, fix }: { task: Task; fix: string }) {
  const [opened, setOpened] = useState(false);
  const me = useMe();
  const found = fixOf(fix, task.id);
  const step = found?.of === 'step' ? task.steps?.find((s) => s.name === found.step) : undefined;
  let refusal = scopeRefusal(me.data, 'operate');
  if (found?.of === 'task') refusal ||= taskRefusal(found.verb, task);
  if (found?.of === 'step') refusal ||= step ? stepRefusal(found.verb, task, step) : 'the task has no such step';
  const name = found?.of === 'task' ? `${taskVerbs[found.verb].name} the task` : '';
  const stepName = found?.of === 'step' ? `${stepVerbs[found.verb].name} ${found.step}` : '';
  return (
    <Group gap="xs" wrap="wrap" className="explain-fix">
      <CommandBox command={fix} label="the command that fixes it" />
      {found && (
        <Button size="xs" onClick={() => setOpened(true)} disabled={refusal !== ''} title={refusal || undefined}>
          {name || stepName} …
        </Button>
      )}
      {found?.of === 'task' && (
        <TaskDialog task={task} verb={found.verb} opened={opened} onClose={() => setOpened(false)} />
      )}
      {found?.of === 'step' && step && (
        <StepDialog task={task} step={step} verb={found.verb} opened={opened} onClose={() => setOpened(false)} />
      )}
    </Group>
  );
}

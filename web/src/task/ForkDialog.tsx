import { MultiSelect, Textarea, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useLocation } from 'wouter';
import { api } from '../api/client';
import type { Json, Receipt, Task } from '../api/types';
import { ReasonDialog, reasonFlag, shellQuote } from '../components/ReasonDialog';
import { parsed } from './verbs';

/** Makes a new task that begins where this one stands, or stood: with the same or another context. */
export function ForkDialog({
  task,
  at,
  opened,
  onClose,
}: {
  /** As it is, or as it was at `at`. */
  task: Task;
  at: string | undefined;
  opened: boolean;
  onClose: () => void;
}) {
  const [, go] = useLocation();
  const before = JSON.stringify(task.context ?? {}, null, 2);
  const [context, setContext] = useState<string>();
  const [rerun, setRerun] = useState<string[]>([]);
  const [key, setKey] = useState('');
  const text = context ?? before;
  const json = parsed(text);
  const isObject = json.value !== null && typeof json.value === 'object' && !Array.isArray(json.value);
  const invalid = json.problem || (isObject ? '' : 'The context has to be a JSON object.');
  const changed = !invalid && JSON.stringify(json.value) !== JSON.stringify(task.context ?? {});
  const over = (task.steps ?? []).filter((s) => s.state === 'complete' || s.state === 'resolved_manually');
  const body = (reason: string) => ({
    ...(at ? { at } : {}),
    ...(changed ? { context: json.value } : {}),
    ...(rerun.length > 0 ? { rerun } : {}),
    ...(key.trim() ? { key: key.trim() } : {}),
    ...(reason ? { reason } : {}),
  });
  const close = () => {
    setContext(undefined);
    setRerun([]);
    setKey('');
    onClose();
  };
  return (
    <ReasonDialog
      opened={opened}
      onClose={close}
      title={at ? `Fork a new task from event ${at}` : 'Fork a new task from here'}
      action="Fork the task"
      invalid={invalid}
      command={(reason) => forkCommand(task.id, at, changed ? json.value : undefined, rerun, key.trim(), reason)}
      run={(reason) => api<Receipt>(['tasks', task.id, 'fork'], { method: 'POST', body: body(reason) })}
      onDone={(r) => go(`/tasks/${encodeURIComponent(r.id)}`)}
      done={(r) => (r.created ? 'The fork is made' : 'This fork was made before')}
    >
      <p>
        The new task takes over the {over.length === 1 ? 'one step' : `${over.length} steps`} that{' '}
        {over.length === 1 ? 'was' : 'were'} over{at ? ' then' : ''}, with their results, and runs all others. This task
        stays as it is.
      </p>
      <Textarea
        label="Context (JSON)"
        description={changed ? 'Changed: steps that are taken over keep what they made of the old one.' : 'As it was.'}
        value={text}
        onChange={(e) => setContext(e.currentTarget.value)}
        error={invalid || undefined}
        autosize
        minRows={4}
        maxRows={16}
        spellCheck={false}
        classNames={{ input: 'mono' }}
      />
      <MultiSelect
        label="Run again"
        description="Steps that run again although they were over. What is behind them runs again, too."
        data={over.map((s) => s.name)}
        value={rerun}
        onChange={setRerun}
        searchable
        clearable
        limit={50}
        nothingFoundMessage="No step of that name is over"
      />
      <TextInput
        label="Idempotency key"
        description="The same key is the same fork, however often it is asked for."
        value={key}
        onChange={(e) => setKey(e.currentTarget.value)}
      />
    </ReasonDialog>
  );
}

function forkCommand(
  id: string,
  at: string | undefined,
  context: Json | undefined,
  rerun: string[],
  key: string,
  reason: string,
): string {
  return [
    `tasker task fork ${id}`,
    at ? ` --at ${at}` : '',
    context === undefined ? '' : ` --input ${shellQuote(JSON.stringify(context))}`,
    ...rerun.map((s) => ` --rerun ${shellQuote(s)}`),
    key ? ` --key ${shellQuote(key)}` : '',
    reasonFlag(reason),
  ].join('');
}

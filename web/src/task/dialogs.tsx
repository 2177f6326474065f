import { NumberInput, Textarea, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api } from '../api/client';
import { taskVerb } from '../api/queries';
import type { Json, Step, Task, VerbReceipt } from '../api/types';
import { ReasonDialog, shellQuote } from '../components/ReasonDialog';
import { STATE_TEXT } from '../components/StateBadge';
import { doStep, parsed, type StepVerb, stepCommand, stepVerbs, type TaskVerb, taskCommand, taskVerbs } from './verbs';

interface Opened {
  opened: boolean;
  onClose: () => void;
}

/** After a verb everything that is known of the task is read again. */
function useChanged(id: string): () => void {
  const client = useQueryClient();
  return () => void client.invalidateQueries({ queryKey: ['task', id], refetchType: 'active' });
}

function said(r: VerbReceipt, what: string): string {
  if (!r.changed) return `${what}: nothing changed, it was so already`;
  return `${what}: ${STATE_TEXT[r.from]} → ${STATE_TEXT[r.to]}${r.reopened ? ', and the task was reopened' : ''}`;
}

/** Asks why, and does a verb of the task. */
export function TaskDialog({ task, verb, opened, onClose }: Opened & { task: Task; verb: TaskVerb }) {
  const changed = useChanged(task.id);
  const text = taskVerbs[verb];
  return (
    <ReasonDialog
      opened={opened}
      onClose={onClose}
      title={`${text.name} the task ${task.name}?`}
      action={`${text.name} the task`}
      danger={text.danger ?? false}
      command={(reason) => taskCommand(task.id, verb, reason)}
      run={(reason) => taskVerb(task.id, verb, reason)}
      onDone={changed}
      done={(r) => said(r, `Task ${task.name}`)}
    >
      <p>{text.does}</p>
    </ReasonDialog>
  );
}

/** Asks why, and what the verb of a step takes: a result, or inputs and a limit. */
export function StepDialog({ task, step, verb, opened, onClose }: Opened & { task: Task; step: Step; verb: StepVerb }) {
  const changed = useChanged(task.id);
  const [value, setValue] = useState('');
  const [limit, setLimit] = useState<number | string>('');
  const text = stepVerbs[verb];
  const takesResult = verb === 'complete' || verb === 'resolve';
  const json = parsed(value);
  const retries = typeof limit === 'number' ? { retry_limit: limit } : {};
  const inputs = json.value === undefined ? {} : { inputs: json.value };
  const result = json.value === undefined ? {} : { result: json.value };
  const change = verb === 'retry' ? { ...inputs, ...retries } : takesResult ? result : {};
  return (
    <ReasonDialog
      opened={opened}
      onClose={onClose}
      title={`${text.name} the step ${step.name}?`}
      action={`${text.name} the step`}
      danger={text.danger ?? false}
      invalid={json.problem}
      command={(reason) => stepCommand(task.id, step.name, verb, reason, change)}
      run={(reason) => doStep(task.id, step.name, verb, reason, change)}
      onDone={changed}
      done={(r) => said(r, `Step ${step.name}`)}
    >
      <p>{text.does}</p>
      {(takesResult || verb === 'retry') && (
        <Textarea
          label={takesResult ? 'Result (JSON)' : 'Inputs (JSON)'}
          description={
            takesResult
              ? 'What the steps behind it read as its result. Empty: it has none.'
              : 'What the handler gets in place of what it had. Empty: it keeps them.'
          }
          value={value}
          onChange={(e) => setValue(e.currentTarget.value)}
          error={json.problem || undefined}
          autosize
          minRows={2}
          maxRows={10}
          spellCheck={false}
          classNames={{ input: 'mono' }}
        />
      )}
      {verb === 'retry' && (
        <NumberInput
          label="Retry limit"
          description={`How many executions this round and later ones may have. Empty: ${step.retry_limit}, as before.`}
          value={limit}
          onChange={setLimit}
          min={1}
          max={1_000_000}
          allowDecimal={false}
        />
      )}
    </ReasonDialog>
  );
}

/** Stores a note with the task. */
export function AnnotateDialog({ task, opened, onClose }: Opened & { task: Task }) {
  const changed = useChanged(task.id);
  const [kind, setKind] = useState('note');
  const [value, setValue] = useState('');
  const [step, setStep] = useState('');
  const json = parsed(value);
  const unknown = step !== '' && !task.steps?.some((s) => s.name === step);
  // Who writes no JSON means a text.
  const annotation: Json | undefined = json.problem ? value : json.value;
  const invalid =
    kind.trim() === ''
      ? 'A note needs a kind.'
      : annotation === undefined
        ? 'A note needs a text.'
        : unknown
          ? `The task has no step ${step}.`
          : '';
  return (
    <ReasonDialog
      opened={opened}
      onClose={onClose}
      title="Annotate the task"
      action="Store the note"
      invalid={invalid}
      noReason
      command={() => annotateCommand(task.id, kind.trim(), annotation ?? '', step)}
      run={() =>
        api<VerbReceipt>(['tasks', task.id, 'annotate'], {
          method: 'POST',
          body: { kind: kind.trim(), annotation, ...(step ? { step } : {}) },
        })
      }
      onDone={changed}
      done={() => 'The note is stored'}
    >
      <p>A note is kept with the task, in whatever state it is, and changes nothing else.</p>
      <TextInput label="Kind" value={kind} onChange={(e) => setKind(e.currentTarget.value)} maxLength={200} required />
      <Textarea
        label="Note"
        description="A text, or JSON."
        value={value}
        onChange={(e) => setValue(e.currentTarget.value)}
        autosize
        minRows={3}
        maxRows={12}
        required
      />
      <TextInput
        label="Step"
        description="Empty: of the whole task."
        value={step}
        onChange={(e) => setStep(e.currentTarget.value)}
      />
    </ReasonDialog>
  );
}

function annotateCommand(id: string, kind: string, note: Json, step: string): string {
  const text = typeof note === 'string' ? ` ${shellQuote(note)}` : '';
  const value = typeof note === 'string' ? '' : ` --value ${shellQuote(JSON.stringify(note))}`;
  const of = step ? ` --step ${shellQuote(step)}` : '';
  return `tasker task annotate ${id}${text} --kind ${shellQuote(kind || 'note')}${value}${of}`;
}

import { api } from '../api/client';
import type { Json, Me, State, Step, Task, VerbReceipt } from '../api/types';
import { reasonFlag, shellQuote } from '../components/ReasonDialog';

export type TaskVerb = 'retry' | 'resume' | 'pause' | 'resolve' | 'cancel';
export type StepVerb = 'retry' | 'complete' | 'resolve' | 'cancel';

export interface VerbText {
  /** On the button. */
  name: string;
  /** What it does, in the dialog. */
  does: string;
  danger?: boolean;
}

export const taskVerbs: Record<TaskVerb, VerbText> = {
  retry: {
    name: 'Retry',
    does: 'Reopens the failed task: every step in error begins a new round and runs again at once. A pause is lifted.',
  },
  resume: { name: 'Resume', does: 'Takes the pause back. A retry that came due meanwhile is due now.' },
  pause: { name: 'Pause', does: 'No more steps are started. Steps that run may end, and waits for retries go on.' },
  resolve: {
    name: 'Resolve',
    does: 'Ends the failed task for good: somebody has dealt with it in another way. Its steps stay as they are.',
  },
  cancel: {
    name: 'Cancel',
    danger: true,
    does: 'Ends the task for good, and with it every step that is not over. Running handlers are told to stop. It cannot be undone; a fork can begin again from any moment.',
  },
};

export const stepVerbs: Record<StepVerb, VerbText> = {
  retry: {
    name: 'Retry',
    does: 'Begins a new round of the step: it runs again at once, without waiting for its backoff.',
  },
  complete: {
    name: 'Complete',
    does: 'Completes the running step in place of its handler, which is told to stop. What it reports afterwards is dropped.',
  },
  resolve: {
    name: 'Resolve',
    does: 'Declares the step done. The steps behind it may run, and read the result as its result.',
  },
  cancel: {
    name: 'Cancel',
    danger: true,
    does: 'Ends the step for good. Unless it is optional, the steps behind it never run, and the task fails when nothing else can.',
  },
};

const ended = (s: State) => s === 'complete' || s === 'cancelled' || s === 'resolved_manually';

/** Why a verb makes no sense for a task now; "" when it does. The server has the last word. */
export function taskRefusal(verb: TaskVerb, t: Pick<Task, 'state' | 'paused'>): string {
  if (ended(t.state)) return `the task has ended (${t.state}) and stays as it is`;
  const live = t.state !== 'error';
  switch (verb) {
    case 'retry':
      return live ? 'only a failed task can be retried' : '';
    case 'resolve':
      return live ? 'only a failed task can be resolved: cancel it, or resolve its steps' : '';
    case 'pause':
      return live ? (t.paused ? 'it is paused' : '') : 'only a task that is pending or in progress can be paused';
    case 'resume':
      return live && t.paused ? '' : 'it is not paused';
    case 'cancel':
      return '';
  }
}

/** The same for a step. */
export function stepRefusal(verb: StepVerb, t: Pick<Task, 'state'>, s: Pick<Step, 'state'>): string {
  if (ended(t.state)) return `its task has ended (${t.state}) and stays as it is`;
  if (ended(s.state)) return 'it is over and stays as it is';
  switch (verb) {
    case 'retry':
      return s.state === 'error' ? '' : 'only a failed step can be retried';
    case 'complete':
      return s.state === 'in_progress' ? '' : 'only a running step can be completed: resolve it instead';
    case 'resolve':
      return s.state === 'in_progress' ? 'it is running: complete it with a result, or cancel it' : '';
    case 'cancel':
      return '';
  }
}

/** Why somebody may not; "" when they may. Unknown rights do not stop anybody: the server refuses what is not allowed. */
export function scopeRefusal(me: Me | undefined, scope: 'operate' | 'submit'): string {
  if (!me || me.auth === 'off' || me.scopes.includes(scope) || me.scopes.includes('admin')) return '';
  return `the token ${me.name} has no scope "${scope}"`;
}

export interface StepChange {
  inputs?: Json | undefined;
  retry_limit?: number | undefined;
  result?: Json | undefined;
}

export const doStep = (
  id: string,
  step: string,
  verb: StepVerb,
  reason: string,
  with_: StepChange,
): Promise<VerbReceipt> =>
  api<VerbReceipt>(['tasks', id, 'steps', step, verb], {
    method: 'POST',
    body: { ...(reason ? { reason } : {}), ...with_ },
  });

/** How an operator types it. */
export function taskCommand(id: string, verb: TaskVerb, reason: string): string {
  return `tasker task ${verb} ${id}${reasonFlag(reason)}`;
}

export function stepCommand(id: string, step: string, verb: StepVerb, reason: string, with_: StepChange): string {
  const flag = (name: string, value: Json | undefined) =>
    value === undefined ? '' : ` --${name} ${shellQuote(JSON.stringify(value))}`;
  const limit = with_.retry_limit ? ` --retry-limit ${with_.retry_limit}` : '';
  return `tasker step ${verb} ${id} ${shellQuote(step)}${flag('inputs', with_.inputs)}${limit}${flag('result', with_.result)}${reasonFlag(reason)}`;
}

export type Fix = { of: 'task'; verb: TaskVerb } | { of: 'step'; verb: StepVerb; step: string };

/** The verb that the fix of an explanation is, so that a button can do it; undefined when it is something else. */
export function fixOf(command: string, id: string): Fix | undefined {
  const words = command.split(' ');
  if (words[0] !== 'tasker' || words[3] !== id) return undefined;
  const verb = words[2] ?? '';
  if (words[1] === 'task' && verb in taskVerbs && words.length === 4) return { of: 'task', verb: verb as TaskVerb };
  const step = words[4];
  if (words[1] === 'step' && verb in stepVerbs && step && !step.startsWith('-'))
    return { of: 'step', verb: verb as StepVerb, step };
  return undefined;
}

/** A JSON text, or why it is none. Empty is nothing. */
export function parsed(text: string): { value: Json | undefined; problem: string } {
  if (text.trim() === '') return { value: undefined, problem: '' };
  try {
    return { value: JSON.parse(text) as Json, problem: '' };
  } catch (e) {
    return { value: undefined, problem: `This is no JSON: ${e instanceof Error ? e.message : String(e)}` };
  }
}

// The command of an explanation as a request, where a page can do it too: "tasker step retry ID STEP" and the like.

export interface Fix {
  task: string;
  step: string;
  /** retry, resolve, resume, cancel; of a step retry, resolve, cancel, complete */
  verb: string;
}

const TASK_VERBS = ['retry', 'resolve', 'resume', 'pause', 'cancel'];
const STEP_VERBS = ['retry', 'resolve', 'cancel', 'complete'];

/** undefined: only the command line, or nobody, can do it. Flags of the command are passed over. */
export function parseFix(command: string | undefined): Fix | undefined {
  const [tasker, noun = '', verb = '', task = '', step = ''] = (command ?? '').trim().split(/\s+/);
  if (tasker !== 'tasker' || !task || task.startsWith('-')) return undefined;
  if (noun === 'task' && TASK_VERBS.includes(verb)) return { task, step: '', verb };
  if (noun === 'step' && STEP_VERBS.includes(verb) && step && !/[^\w.:-]/.test(step) && !step.startsWith('-'))
    return { task, step, verb };
  return undefined;
}

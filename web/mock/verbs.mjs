// What an operator can do to the tasks of the mock.

import { json, OVER, Problem } from './answers.mjs';
import { stateAt } from './world.mjs';

function receipt(c, t, from, events, step) {
  c.world.append(t, events, 'operator:ann');
  c.world.advance(t);
  const to = step ? t.state.steps.find((s) => s.name === step).state : t.state.state;
  json(c, { task: t.id, step, changed: true, from, to, position: t.state.position });
}

const refuse = (t, verb, state) =>
  new Problem(
    409,
    'refused',
    `${t} is ${state}: it cannot ${verb}.`,
    'Look at its state; explain says what can be done.',
  );

export function taskVerb(c, t, verb) {
  const s = t.state;
  const data = { reason: c.body.reason };
  const broken = s.steps.filter((x) => x.state === 'error');
  if (verb === 'fork') return fork(c, t);
  if (verb === 'annotate') {
    return receipt(c, t, s.state, [
      { type: 'task.annotated', data: { kind: c.body.kind, step: c.body.step, annotation: c.body.annotation } },
    ]);
  }
  const events = {
    cancel: !OVER.includes(s.state) && [{ type: 'task.cancelled', data }],
    resolve: !OVER.includes(s.state) && [{ type: 'task.resolved_manually', data }],
    pause: s.state === 'in_progress' && !s.paused && [{ type: 'task.paused', data }],
    resume: s.paused && [{ type: 'task.resumed', data }],
    retry: s.state === 'error' && [
      { type: 'task.retry_requested', data },
      ...broken.map((x) => ({ type: 'step.retry_requested', step: x.name, data: { new_round: true } })),
    ],
  }[verb];
  if (events === undefined) throw new Problem(404, 'not_found', `There is no verb ${verb}.`, 'See /openapi.json.');
  if (!events) throw refuse(`Task ${t.id}`, verb, s.paused ? 'paused' : s.state);
  receipt(c, t, s.state, events);
}

export function stepVerb(c, t, name, verb) {
  const s = t.state.steps.find((x) => x.name === name);
  if (!s) throw new Problem(404, 'not_found', `Task ${t.id} has no step ${name}.`, '');
  const { reason, result, inputs, retry_limit } = c.body;
  const reopen = t.state.state === 'error' ? [{ type: 'task.retry_requested', data: { reason } }] : [];
  const events = {
    retry: s.state === 'error' && [
      ...reopen,
      { type: 'step.retry_requested', step: name, data: { new_round: true, inputs, retry_limit, reason } },
    ],
    resolve: !OVER.includes(s.state) && [
      ...reopen,
      { type: 'step.resolved_manually', step: name, data: { reason, result } },
    ],
    cancel: !OVER.includes(s.state) && [{ type: 'step.cancelled', step: name, data: { reason } }],
    complete: !OVER.includes(s.state) && [
      ...reopen,
      { type: 'step.completed', step: name, attempt: s.attempt, data: { reason, result } },
    ],
  }[verb];
  if (!events) throw refuse(`Step ${name}`, verb, s.state);
  receipt(c, t, s.state, events, name);
}

function fork(c, t) {
  const then = c.body.at ? stateAt(t, c.body.at) : t.state;
  const kept = then.steps.filter((s) => s.state === 'complete' && !c.body.rerun?.includes(s.name));
  const n = c.world.submit(
    t.def,
    {
      context: c.body.context ?? then.context,
      tags: c.body.tags,
      reason: c.body.reason,
      inherit: { from: { task: t.id, position: then.position }, steps: kept },
    },
    'operator:ann',
  );
  json(c, { id: n.id, created: true, position: n.state.position }, 201);
}

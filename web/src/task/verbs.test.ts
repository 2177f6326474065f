import { describe, expect, it } from 'vitest';
import type { State } from '../api/types';
import { placeOf, withPlace } from './address';
import {
  fixOf,
  parsed,
  type StepVerb,
  scopeRefusal,
  stepCommand,
  stepRefusal,
  stepVerbs,
  type TaskVerb,
  taskRefusal,
  taskVerbs,
} from './verbs';

const states: State[] = ['pending', 'in_progress', 'complete', 'error', 'cancelled', 'resolved_manually'];

describe('verbs', () => {
  it('offers for a task what the engine accepts in its state', () => {
    const offered = (paused: boolean) =>
      states.map(
        (state) =>
          `${state}: ${(Object.keys(taskVerbs) as TaskVerb[]).filter((v) => taskRefusal(v, { state, paused }) === '').join(' ')}`,
      );
    expect(offered(false)).toEqual([
      'pending: pause cancel',
      'in_progress: pause cancel',
      'complete: ',
      'error: retry resolve cancel',
      'cancelled: ',
      'resolved_manually: ',
    ]);
    expect(offered(true).slice(0, 2)).toEqual(['pending: resume cancel', 'in_progress: resume cancel']);
  });

  it('offers for a step what the engine accepts in its state', () => {
    const offered = (task: State) =>
      states.map(
        (state) =>
          `${state}: ${(Object.keys(stepVerbs) as StepVerb[]).filter((v) => stepRefusal(v, { state: task }, { state }) === '').join(' ')}`,
      );
    const open = [
      'pending: resolve cancel',
      'in_progress: complete cancel',
      'complete: ',
      'error: retry resolve cancel',
      'cancelled: ',
      'resolved_manually: ',
    ];
    expect(offered('in_progress')).toEqual(open);
    expect(offered('error')).toEqual(open);
    expect(offered('cancelled').every((line) => line.endsWith(': '))).toBe(true);
  });

  it('says which scope a token lacks, and stops nobody whose rights are unknown', () => {
    const me = { name: 'ann', scopes: ['read'], namespaces: null, auth: 'token' as const, version: '1' };
    expect(scopeRefusal(me, 'operate')).toContain('"operate"');
    expect(scopeRefusal({ ...me, scopes: ['read', 'operate'] }, 'operate')).toBe('');
    expect(scopeRefusal({ ...me, auth: 'off' }, 'operate')).toBe('');
    expect(scopeRefusal(undefined, 'operate')).toBe('');
  });

  it('knows the verb in the fix of an explanation, and only of this task', () => {
    expect(fixOf('tasker task retry T1', 'T1')).toEqual({ of: 'task', verb: 'retry' });
    expect(fixOf('tasker step resolve T1 pay', 'T1')).toEqual({ of: 'step', verb: 'resolve', step: 'pay' });
    expect(fixOf("tasker step complete T1 pay --result '{}'", 'T1')).toEqual({
      of: 'step',
      verb: 'complete',
      step: 'pay',
    });
    for (const other of [
      'tasker task retry T2',
      'tasker task fork T1',
      'tasker serve',
      'rm -rf /',
      '',
      'tasker step retry T1',
    ])
      expect(fixOf(other, 'T1')).toBeUndefined();
  });

  it('writes commands that a shell takes as they are meant', () => {
    expect(stepCommand('T1', 'pay', 'retry', "it's back", { inputs: { a: 1 }, retry_limit: 2 })).toBe(
      `tasker step retry T1 pay --inputs '{"a":1}' --retry-limit 2 --reason 'it'\\''s back'`,
    );
  });

  it('reads JSON or says why it cannot', () => {
    expect(parsed(' ')).toEqual({ value: undefined, problem: '' });
    expect(parsed('null').value).toBeNull();
    expect(parsed('{').problem).toContain('This is no JSON');
  });
});

describe('address', () => {
  it('has all of a place, and takes nothing for what it is not', () => {
    expect(placeOf(new URLSearchParams('tab=events&step=a%20b&at=00-12-3'))).toEqual({
      tab: 'events',
      step: 'a b',
      at: '00-12-3',
    });
    expect(placeOf(new URLSearchParams('tab=nonsense&at=../etc'))).toEqual({
      tab: 'graph',
      step: undefined,
      at: undefined,
    });
  });

  it('keeps what belongs to others', () => {
    expect(withPlace(new URLSearchParams('theme=dark&step=a'), { step: undefined, tab: 'timeline' }).toString()).toBe(
      'theme=dark&tab=timeline',
    );
    expect(withPlace(new URLSearchParams('tab=events'), { tab: 'graph' }).toString()).toBe('');
  });
});

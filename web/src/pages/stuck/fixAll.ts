// The same verb for all tasks of one cause: a bank that was down for an hour leaves hundreds of tasks to retry.

import { ApiError, api } from '../../api/client';
import type { Stuck, StuckGroup, StuckTask } from '../../api/types';
import { type Fix, parseFix } from '../../components/fix';

/** Tasks that one click acts on at most; click again for the rest. */
export const MOST = 1_000;
/** Requests at a time: enough to be quick, too few to be in anybody's way. */
const AT_ONCE = 4;

/** The parameters of GET /stuck for the tasks of a cause. */
export const queryOf = (g: StuckGroup, namespace: string) => ({
  namespace: g.namespace ?? namespace,
  name: g.name,
  reason: g.reason,
});

/** Whether a task, listed by queryOf, is of this cause and not of another one with the same reason. */
export function isOf(g: StuckGroup, t: StuckTask): boolean {
  if (g.step) return t.step === g.step;
  return g.name !== undefined || t.text === g.text || Boolean(g.examples?.includes(t.task));
}

/** Lists what there is to fix with the verb of the group's own fix. */
export async function collect(g: StuckGroup, namespace: string): Promise<Fix[]> {
  const verb = parseFix(g.fix)?.verb;
  const fixes: Fix[] = [];
  let after: string | undefined = '';
  while (after !== undefined && fixes.length < MOST) {
    const page: Stuck = await api<Stuck>(['stuck'], { query: { ...queryOf(g, namespace), limit: 500, after } });
    for (const t of page.tasks ?? []) {
      const fix = isOf(g, t) ? parseFix(t.fix) : undefined;
      if (fix && fix.verb === verb) fixes.push(fix);
    }
    after = page.next || undefined;
  }
  return fixes.slice(0, MOST);
}

export interface Progress {
  done: number;
  of: number;
  changed: number;
  /** what the server said of those that it refused, and how often; they may have moved meanwhile */
  refused: Map<string, number>;
}

/**
 * Does it to all, a few at a time, and tells how it goes. A refusal is counted and the rest goes on; when the server is gone or says
 * that this caller may not, it ends with that error.
 */
export async function fixAll(
  fixes: Fix[],
  act: (f: Fix) => Promise<{ changed: boolean }>,
  tell: (p: Progress) => void,
): Promise<Progress> {
  const progress: Progress = { done: 0, of: fixes.length, changed: 0, refused: new Map() };
  const rest = fixes[Symbol.iterator]();
  let failed = false;
  const work = async () => {
    for (const fix of rest) {
      if (failed) return;
      try {
        if ((await act(fix)).changed) progress.changed++;
      } catch (error) {
        if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 409 && error.status !== 422)) {
          failed = true;
          throw error;
        }
        const why = error.code;
        progress.refused.set(why, (progress.refused.get(why) ?? 0) + 1);
      }
      progress.done++;
      tell({ ...progress });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return progress;
}

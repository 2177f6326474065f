// A list that is being read must not move. A fresh answer changes the rows that are there in their place, says which of them the
// filter would not take any more, and counts what is new.

import type { TaskPage, TaskRow } from '../../api/types';
import type { Sort } from './filters';

/** A row, and whether the newest answer did not have it any more. */
export interface ListRow extends TaskRow {
  gone?: boolean;
}

export interface ListPage extends Omit<TaskPage, 'tasks'> {
  tasks: ListRow[];
}

/** What a row is sorted by, as a number. */
export function sortValue(row: TaskRow, sort: Sort): number {
  const time = (at: string | undefined) => (at ? Date.parse(at) : 0);
  switch (sort) {
    case 'created':
      return time(row.created_at);
    case 'updated':
      return time(row.updated_at);
    case 'ended':
      return time(row.ended_at);
    case 'duration':
      return row.duration_ns ?? 0;
    case 'retries':
      return row.retries ?? 0;
  }
}

/**
 * Puts a fresh answer into a page that was read before with the same parameters. Rows keep their places. A row that the answer lacks
 * is gone when the answer covers the place where it would stand; beyond its last row nothing is known.
 */
export function mergePage(page: ListPage, fresh: TaskPage, sort: Sort, ascending: boolean): ListPage {
  const rows = new Map(fresh.tasks.map((r) => [r.id, r]));
  const last = fresh.tasks.at(-1);
  const covered = (row: TaskRow) => {
    if (!fresh.next || !last) return true;
    const [of, end] = [sortValue(row, sort), sortValue(last, sort)];
    return ascending ? of < end : of > end;
  };
  let changed = page.lag !== fresh.lag;
  const tasks = page.tasks.map((row) => {
    const now = rows.get(row.id);
    if (now) {
      if (now.position === row.position && now.updated_at === row.updated_at && !row.gone) return row; // the same object: nothing is drawn again
      changed = true;
      return now;
    }
    if (row.gone || !covered(row)) return row;
    changed = true;
    return { ...row, gone: true };
  });
  return changed ? { ...page, tasks, lag: fresh.lag } : page;
}

/** How many rows of a fresh first page are not in the list: those that would stand above or among what is there. */
export function countNew(pages: ListPage[], fresh: TaskPage): number {
  const known = new Set(pages.flatMap((p) => p.tasks.map((r) => r.id)));
  return fresh.tasks.filter((r) => !known.has(r.id)).length;
}

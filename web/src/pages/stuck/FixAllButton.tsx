import { Progress as Bar, Button } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api } from '../../api/client';
import type { StuckGroup, VerbReceipt } from '../../api/types';
import { type Fix, parseFix } from '../../components/fix';
import { count } from '../../components/format';
import { ReasonDialog } from '../../components/ReasonDialog';
import { collect, fixAll, MOST, type Progress } from './fixAll';

/** A button that does to all tasks of a cause what its fix does to the first. */
export function FixAllButton({ group, namespace }: { group: StuckGroup; namespace: string }) {
  const [opened, dialog] = useDisclosure(false);
  const [progress, setProgress] = useState<Progress>();
  const queries = useQueryClient();
  const fix = parseFix(group.fix);
  if (!fix || group.tasks < 2 || fix.verb === 'complete' || fix.verb === 'resolve') return null;
  const name = `${fix.verb[0]?.toUpperCase()}${fix.verb.slice(1)} all`;
  const run = async (reason: string) => {
    const act = (f: Fix) =>
      api<VerbReceipt>(f.step ? ['tasks', f.task, 'steps', f.step, f.verb] : ['tasks', f.task, f.verb], {
        method: 'POST',
        body: reason ? { reason } : {},
      });
    setProgress({ done: 0, of: group.tasks, changed: 0, refused: new Map() });
    try {
      return await fixAll(await collect(group, namespace), act, setProgress);
    } finally {
      queries.invalidateQueries();
    }
  };
  return (
    <>
      <Button
        size="compact-sm"
        variant="default"
        onClick={() => {
          setProgress(undefined);
          dialog.open();
        }}
      >
        {name} {count(group.tasks)}
        {group.at_least ? '+' : ''}…
      </Button>
      <ReasonDialog<Progress>
        opened={opened}
        onClose={dialog.close}
        title={`${name} ${count(group.tasks)} tasks?`}
        action={name}
        danger={fix.verb === 'cancel'}
        run={run}
        done={said}
      >
        <p>
          Every task that is held by <code>{group.reason}</code>
          {group.name && ` of ${group.namespace}/${group.name}`}
          {group.step && `, step ${group.step}`}
          {group.tasks > MOST && `; ${count(MOST)} at a time`}. What has moved meanwhile is left alone.
        </p>
        {progress && (
          <div role="status">
            <Bar value={(100 * progress.done) / Math.max(1, progress.of)} aria-label="Done" />
            <p className="small dimmed">
              {count(progress.done)} of {count(progress.of)}
            </p>
          </div>
        )}
      </ReasonDialog>
    </>
  );
}

/** What has become of them, in a sentence. */
export function said(p: Progress): string {
  const refused = [...p.refused].map(([why, n]) => `${count(n)} ${why}`).join(', ');
  return `${count(p.changed)} of ${count(p.of)} changed${refused ? `; not done: ${refused}` : ''}`;
}

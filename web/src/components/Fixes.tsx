import { Button } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQueryClient } from '@tanstack/react-query';
import { api } from '../api/client';
import type { Explanation, VerbReceipt } from '../api/types';
import { CommandBox } from './CommandBox';
import { type Fix, parseFix } from './fix';
import { ReasonDialog, reasonFlag } from './ReasonDialog';

/** What moves it: the command, and a button that does the same where there is one; else what to do. */
export function Fixes({ explanation: e }: { explanation: Pick<Explanation, 'fix' | 'hint'> }) {
  const fix = parseFix(e.fix);
  return (
    <div className="fixes">
      {e.hint && <p className="sentence">{e.hint}</p>}
      {e.fix && <CommandBox command={e.fix} label="the command that fixes it" />}
      {fix && <FixButton fix={fix} command={e.fix ?? ''} />}
    </div>
  );
}

const name = (f: Fix) => `${f.verb[0]?.toUpperCase()}${f.verb.slice(1)} ${f.step ? `step ${f.step}` : 'the task'}`;

export function FixButton({ fix, command }: { fix: Fix; command: string }) {
  const [opened, dialog] = useDisclosure(false);
  const queries = useQueryClient();
  const path = fix.step ? ['tasks', fix.task, 'steps', fix.step, fix.verb] : ['tasks', fix.task, fix.verb];
  return (
    <>
      <Button size="compact-sm" variant="light" onClick={dialog.open}>
        {name(fix)}
      </Button>
      <ReasonDialog<VerbReceipt>
        opened={opened}
        onClose={dialog.close}
        title={`${name(fix)}?`}
        action={name(fix)}
        danger={fix.verb === 'cancel'}
        command={(reason) => command + reasonFlag(reason)}
        run={(reason) =>
          api(path, {
            method: 'POST',
            body: { ...(reason && { reason }), ...(fix.verb === 'complete' && { result: {} }) },
          })
        }
        done={(r) => (r.changed ? `${name(fix)}: from ${r.from} to ${r.to}` : 'It was so already')}
        onDone={() => queries.invalidateQueries()}
      >
        <p className="mono dimmed">{fix.task}</p>
      </ReasonDialog>
    </>
  );
}

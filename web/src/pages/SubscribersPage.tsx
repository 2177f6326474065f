import { Button, Skeleton } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQueryClient } from '@tanstack/react-query';
import { api } from '../api/client';
import { useSubscribers } from '../api/queries';
import type { Subscriber } from '../api/types';
import { count } from '../components/format';
import { IconFeed } from '../components/icons';
import { Page, Panel, Scroll } from '../components/Page';
import { EmptyState, ProblemAlert } from '../components/Problem';
import { ReasonDialog } from '../components/ReasonDialog';
import { Time } from '../components/Time';

export default function SubscribersPage() {
  const subscribers = useSubscribers();
  const all = [...(subscribers.data ?? [])].sort((a, b) => b.lag - a.lag || a.name.localeCompare(b.name, 'en'));
  return (
    <Page
      title="Subscribers"
      lead="Who reacts to events with a cursor of its own, and how many commits it has yet to read."
    >
      {subscribers.isError && <ProblemAlert error={subscribers.error} onRetry={subscribers.refetch} />}
      {subscribers.isPending && !subscribers.isError && <Skeleton height={160} aria-busy="true" />}
      {subscribers.data && all.length === 0 && (
        <EmptyState title="There are no durable subscribers" icon={<IconFeed size={28} />}>
          A program that calls Subscribe with a name, a webhook or the feed has a cursor, and stands here from its first
          event on.
        </EmptyState>
      )}
      {all.map((s) => (
        <One key={s.name} subscriber={s} />
      ))}
    </Page>
  );
}

function One({ subscriber: s }: { subscriber: Subscriber }) {
  const [opened, dialog] = useDisclosure(false);
  const queries = useQueryClient();
  const partitions = s.partitions ?? [];
  const most = Math.max(1, ...partitions.map((p) => p.lag));
  return (
    <Panel
      title={s.name}
      actions={
        <>
          <span className={s.lag > 0 ? 'lag' : 'dimmed small'}>
            {s.lag > 0 ? `${count(s.lag)} behind` : 'up to date'}
          </span>
          <Button
            size="compact-sm"
            variant="default"
            onClick={dialog.open}
            aria-label={`Forget the cursor of ${s.name}`}
          >
            Forget…
          </Button>
        </>
      }
    >
      <Scroll label={`Partitions of ${s.name}`}>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Partition</th>
              <th scope="col">Next event</th>
              <th scope="col" className="right">
                Behind
              </th>
              <th scope="col">
                <span className="visually-hidden">to scale</span>
              </th>
              <th scope="col">Moved</th>
            </tr>
          </thead>
          <tbody>
            {partitions.map((p) => (
              <tr key={p.partition}>
                <th scope="row">{String(p.partition).padStart(2, '0')}</th>
                <td className="mono">{p.next}</td>
                <td className="right">{count(p.lag)}</td>
                <td>
                  <span className="bar-track" aria-hidden="true">
                    <span className="bar" style={{ width: `${(100 * p.lag) / most}%` }} />
                  </span>
                </td>
                <td>
                  <Time at={p.at} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <ReasonDialog
        opened={opened}
        onClose={dialog.close}
        title={`Forget the cursor of ${s.name}?`}
        action="Forget the cursor"
        danger
        noReason
        run={() => api(['subscribers', s.name], { method: 'DELETE' })}
        onDone={() => queries.invalidateQueries({ queryKey: ['subscribers'] })}
        command={() => `tasker subscriber forget ${s.name}`}
      >
        <p>
          For a subscriber that will not come back: it holds back the removal of old events. When it does come back, it
          begins where a new one begins, and events between are lost to it.
        </p>
      </ReasonDialog>
    </Panel>
  );
}

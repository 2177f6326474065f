import { Button, Drawer, Group, SegmentedControl, Skeleton } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { useLocation, useSearch } from 'wouter';
import { api } from '../api/client';
import type { DeadLetter, DeadLetters } from '../api/types';
import { bytes } from '../components/format';
import { IconMail } from '../components/icons';
import { Page, Scroll } from '../components/Page';
import { EmptyState, ProblemAlert } from '../components/Problem';
import { Time } from '../components/Time';
import { Letter } from './deadletters/Letter';

const KINDS = [
  { value: '', label: 'all' },
  { value: 'submission', label: 'submissions' },
  { value: 'subscriber', label: 'subscribers' },
];

/** /dead-letters?kind=submission&letter=12 */
export default function DeadLettersPage() {
  const q = new URLSearchParams(useSearch());
  const [, go] = useLocation();
  const kind = q.get('kind') ?? '';
  const letter = Number(q.get('letter') ?? 0);
  const set = (change: { kind?: string; letter?: number }) => {
    const next = new URLSearchParams();
    const k = change.kind ?? kind;
    const l = 'letter' in change ? change.letter : letter;
    if (k) next.set('kind', k);
    if (l) next.set('letter', String(l));
    const text = next.toString();
    go(`/dead-letters${text ? `?${text}` : ''}`, { replace: true });
  };
  const list = useInfiniteQuery({
    queryKey: ['dead-letters', kind],
    queryFn: ({ pageParam, signal }) =>
      api<DeadLetters>(['dead-letters'], { signal, query: { kind, limit: 50, after: pageParam || undefined } }),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next || undefined,
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
  });
  const letters = list.data?.pages.flatMap((p) => p.letters ?? []) ?? [];
  return (
    <Page
      title="Dead letters"
      lead="What could not be accepted, decoded or handled, with the reason. It is kept for 30 days."
      actions={
        <SegmentedControl aria-label="Kind" data={KINDS} value={kind} onChange={(k) => set({ kind: k, letter: 0 })} />
      }
    >
      {list.isError && <ProblemAlert error={list.error} onRetry={list.refetch} />}
      {list.isPending && !list.isError && <Skeleton height={160} aria-busy="true" />}
      {list.data && letters.length === 0 && (
        <EmptyState title="There are no dead letters" icon={<IconMail size={28} />}>
          Every request to the intake was accepted, and every subscriber has handled its events.
        </EmptyState>
      )}
      {letters.length > 0 && (
        <Scroll label="Dead letters">
          <Table letters={letters} onOpen={(sequence) => set({ letter: sequence })} />
        </Scroll>
      )}
      {list.hasNextPage && (
        <Group>
          <Button variant="default" loading={list.isFetchingNextPage} onClick={() => list.fetchNextPage()}>
            More
          </Button>
        </Group>
      )}
      <Drawer
        opened={letter > 0}
        onClose={() => set({ letter: 0 })}
        position="right"
        size="lg"
        title={`Dead letter ${letter}`}
      >
        {letter > 0 && <Letter key={letter} sequence={letter} onGone={() => set({ letter: 0 })} />}
      </Drawer>
    </Page>
  );
}

function Table({ letters, onOpen }: { letters: DeadLetter[]; onOpen: (sequence: number) => void }) {
  return (
    <table className="table">
      <thead>
        <tr>
          {['No.', 'When', 'Of', 'Reason', 'Size'].map((h) => (
            <th key={h} scope="col">
              {h}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {letters.map((l) => (
          <tr key={l.sequence}>
            <td>
              <Button
                size="compact-sm"
                variant="subtle"
                onClick={() => onOpen(l.sequence)}
                aria-label={`Open dead letter ${l.sequence}`}
              >
                {l.sequence}
              </Button>
            </td>
            <td>
              <Time at={l.time} />
            </td>
            <td>
              {l.name}
              <div className="dimmed small">{l.kind}</div>
            </td>
            <td className="letter-reason">{l.reason}</td>
            <td className="right">{bytes(l.size)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

import { Alert, Button, Group, Skeleton, Stack, Textarea } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api } from '../../api/client';
import type { DeadLetter, Json, JsonObject } from '../../api/types';
import { CommandBox } from '../../components/CommandBox';
import { bytes } from '../../components/format';
import { JsonView } from '../../components/Json';
import { Panel } from '../../components/Page';
import { ProblemAlert } from '../../components/Problem';
import { Time } from '../../components/Time';
import { parseObject } from '../../schema/parse';

/** One letter: what it is, and what can be done with it. */
export function Letter({ sequence, onGone }: { sequence: number; onGone: () => void }) {
  const letter = useQuery({
    queryKey: ['dead-letter', sequence],
    queryFn: ({ signal }) => api<DeadLetter>(['dead-letters', String(sequence)], { signal }),
  });
  if (letter.isError) return <ProblemAlert error={letter.error} onRetry={letter.refetch} />;
  if (letter.isPending) return <Skeleton height={200} aria-busy="true" />;
  const l = letter.data;
  return (
    <Stack>
      <Alert color="red" variant="light" title={l.reason}>
        {l.kind} {l.name} · <Time at={l.time} /> · {bytes(l.size)}
        {l.subject && <div className="mono small">{l.subject}</div>}
        {l.truncated && <p className="hint">Cut: {l.truncated}</p>}
      </Alert>
      <Body letter={l} />
      {(l.headers || l.original) && (
        <Panel title="Headers">
          <JsonView value={{ ...l.headers, ...l.original } as Json} label="the headers" />
        </Panel>
      )}
      {l.kind === 'submission' && !l.truncated ? (
        <Requeue letter={l} onGone={onGone} />
      ) : (
        <p className="dimmed">
          {l.kind === 'subscriber'
            ? 'It is an event that a subscriber could not handle: its program can call Redeliver, or it is handled by hand and dropped.'
            : 'It cannot be requeued: submit the task anew, and drop it.'}
        </p>
      )}
      <Drop sequence={l.sequence} onGone={onGone} />
    </Stack>
  );
}

function Body({ letter: l }: { letter: DeadLetter }) {
  if (l.data !== undefined) return <JsonView value={l.data} label="the body" />;
  if (l.text) return <JsonView value={l.text} label="the body, which is no JSON" />;
  if (l.binary) return <JsonView value={l.binary} label="the body in base64" />;
  return <p className="dimmed">It has no body.</p>;
}

/** The context of the request, when the letter has one that can be read. */
function contextOf(l: DeadLetter): JsonObject {
  const data = l.data;
  const inside = typeof data === 'object' && data !== null && !Array.isArray(data) ? data.context : undefined;
  return typeof inside === 'object' && inside !== null && !Array.isArray(inside) ? inside : {};
}

function Requeue({ letter, onGone }: { letter: DeadLetter; onGone: () => void }) {
  const [before] = useState(() => JSON.stringify(contextOf(letter), null, 2));
  const [text, setText] = useState(before);
  const queries = useQueryClient();
  const parsed = parseObject(text);
  const broken = typeof parsed === 'string' ? parsed : '';
  const changed = text !== before;
  const requeue = useMutation({
    mutationFn: () =>
      api(['dead-letters', String(letter.sequence), 'requeue'], {
        method: 'POST',
        body: changed ? { input: parsed } : {},
      }),
    onSuccess: () => {
      queries.invalidateQueries({ queryKey: ['dead-letters'] });
      notifications.show({ message: `Dead letter ${letter.sequence} is on its way again.`, color: 'teal' });
      onGone();
    },
  });
  return (
    <Panel title="Requeue">
      <Textarea
        label="Context"
        description="Correct it here. Unchanged, the request is sent again as it was: right when its definition was missing."
        classNames={{ input: 'mono' }}
        value={text}
        onChange={(e) => setText(e.currentTarget.value)}
        error={broken || undefined}
        autosize
        minRows={4}
        maxRows={20}
        spellCheck={false}
      />
      {requeue.isError && <ProblemAlert error={requeue.error} />}
      <Group>
        <Button onClick={() => requeue.mutate()} loading={requeue.isPending} disabled={broken !== ''}>
          {changed ? 'Requeue with this context' : 'Requeue as it was'}
        </Button>
      </Group>
      <CommandBox command={`tasker dead requeue ${letter.sequence}`} />
    </Panel>
  );
}

function Drop({ sequence, onGone }: { sequence: number; onGone: () => void }) {
  const [sure, ask] = useDisclosure(false);
  const queries = useQueryClient();
  const drop = useMutation({
    mutationFn: () => api(['dead-letters', String(sequence)], { method: 'DELETE' }),
    onSuccess: () => {
      queries.invalidateQueries({ queryKey: ['dead-letters'] });
      notifications.show({ message: `Dead letter ${sequence} is dropped.`, color: 'teal' });
      onGone();
    },
  });
  return (
    <Panel title="Drop">
      <p>It is removed for good. Nothing else changes.</p>
      {drop.isError && <ProblemAlert error={drop.error} />}
      <Group>
        {sure ? (
          <>
            <Button color="red" onClick={() => drop.mutate()} loading={drop.isPending}>
              Drop it for good
            </Button>
            <Button variant="default" onClick={ask.close}>
              Keep it
            </Button>
          </>
        ) : (
          <Button variant="default" onClick={ask.open}>
            Drop…
          </Button>
        )}
      </Group>
    </Panel>
  );
}

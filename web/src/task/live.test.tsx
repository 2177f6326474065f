// @vitest-environment jsdom

import { QueryClientProvider } from '@tanstack/react-query';
import { render, screen, waitFor } from '@testing-library/react';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { api } from '../api/client';
import { newQueryClient } from '../api/queries';
import type { History, Task } from '../api/types';
import { type Mock, startMock } from '../test/app';
import { usePast } from './live';

let mock: Mock;
beforeAll(async () => {
  mock = await startMock();
});
afterAll(() => mock.close());

function Probe({ task, at }: { task: Task; at: string }) {
  const past = usePast(task.id, at, task);
  return (
    <p data-testid="past">
      {past.place} of {past.events.map((e) => e.id).join(' ')}
    </p>
  );
}

it('asks only for what came since when it is to show a newer event', async () => {
  const { tasks } = await api<{ tasks: { id: string }[] }>(['tasks'], { query: { state: 'complete', limit: 1 } });
  const id = tasks[0]?.id ?? '';
  const read = async () => (await api<History>(['tasks', id, 'history'])).events.map((e) => e.id);
  const shape = await api<Task>(['tasks', id]);
  const client = newQueryClient();
  const probe = (at: string) => (
    <QueryClientProvider client={client}>
      <Probe task={shape} at={at} />
    </QueryClientProvider>
  );
  const first = await read();
  const view = render(probe(first[0] ?? ''));
  await waitFor(() => expect(screen.getByTestId('past').textContent).toBe(`0 of ${first.join(' ')}`));

  await api(['tasks', id, 'annotate'], { method: 'POST', body: { kind: 'note', annotation: 'seen' } });
  const now = await read();
  expect(now.length).toBeGreaterThan(first.length);
  mock.asked.length = 0;
  view.rerender(probe(now.at(-1) ?? ''));
  await waitFor(() => expect(screen.getByTestId('past').textContent).toBe(`${now.length - 1} of ${now.join(' ')}`));
  const asked = mock.asked.filter((a) => a.request.includes('/history')).map((a) => a.request);
  expect(asked).toEqual([`GET /api/v1/tasks/${id}/history?after=${first.at(-1)}`]);
});

// @vitest-environment jsdom
// A caller whose token is limited to several namespaces: lists are of all of them, as long as none is chosen.

import { screen, waitFor } from '@testing-library/react';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Mock, renderAt, startMock } from '../test/app';
import AnalyticsPage from './analytics/AnalyticsPage';
import StuckPage from './stuck/StuckPage';
import TasksPage from './tasks/TasksPage';

let mock: Mock;
beforeAll(async () => {
  mock = await startMock({ namespaces: ['shop', 'data'] });
});
afterAll(() => mock.close());

it.each([
  ['/tasks', TasksPage, ''],
  ['/stuck', StuckPage, ''],
  ['/analytics', AnalyticsPage, ''],
  ['/tasks?namespace=data&state=error', TasksPage, 'data'],
])('%s asks for what its address says', async (address, Page, namespace) => {
  mock.asked.length = 0;
  const { history } = renderAt(address, <Page />);
  const lists = () => mock.asked.filter((a) => /\/(tasks|stuck|analytics)(\?|$)/.test(a.request));
  await waitFor(() => expect(lists()).not.toHaveLength(0));
  await waitFor(() => expect(screen.queryByRole('alert')).toBeNull());
  expect(history.at(-1)).toBe(address);
  for (const { request } of lists()) {
    expect(new URLSearchParams(request.split('?')[1]).get('namespace') ?? '').toBe(namespace);
  }
});

// @vitest-environment jsdom
// A caller whose token is limited to several namespaces: lists have to be told which.

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
  ['/tasks', TasksPage, /namespace=shop/],
  ['/stuck', StuckPage, /namespace=shop/],
  ['/analytics', AnalyticsPage, /namespace=shop/],
  ['/tasks?namespace=data&state=error', TasksPage, /^\/tasks\?namespace=data&state=error$/],
])('%s is about one of them', async (address, Page, at) => {
  const { history } = renderAt(address, <Page />);
  await waitFor(() => expect(history.at(-1)).toMatch(at));
  await waitFor(() => expect(screen.queryByRole('alert')).toBeNull());
  const lists = mock.asked.filter((a) => /\/(tasks|stuck|analytics)(\?|$)/.test(a.request));
  expect(lists.at(-1)?.request).toMatch(/namespace=(shop|data)/);
});

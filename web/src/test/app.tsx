// The whole UI on the mock server, for tests of pages: a router in memory, requests over real HTTP.

import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { render } from '@testing-library/react';
import type { ReactNode } from 'react';
import { Router } from 'wouter';
import { memoryLocation } from 'wouter/memory-location';
// @ts-expect-error the mock is JavaScript
import { mockServer } from '../../mock/server.mjs';
import { newQueryClient } from '../api/queries';
import { theme } from '../theme';

export interface Mock {
  close: () => Promise<void>;
  /** what was asked for, "POST /api/v1/tasks" and the body */
  asked: { request: string; body: unknown; headers: Headers }[];
}

/** Starts a mock server whose world stands still but for what is asked for, and leads fetch there. */
export async function startMock(options: { namespaces?: string[] } = {}): Promise<Mock> {
  const { server } = mockServer({ rate: 0, start: Date.now(), ...options }) as { server: Server };
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const real = globalThis.fetch;
  const asked: Mock['asked'] = [];
  globalThis.fetch = ((path: string, init: RequestInit = {}) => {
    const headers = new Headers(init.headers);
    asked.push({
      request: `${init.method ?? 'GET'} ${path}`,
      body: init.body ? JSON.parse(String(init.body)) : undefined,
      headers,
    });
    const { signal: _, ...rest } = init; // jsdom's signals are not those of fetch
    return real(base + path, rest);
  }) as typeof fetch;
  return {
    asked,
    close: () => {
      globalThis.fetch = real;
      server.closeAllConnections();
      return new Promise((closed) => server.close(() => closed()));
    },
  };
}

/** Draws something at an address; gives where the page has gone. */
export function renderAt(address: string, what: ReactNode) {
  const [path = '', search = ''] = address.split('?');
  const { hook, searchHook, history } = memoryLocation({ path, searchPath: search, record: true });
  const view = render(
    <MantineProvider theme={theme} env="test">
      <QueryClientProvider client={newQueryClient()}>
        <Router hook={hook} searchHook={searchHook}>
          {what}
        </Router>
      </QueryClientProvider>
    </MantineProvider>,
  );
  return { ...view, history };
}

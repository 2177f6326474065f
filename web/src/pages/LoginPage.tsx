import { Button, PasswordInput, Stack } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useLocation, useSearch } from 'wouter';
import { ApiError, api, setToken, token } from '../api/client';
import type { Me } from '../api/types';
import { CommandBox } from '../components/CommandBox';
import { Page, Panel } from '../components/Page';
import { ProblemAlert } from '../components/Problem';

/** /login?next=/tasks: asks for a token, and keeps it as long as the tab is open. */
export default function LoginPage() {
  const [, go] = useLocation();
  const next = safeNext(new URLSearchParams(useSearch()).get('next'));
  const queries = useQueryClient();
  const [typed, setTyped] = useState('');
  const [error, setError] = useState<unknown>();
  const [asking, setAsking] = useState(false);
  const login = async () => {
    const before = token();
    setAsking(true);
    setError(undefined);
    setToken(typed.trim());
    try {
      const me = await api<Me>(['me']);
      queries.clear();
      queries.setQueryData(['me'], me);
      go(next, { replace: true });
    } catch (e) {
      setToken(before);
      setError(
        e instanceof ApiError && e.status === 401
          ? new ApiError({
              status: 401,
              code: e.code,
              title: 'Not this token',
              detail: e.message,
              hint: e.hint || 'Check that it is whole, and not revoked.',
            })
          : e,
      );
    } finally {
      setAsking(false);
    }
  };
  return (
    <Page title="Log in">
      <Panel title="This server wants a token">
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (typed.trim() !== '' && !asking) void login();
          }}
        >
          <Stack maw={520}>
            <PasswordInput
              label="Token"
              description="It is kept in this tab only, and forgotten when the tab is closed."
              value={typed}
              onChange={(e) => setTyped(e.currentTarget.value)}
              autoComplete="off"
              data-autofocus
              autoFocus
            />
            {error !== undefined && <ProblemAlert error={error} />}
            <div>
              <Button type="submit" loading={asking} disabled={typed.trim() === ''}>
                Log in
              </Button>
            </div>
            <p className="dimmed">Whoever runs the server can make one for you:</p>
            <CommandBox command="tasker token create NAME --scope operate,submit" />
          </Stack>
        </form>
      </Panel>
    </Page>
  );
}

/** Only a path of this page: an address that somebody else made must not lead elsewhere. */
export function safeNext(next: string | null): string {
  if (!next?.startsWith('/') || next.startsWith('/login')) return '/tasks';
  const url = new URL(next, location.origin);
  return url.origin === location.origin ? url.pathname + url.search : '/tasks';
}

import { Alert, Button, Group, List } from '@mantine/core';
import type { ReactNode } from 'react';
import { ApiError } from '../api/client';
import { IconAlert, IconInfo } from './icons';

/** What an error says: for what is no ApiError (a fault of this page), that. */
export function describe(error: unknown): { title: string; detail: string; hint: string; code: string } {
  if (error instanceof ApiError) {
    const title = error.title || (error.status === 0 ? 'No answer' : 'That did not work');
    return { title, detail: error.message, hint: error.hint, code: error.code };
  }
  return {
    title: 'This page has a fault',
    detail: error instanceof Error ? error.message : String(error),
    hint: 'Reload it; if it happens again, report it with the steps that led to it.',
    code: 'page_fault',
  };
}

/** What went wrong, why, and what to do; with a button to try again when there is something to try. */
export function ProblemAlert({
  error,
  onRetry,
  children,
}: {
  error: unknown;
  onRetry?: () => void;
  children?: ReactNode;
}) {
  const { title, detail, hint, code } = describe(error);
  const fields = error instanceof ApiError ? error.errors : [];
  return (
    <Alert color="red" variant="light" title={title} icon={<IconAlert size={18} />} role="alert" className="problem">
      <p>{detail}</p>
      {fields.length > 0 && (
        <List size="sm" spacing={2}>
          {fields.slice(0, 20).map((f, i) => (
            <List.Item key={i}>
              {f.location && <code>{f.location}</code>} {f.message}
            </List.Item>
          ))}
        </List>
      )}
      {hint && <p className="hint">{hint}</p>}
      <Group gap="xs" mt="xs">
        {onRetry && (
          <Button size="xs" variant="default" onClick={onRetry}>
            Try again
          </Button>
        )}
        {children}
        <code className="dimmed small">
          {code}
          {error instanceof ApiError && error.id && ` ${error.id}`}
        </code>
      </Group>
    </Alert>
  );
}

/** Nothing is there: why that may be, and what to do about it. */
export function EmptyState({ title, children, icon }: { title: string; children?: ReactNode; icon?: ReactNode }) {
  return (
    <div className="empty">
      <span className="empty-icon">{icon ?? <IconInfo size={28} />}</span>
      <h2>{title}</h2>
      <div>{children}</div>
    </div>
  );
}

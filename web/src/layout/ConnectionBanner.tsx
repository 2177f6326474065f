import { Button } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { api } from '../api/client';
import { useConnection } from '../api/connection';
import { Duration } from '../components/Time';

/** Says that the server does not answer, tries again by itself, and reads everything anew when it does. */
export function ConnectionBanner() {
  const { error, since } = useConnection();
  const queries = useQueryClient();
  const wasGone = useRef(false);
  useEffect(() => {
    if (error) {
      wasGone.current = true;
      const timer = setInterval(() => api(['me'], { timeout: 5_000 }).catch(() => {}), 3_000);
      return () => clearInterval(timer);
    }
    if (wasGone.current) {
      wasGone.current = false;
      queries.invalidateQueries();
    }
  }, [error, queries]);
  if (!error) return null;
  return (
    <div className="banner" role="alert">
      <span>
        <strong>{error.message}</strong> What you see is as it was <Duration since={new Date(since).toISOString()} />{' '}
        ago. {error.hint}
      </span>
      <Button size="compact-sm" variant="default" onClick={() => api(['me'], { timeout: 5_000 }).catch(() => {})}>
        Try now
      </Button>
    </div>
  );
}

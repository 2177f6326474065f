import { ActionIcon, Button, Slider, Tooltip } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { count, exact } from '../components/format';
import { ProblemAlert } from '../components/Problem';
import type { Go } from './address';
import type { Past } from './live';

/** Milliseconds between two events while the past is played. */
const pace = 350;
/** Milliseconds without movement until the address follows the slider: browsers allow few changes of it. */
const rest = 250;

/** A slider over the events of a task, and what it stands on. */
export function TimeMachine({
  past,
  at,
  go,
  moveTo,
}: {
  past: Past;
  at: string;
  go: Go;
  moveTo: (at: string) => void;
}) {
  const { events, place } = past;
  const [playing, setPlaying] = useState(false);
  const last = events.length - 1;
  const event = events[place];
  const to = (index: number) => {
    const e = events[Math.max(0, Math.min(last, index))];
    if (e) moveTo(e.id);
  };

  const step = useRef(to);
  useEffect(() => {
    step.current = to;
  });
  useEffect(() => {
    if (!playing) return;
    if (place >= last) {
      setPlaying(false);
      return;
    }
    const timer = setTimeout(() => step.current(place + 1), pace);
    return () => clearTimeout(timer);
  }, [playing, place, last]);

  useEffect(() => {
    const timer = setTimeout(() => {
      if (new URLSearchParams(location.search).get('at') !== at) go({ at }, { replace: true });
    }, rest);
    return () => clearTimeout(timer);
  }, [at, go]);

  const back = (
    <Button size="xs" onClick={() => go({ at: undefined })}>
      Back to now
    </Button>
  );
  if (past.history.isError) {
    return (
      <section className="time-machine" aria-label="Time machine">
        <ProblemAlert error={past.history.error} onRetry={() => void past.history.refetch()}>
          {back}
        </ProblemAlert>
      </section>
    );
  }
  return (
    <section className="time-machine" aria-label="Time machine" data-testid="time-machine">
      <div className="time-head">
        <p role="status" data-testid="time-banner">
          <strong>You look at the past.</strong>{' '}
          {event ? (
            <>
              Event {event.id}, {count(place + 1)} of {count(events.length)}: <code>{event.type}</code>
              {event.step ? ` of ${event.step}` : ''}, {exact(event.at)}
            </>
          ) : past.history.isFetching ? (
            'Reading the history …'
          ) : (
            `The history of this task has no event ${at}.`
          )}
        </p>
        {back}
      </div>
      {past.history.data?.trimmed && (
        <p className="small">
          The beginning of the history is not in the log any more: earlier states cannot be shown.
        </p>
      )}
      <div className="time-controls">
        <Jump
          label="To the first event"
          off={place === 0}
          onClick={() => to(0)}
          path="M4 3.5v9M12.5 3.5 6.5 8l6 4.5Z"
        />
        <Jump label="One event back" off={place <= 0} onClick={() => to(place - 1)} path="M11 3.5 5 8l6 4.5Z" />
        <Button
          size="xs"
          variant="default"
          onClick={() => {
            if (!playing && place >= last) to(0);
            setPlaying(!playing);
          }}
          disabled={events.length === 0}
        >
          {playing ? 'Stop' : 'Play'}
        </Button>
        <Jump label="One event on" off={place >= last} onClick={() => to(place + 1)} path="M5 3.5 11 8l-6 4.5Z" />
        <Jump
          label="To the last event"
          off={place >= last}
          onClick={() => to(last)}
          path="M12 3.5v9M3.5 3.5 9.5 8l-6 4.5Z"
        />
        <Slider
          className="time-slider"
          min={0}
          max={Math.max(1, last)}
          value={Math.max(0, place)}
          onChange={(v) => {
            setPlaying(false);
            to(v);
          }}
          label={null} // the line above says where it stands, and a label would cover it
          thumbLabel="Event of the history"
          thumbProps={{
            'aria-valuetext': event ? `${place + 1} of ${events.length}: ${event.type} ${event.step ?? ''}` : '',
          }}
          disabled={events.length < 2}
          size="sm"
        />
      </div>
      {past.task.isError && place >= 0 && (
        <ProblemAlert error={past.task.error} onRetry={() => void past.task.refetch()} />
      )}
    </section>
  );
}

function Jump({ label, off, onClick, path }: { label: string; off: boolean; onClick: () => void; path: string }) {
  return (
    <Tooltip label={label} withArrow>
      <ActionIcon variant="default" size="md" onClick={onClick} disabled={off} aria-label={label}>
        <svg
          width="14"
          height="14"
          viewBox="0 0 16 16"
          fill="currentColor"
          stroke="currentColor"
          strokeWidth="1.4"
          aria-hidden
        >
          <path d={path} />
        </svg>
      </ActionIcon>
    </Tooltip>
  );
}

import { Button, Select, TextInput } from '@mantine/core';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import { Link } from 'wouter';
import type { Json } from '../api/types';
import { count, duration, exact } from '../components/format';
import { IconDown, IconRight } from '../components/icons';
import { JsonView } from '../components/Json';
import { EmptyState } from '../components/Problem';
import { type Go, hrefOf, type Place } from './address';
import type { TaskEvent } from './fold';

interface Props {
  id: string;
  events: readonly TaskEvent[];
  /** Events before them that are not kept here. */
  older: number;
  onOlder: () => void;
  place: Place;
  go: Go;
}

/** What happened, event by event. */
export function EventsTab({ id, events, older, onOlder, place, go }: Props) {
  const [text, setText] = useState('');
  const [type, setType] = useState<string | null>(null);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [newestFirst, setNewestFirst] = useState(false);
  const wanted = useDeferredValue(text.trim().toLowerCase());
  const types = useTypes(events);
  const shown = useMemo(() => {
    const some = events.filter(
      (e) =>
        (!type || e.type === type) &&
        (!place.step || e.step === place.step) &&
        (!wanted || `${e.id} ${e.type} ${e.step ?? ''} ${e.actor ?? ''}`.toLowerCase().includes(wanted)),
    );
    return newestFirst ? some.reverse() : some;
  }, [events, type, place.step, wanted, newestFirst]);

  const toggle = (event: string) =>
    setOpen((was) => {
      const now = new Set(was);
      if (!now.delete(event)) now.add(event);
      return now;
    });

  return (
    <div className="events-tab">
      <div className="page-actions">
        <TextInput
          size="xs"
          aria-label="Find events"
          placeholder="id, type, step or actor"
          value={text}
          onChange={(e) => setText(e.currentTarget.value)}
        />
        <Select
          size="xs"
          aria-label="Type of the events"
          placeholder="every type"
          data={types}
          value={type}
          onChange={setType}
          clearable
          searchable
        />
        {place.step && (
          <Button size="xs" variant="default" onClick={() => go({ step: undefined })}>
            Only step {place.step} ✕
          </Button>
        )}
        <Button size="xs" variant="default" aria-pressed={newestFirst} onClick={() => setNewestFirst(!newestFirst)}>
          {newestFirst ? 'Newest first' : 'Oldest first'}
        </Button>
        <span className="small dimmed" role="status">
          {count(shown.length)} of {count(events.length + older)} events
        </span>
        {older > 0 && (
          <Button size="xs" variant="light" onClick={onOlder}>
            Load the {count(older)} older ones
          </Button>
        )}
      </div>
      {shown.length === 0 ? (
        <EmptyState title="No event is like that">Take a filter away to see more.</EmptyState>
      ) : (
        <List
          id={id}
          events={shown}
          open={open}
          toggle={toggle}
          at={place.at}
          go={go}
          follow={!newestFirst && place.at === undefined}
        />
      )}
    </div>
  );
}

/** The types that occur; they are looked for again only when the number of events has doubled or the filter is opened anew. */
function useTypes(events: readonly TaskEvent[]): string[] {
  const known = useRef({ seen: 0, types: new Set<string>() });
  const k = known.current;
  const from = events.length >= k.seen ? k.seen : 0;
  for (let i = from; i < events.length; i++) {
    const e = events[i];
    if (e) k.types.add(e.type);
  }
  k.seen = events.length;
  const size = k.types.size;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the set only grows, so its size says whether it has changed
  return useMemo(() => [...k.types].sort(), [k, size]);
}

interface ListProps {
  id: string;
  events: readonly TaskEvent[];
  open: ReadonlySet<string>;
  toggle: (event: string) => void;
  at: string | undefined;
  go: Go;
  /** Stay at the end while new ones come, as long as one is there. */
  follow: boolean;
}

function List({ id, events, open, toggle, at, go, follow }: ListProps) {
  const box = useRef<HTMLDivElement>(null);
  const list = useVirtualizer({
    count: events.length,
    getScrollElement: () => box.current,
    estimateSize: () => 36,
    getItemKey: (i) => events[i]?.id ?? i,
    overscan: 10,
  });
  const { scrollToIndex } = list;
  const atEnd = useRef(false);
  useEffect(() => {
    if (follow && atEnd.current) scrollToIndex(events.length - 1, { align: 'end' });
  }, [events.length, follow, scrollToIndex]);
  const marked = at === undefined ? -1 : events.findIndex((e) => e.id === at);
  useEffect(() => {
    if (marked >= 0) scrollToIndex(marked, { align: 'auto' });
  }, [marked, scrollToIndex]);
  return (
    <section
      className="events"
      ref={box}
      aria-label="Events"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard
      tabIndex={0}
      onScroll={(e) => {
        const s = e.currentTarget;
        atEnd.current = s.scrollHeight - s.scrollTop - s.clientHeight < 40;
      }}
    >
      <ol style={{ height: list.getTotalSize() }}>
        {list.getVirtualItems().map((item) => {
          const e = events[item.index];
          return (
            e && (
              <li
                key={item.key}
                ref={list.measureElement}
                data-index={item.index}
                style={{ transform: `translateY(${item.start}px)` }}
                className={e.id === at ? 'event marked' : 'event'}
              >
                <EventRow id={id} event={e} open={open.has(e.id)} toggle={toggle} go={go} />
              </li>
            )
          );
        })}
      </ol>
    </section>
  );
}

const EventRow = memo(function EventRow({
  id,
  event: e,
  open,
  toggle,
  go,
}: {
  id: string;
  event: TaskEvent;
  open: boolean;
  toggle: (event: string) => void;
  go: Go;
}) {
  const has = e.data !== undefined && e.data !== null;
  const see = (at: string) => (click: React.MouseEvent) => {
    if (click.metaKey || click.ctrlKey) return;
    click.preventDefault();
    go({ at });
  };
  return (
    <>
      <div className="event-line">
        <button
          type="button"
          className="event-toggle"
          aria-expanded={open}
          aria-label={`Payload of ${e.type} ${e.id}`}
          disabled={!has}
          onClick={() => toggle(e.id)}
        >
          {has && (open ? <IconDown size={12} /> : <IconRight size={12} />)}
        </button>
        <Link
          className="event-id"
          href={hrefOf(id, { tab: 'events', at: e.id })}
          onClick={see(e.id)}
          title="Look at the task right after this event"
        >
          {e.id}
        </Link>
        <span className="event-type">{e.type}</span>
        {e.step && (
          <button
            type="button"
            className="linkish cut"
            onClick={() => go({ step: e.step })}
            title={`Only events of ${e.step}`}
          >
            {e.step}
            {e.attempt !== undefined && e.attempt > 1 ? ` · try ${e.attempt}` : ''}
          </button>
        )}
        <span className="event-actor small dimmed">{e.actor}</span>
        <time className="event-time small dimmed" dateTime={e.at} title={exact(e.at, true)}>
          {exact(e.at).slice(11)}
        </time>
      </div>
      {open && (
        <div className="event-more">
          <JsonView value={e.data as Json} label={`payload of ${e.id}`} />
          <p className="small dimmed">
            {exact(e.at)}
            {e.duration_ns ? ` · it ended what took ${duration(e.duration_ns)}` : ''}
            {e.cause && (
              <>
                {' · caused by '}
                <Link href={hrefOf(id, { tab: 'events', at: e.cause })} onClick={see(e.cause)}>
                  {e.cause}
                </Link>
              </>
            )}
          </p>
        </div>
      )}
    </>
  );
});

import { Loader, Progress } from '@mantine/core';
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { memo, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { useLocation } from 'wouter';
import { shortId } from '../../components/format';
import { StateBadge, shownOfTask } from '../../components/StateBadge';
import { Duration, Time } from '../../components/Time';
import { useKeys } from '../../layout/keys';
import type { ListRow } from './merge';

const COLUMNS = ['State', 'Task', 'Steps', 'Created', 'Duration', 'Retries'];

/** The list: only the rows on the screen are in the document, however many there are. j and k move, Enter opens. */
export function TaskTable({
  rows,
  total,
  loadingMore,
  pages,
  onEnd,
  onVisible,
}: {
  rows: ListRow[];
  total: number | undefined;
  loadingMore: boolean;
  pages: number;
  onEnd: () => void;
  onVisible: (first: number, last: number) => void;
}) {
  const [, go] = useLocation();
  const body = useRef<HTMLDivElement>(null);
  const [offset, setOffset] = useState(0);
  const [current, setCurrent] = useState(-1);
  useLayoutEffect(() => {
    setOffset(body.current?.offsetTop ?? 0);
  }, []);
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => 58,
    overscan: 8,
    scrollMargin: offset,
    getItemKey: (i) => rows[i]?.id ?? i,
  });
  const items = virtual.getVirtualItems();
  const [first, last] = [items[0]?.index ?? 0, items.at(-1)?.index ?? 0];
  useEffect(() => {
    onVisible(first, last);
    if (pages > 0 && last >= rows.length - 15) onEnd();
  }, [first, last, rows.length, pages, onEnd, onVisible]);

  const move = (by: number) => {
    const next = Math.min(rows.length - 1, Math.max(0, current + by));
    setCurrent(next);
    virtual.scrollToIndex(next, { align: 'auto' });
    // The row may have to be drawn first.
    requestAnimationFrame(() =>
      requestAnimationFrame(() => document.getElementById(`row-${next}`)?.focus({ preventScroll: true })),
    );
  };
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    o: () => {
      const row = rows[current];
      if (row) go(`/tasks/${row.id}`);
    },
  });

  return (
    // Rows of a virtual list stand where they are put, which those of a <table> do not.
    <div role="table" aria-label="Tasks" aria-rowcount={(total ?? rows.length) + 1} className="tasks">
      <div role="row" aria-rowindex={1} className="task-row task-head">
        {COLUMNS.map((c) => (
          <div key={c} role="columnheader">
            {c}
          </div>
        ))}
      </div>
      <div ref={body} role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {items.map((v) => {
          const row = rows[v.index];
          return (
            row && (
              <div
                key={v.key}
                ref={virtual.measureElement}
                data-index={v.index}
                role="presentation"
                className="task-slot"
                style={{ transform: `translateY(${v.start - offset}px)` }}
              >
                <TaskLine row={row} index={v.index} current={v.index === current} onOpen={go} />
              </div>
            )
          );
        })}
      </div>
      {loadingMore && <Loader size="sm" aria-label="Loading more tasks" mt="sm" />}
    </div>
  );
}

const TaskLine = memo(function TaskLine({
  row,
  index,
  current,
  onOpen,
}: {
  row: ListRow;
  index: number;
  current: boolean;
  onOpen: (href: string) => void;
}) {
  const running = row.state === 'in_progress' || row.state === 'pending';
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the link in it is for the keyboard; the row is a larger target for the pointer
    <div
      role="row"
      aria-rowindex={index + 2}
      className={`task-row${current ? ' current' : ''}${row.gone ? ' gone' : ''}`}
      onClick={(e) => {
        const link = (e.target as HTMLElement).closest('a');
        if (!link && !window.getSelection()?.toString()) onOpen(`/tasks/${row.id}`);
      }}
    >
      <div role="cell" className="cell-state">
        <StateBadge state={shownOfTask(row)} />
      </div>
      <div role="cell" className="cell-task">
        <div className="cell-name">
          <a
            id={`row-${index}`}
            href={`/tasks/${row.id}`}
            className="row-link"
            onClick={(e) => {
              if (e.metaKey || e.ctrlKey || e.shiftKey || e.button !== 0) return;
              e.preventDefault();
              onOpen(`/tasks/${row.id}`);
            }}
          >
            {row.name} <span className="mono dimmed">{shortId(row.id)}</span>
          </a>
          {row.gone && <span className="small dimmed">no longer in this list</span>}
        </div>
        <div className="cell-more small">
          <span className="dimmed nowrap">
            {row.namespace} · {row.version}
          </span>
          {row.tags?.slice(0, 4).map((t) => (
            <span key={t} className="tag">
              {t}
            </span>
          ))}
          {row.last_error && row.state !== 'complete' && (
            <span className="cut bad-text" title={`${row.last_error.step}: ${row.last_error.message}`}>
              {row.last_error.step}: {row.last_error.message}
            </span>
          )}
        </div>
      </div>
      <div role="cell" className="cell-steps">
        <Steps row={row} />
      </div>
      <div role="cell" className="cell-created">
        <Time at={row.created_at} />
      </div>
      <div role="cell" className="cell-duration">
        {running ? <Duration since={row.started_at} /> : <Duration ns={row.duration_ns} />}
      </div>
      <div role="cell" className="cell-retries number">
        {row.retries ? (
          <span title="executions beyond the first of every step">{row.retries} ↻</span>
        ) : (
          <span className="dimmed">0</span>
        )}
      </div>
    </div>
  );
});

function Steps({ row }: { row: ListRow }) {
  const { total, complete = 0, error = 0, resolved_manually = 0, in_progress = 0 } = row.steps;
  const done = complete + resolved_manually;
  const part = (n: number) => (total ? (100 * n) / total : 0);
  return (
    <div className="steps-bar">
      <span className="number">
        {done}/{total}
      </span>
      <Progress.Root size={6} aria-hidden="true">
        <Progress.Section value={part(done)} color="var(--s-complete)" />
        <Progress.Section value={part(in_progress)} color="var(--s-in_progress)" />
        <Progress.Section value={part(error)} color="var(--s-error)" />
      </Progress.Root>
    </div>
  );
}

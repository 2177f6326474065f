import { Button, SegmentedControl } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, useEffect, useMemo, useRef, useState } from 'react';
import type { Task } from '../api/types';
import { EmptyState } from '../components/Problem';
import { useNow } from '../components/Time';
import type { Go, Place } from './address';
import type { TaskEvent } from './fold';
import { type Kind, kinds, type Row, type Segment, span, ticks, timelineOf } from './timeline';

const rowHeight = 26;
const names: Record<Kind, string> = {
  parents: 'waits for other steps',
  queued: 'waits for a slot',
  running: 'runs',
  backoff: 'waits to be tried again',
  stopped: 'failed, waits for somebody',
};

/** What every step did when. */
export function TimelineTab({
  task,
  events,
  place,
  go,
}: {
  task: Task;
  events: readonly TaskEvent[];
  place: Place;
  go: Go;
}) {
  const line = useMemo(() => timelineOf(task.steps ?? [], events), [task.steps, events]);
  const over = task.state !== 'pending' && task.state !== 'in_progress';
  const live = place.at === undefined && !over;
  const now = useNow(live);
  const end = live ? Math.max(now, line.to) : line.to;
  const [zoom, setZoom] = useState(1);
  const [order, setOrder] = useState<'definition' | 'start'>('definition');
  const rows = useMemo(() => (order === 'definition' ? line.rows : byStart(line.rows)), [line, order]);
  if (events.length === 0)
    return <EmptyState title="Nothing has happened yet">The first event is the task's creation.</EmptyState>;
  return (
    <div className="timeline">
      <div className="timeline-tools">
        <ul className="dag-legend" aria-label="Legend of the bars">
          {kinds.map((k) => (
            <li key={k}>
              <span className={`bar-sample bar-${k}`} aria-hidden="true" /> {names[k]}
            </li>
          ))}
        </ul>
        <div className="page-actions">
          <SegmentedControl
            size="xs"
            aria-label="Order of the rows"
            value={order}
            onChange={(v) => setOrder(v as typeof order)}
            data={[
              { value: 'definition', label: 'as defined' },
              { value: 'start', label: 'by start' },
            ]}
          />
          <Button size="xs" variant="default" onClick={() => setZoom((z) => Math.max(1, z / 2))} disabled={zoom <= 1}>
            Zoom out
          </Button>
          <Button size="xs" variant="default" onClick={() => setZoom((z) => Math.min(1 << 16, z * 2))}>
            Zoom in
          </Button>
          <Button size="xs" variant="default" onClick={() => setZoom(1)} disabled={zoom === 1}>
            Show all
          </Button>
        </div>
      </div>
      <Chart rows={rows} pauses={line.pauses} from={line.from} end={end} zoom={zoom} selected={place.step} go={go} />
    </div>
  );
}

function byStart(rows: readonly Row[]): Row[] {
  const start = (r: Row) => r.segments.find((s) => s.kind === 'running')?.from ?? Number.POSITIVE_INFINITY;
  return [...rows].sort((a, b) => start(a) - start(b) || 0);
}

interface ChartProps {
  rows: readonly Row[];
  pauses: { from: number; to?: number | undefined }[];
  from: number;
  end: number;
  zoom: number;
  selected: string | undefined;
  go: Go;
}

function Chart({ rows, pauses, from, end, zoom, selected, go }: ChartProps) {
  const { ref: sized, width: whole } = useElementSize<HTMLDivElement>();
  const box = useRef<HTMLDivElement>(null);
  const label = whole < 560 ? 96 : 190;
  const seen = Math.max(120, whole - label - 16);
  // Browsers lay nothing out beyond some ten million pixels.
  const width = Math.min(seen * zoom, 8_000_000);
  const length = Math.max(1, end - from);
  const [left, setLeft] = useState(0);
  const list = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 10,
  });

  // Zooming keeps the middle where it is.
  const before = useRef(width);
  useEffect(() => {
    const at = box.current;
    if (!at || before.current === width) return;
    at.scrollLeft = ((at.scrollLeft + seen / 2) / before.current) * width - seen / 2;
    before.current = width;
  }, [width, seen]);

  const scale = width / length;
  const window = { from: from + (left - seen) / scale, to: from + (left + 2 * seen) / scale };
  const shownTicks = ticks(length, width).filter((t) => t >= window.from - from && t <= window.to - from);
  return (
    <div ref={sized}>
      <section
        className="chart"
        ref={box}
        aria-label="Timeline of the steps"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard
        tabIndex={0}
        onScroll={(e) => setLeft(e.currentTarget.scrollLeft)}
      >
        <div className="chart-inner" style={{ width: width + label, height: list.getTotalSize() + rowHeight }}>
          <div className="axis" style={{ paddingLeft: label }}>
            {shownTicks.map((t) => (
              <span key={t} style={{ left: label + t * scale }}>
                {span(t)}
              </span>
            ))}
          </div>
          {pauses.map((p) => (
            <div
              key={p.from}
              className="pause"
              title="The task was paused"
              style={{
                left: label + (p.from - from) * scale,
                width: Math.max(2, ((p.to ?? end) - p.from) * scale),
                top: rowHeight,
              }}
            />
          ))}
          {list.getVirtualItems().map((item) => {
            const row = rows[item.index];
            return (
              row && (
                <Bars
                  key={row.name}
                  row={row}
                  top={item.start + rowHeight}
                  label={label}
                  from={from}
                  end={end}
                  scale={scale}
                  windowFrom={window.from}
                  windowTo={window.to}
                  chosen={row.name === selected}
                  go={go}
                />
              )
            );
          })}
        </div>
      </section>
    </div>
  );
}

interface BarsProps {
  row: Row;
  top: number;
  label: number;
  from: number;
  end: number;
  scale: number;
  windowFrom: number;
  windowTo: number;
  chosen: boolean;
  go: Go;
}

const Bars = memo(function Bars({ row, top, label, from, end, scale, windowFrom, windowTo, chosen, go }: BarsProps) {
  const bars = row.segments.filter((s) => (s.to ?? end) >= windowFrom && s.from <= windowTo);
  return (
    <div className={chosen ? 'bars chosen' : 'bars'} style={{ transform: `translateY(${top}px)` }} data-step={row.name}>
      <button
        type="button"
        className="bars-name cut"
        style={{ width: label - 8 }}
        title={row.name}
        onClick={() => go({ step: row.name, tab: 'graph' })}
      >
        {row.name}
      </button>
      {bars.map((s) => {
        const a = Math.max(s.from, windowFrom);
        const b = Math.min(s.to ?? end, windowTo);
        return (
          <span
            key={`${s.event}${s.kind}`}
            className={`bar bar-${s.kind}${s.outcome === 'failed' ? ' bar-failed' : ''}${s.to === undefined ? ' bar-open' : ''}`}
            title={about(s, end)}
            style={{ left: label + (a - from) * scale, width: Math.max(s.kind === 'running' ? 3 : 1, (b - a) * scale) }}
          />
        );
      })}
      <span className="visually-hidden">{summary(row, end)}</span>
    </div>
  );
});

function about(s: Segment, end: number): string {
  const took = span((s.to ?? end) - s.from);
  const how = s.kind === 'running' ? `try ${s.attempt ?? 1}${s.outcome ? ` ${s.outcome}` : ''}: ` : '';
  return `${how}${names[s.kind]} ${s.to === undefined ? 'since' : 'for'} ${took}`;
}

/** What the bars of a row say, in words. */
function summary(row: Row, end: number): string {
  return row.segments
    .map((s) => about(s, end))
    .slice(-12)
    .join('; ');
}

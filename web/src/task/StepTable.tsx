import { TextInput } from '@mantine/core';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type KeyboardEvent, memo, useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import type { Step } from '../api/types';
import { count, duration } from '../components/format';
import { StateBadge, shownOfStep } from '../components/StateBadge';
import { progressOf, tookOf } from './steps';

const rowHeight = 40;

/** The steps as a table: all that the graph shows, for those who cannot see it or look for a name. */
export function StepTable({
  steps,
  selected,
  onSelect,
}: {
  steps: readonly Step[];
  selected: string | undefined;
  onSelect: (name: string | undefined) => void;
}) {
  const [text, setText] = useState('');
  const wanted = useDeferredValue(text.trim().toLowerCase());
  const shown = useMemo(
    () =>
      wanted ? steps.filter((s) => `${s.name} ${s.handler} ${shownOfStep(s)}`.toLowerCase().includes(wanted)) : steps,
    [steps, wanted],
  );
  const box = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: shown.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 12,
  });
  const chosen = selected === undefined ? -1 : shown.findIndex((s) => s.name === selected);
  const { scrollToIndex } = rows;
  useEffect(() => {
    if (chosen >= 0) scrollToIndex(chosen, { align: 'auto' });
  }, [chosen, scrollToIndex]);

  const onKeyDown = (e: KeyboardEvent) => {
    const last = shown.length - 1;
    const to = {
      ArrowDown: chosen + 1,
      ArrowUp: chosen < 0 ? last : chosen - 1,
      PageDown: chosen + 10,
      PageUp: chosen - 10,
      Home: 0,
      End: last,
    }[e.key];
    if (to === undefined || last < 0) return;
    e.preventDefault();
    onSelect(shown[Math.max(0, Math.min(last, to))]?.name);
  };

  return (
    <section className="step-table" aria-label="Steps">
      <TextInput
        size="xs"
        aria-label="Find a step"
        placeholder="Find a step by name, handler or state"
        value={text}
        onChange={(e) => setText(e.currentTarget.value)}
      />
      <div
        ref={box}
        className="rows"
        role="grid"
        aria-label={`Steps of the task: ${shown.length}`}
        aria-rowcount={shown.length + 1}
        tabIndex={0}
        onKeyDown={onKeyDown}
        aria-activedescendant={chosen >= 0 ? `step-row-${chosen}` : undefined}
      >
        <div className="row head" role="row" aria-rowindex={1}>
          <Head name="Step" />
          <Head name="State" />
          <Head name="Tries" />
          <Head name="Took" />
        </div>
        <div className="body" role="rowgroup" style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map((item) => {
            const step = shown[item.index];
            return (
              step && (
                <Row
                  key={step.name}
                  step={step}
                  index={item.index}
                  top={item.start}
                  chosen={item.index === chosen}
                  onSelect={onSelect}
                />
              )
            );
          })}
        </div>
      </div>
      {shown.length === 0 && (
        <p className="dimmed small">
          {steps.length === 0 ? 'The task has no steps.' : `None of the ${count(steps.length)} steps is like that.`}
        </p>
      )}
    </section>
  );
}

function Head({ name }: { name: string }) {
  return <span role="columnheader">{name}</span>;
}

const Row = memo(function Row({
  step,
  index,
  top,
  chosen,
  onSelect,
}: {
  step: Step;
  index: number;
  top: number;
  chosen: boolean;
  onSelect: (name: string | undefined) => void;
}) {
  const took = tookOf(step);
  const progress = progressOf(step);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are the grid's
    <div
      id={`step-row-${index}`}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={chosen}
      className={chosen ? 'row chosen' : 'row'}
      style={{ transform: `translateY(${top}px)` }}
      onClick={() => onSelect(chosen ? undefined : step.name)}
      data-step={step.name}
    >
      <span role="gridcell" className="cut" title={`${step.name} (${step.handler})`}>
        {step.name}
      </span>
      <span role="gridcell">
        <StateBadge state={shownOfStep(step)} />
        {progress && <span className="small dimmed"> {progress}</span>}
      </span>
      <span role="gridcell" className="number">
        {step.attempt || '–'}
      </span>
      <span role="gridcell" className="number">
        {took === undefined ? '–' : duration(took)}
      </span>
    </div>
  );
});

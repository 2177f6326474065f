import { useMemo } from 'react';
import type { Step, Task } from '../api/types';
import type { Go, Place } from './address';
import { Dag } from './dag';
import { StepPanel } from './StepPanel';
import { StepTable } from './StepTable';
import { dagStep } from './steps';

/** The steps as a graph and as a table, and the one that is looked at. */
export function GraphTab({ task, place, go }: { task: Task; place: Place; go: Go }) {
  const steps: readonly Step[] = task.steps ?? [];
  const drawn = useMemo(() => steps.map(dagStep), [steps]);
  const select = (name: string | undefined) => go({ step: name }, { replace: true });
  const chosen = place.step === undefined ? undefined : steps.find((s) => s.name === place.step);
  return (
    <div className={chosen ? 'graph-tab with-step' : 'graph-tab'}>
      <div className="graph-area">
        <Dag
          steps={drawn}
          selected={place.step}
          onSelect={select}
          height={steps.length <= 8 ? 'clamp(220px, 36vh, 380px)' : 'clamp(300px, 56vh, 680px)'}
          label={`Graph of the ${steps.length} steps of ${task.name}`}
        />
      </div>
      <div className="table-area">
        <StepTable steps={steps} selected={place.step} onSelect={select} />
      </div>
      <div className="step-area">
        {chosen && (
          <StepPanel
            key={chosen.name}
            task={task}
            step={chosen}
            at={place.at}
            onClose={() => select(undefined)}
            onSelect={select}
          />
        )}
        {place.step !== undefined && !chosen && (
          <p className="panel">The task has no step {place.step}. Choose one from the graph or the table.</p>
        )}
      </div>
    </div>
  );
}

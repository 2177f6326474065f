import { Button, Loader, Select, Skeleton, Tabs } from '@mantine/core';
import { lazy, Suspense } from 'react';
import { Link, useLocation, useParams, useSearch } from 'wouter';
import { useDefinition } from '../../api/queries';
import type { Definition } from '../../api/types';
import { CommandBox } from '../../components/CommandBox';
import { count, duration } from '../../components/format';
import { JsonView } from '../../components/Json';
import { Page, Panel, Scroll } from '../../components/Page';
import { ProblemAlert } from '../../components/Problem';
import { Statistics } from './Statistics';

const Dag = lazy(() => import('../../task/dag').then((m) => ({ default: m.Dag })));
const TABS = ['graph', 'steps', 'statistics', 'body'];

/** /definitions/:ns/:name?version=V&tab=graph|steps|statistics|body&step=S */
export default function DefinitionPage() {
  const { ns = '', name = '' } = useParams<{ ns: string; name: string }>();
  const q = new URLSearchParams(useSearch());
  const [path, go] = useLocation();
  const version = q.get('version') ?? '';
  const definition = useDefinition(ns, name, version);
  const asked = q.get('tab') ?? '';
  const tab = TABS.includes(asked) ? asked : 'graph';
  const set = (change: Record<string, string>) => {
    const next = new URLSearchParams(q);
    for (const [k, v] of Object.entries(change)) {
      if (v) next.set(k, v);
      else next.delete(k);
    }
    const text = next.toString();
    go(`${path}${text ? `?${text}` : ''}`, { replace: true });
  };
  const d = definition.data;
  const id = `${ns}/${name}`;
  return (
    <Page
      title={name}
      lead={d ? `${ns} · ${count(d.steps.length)} steps${d.description ? ` · ${d.description}` : ''}` : ns}
      actions={
        d && (
          <>
            <Select
              aria-label="Version"
              data={d.versions ?? [d.version]}
              value={d.version}
              onChange={(v) => v && set({ version: v, step: '' })}
              allowDeselect={false}
              w={120}
            />
            <Button
              variant="default"
              component={Link}
              href={`/tasks?namespace=${encodeURIComponent(ns)}&name=${encodeURIComponent(name)}`}
            >
              Its tasks
            </Button>
            <Button
              component={Link}
              href={`/tasks/new?${new URLSearchParams({ definition: id, ...(version && { version }) })}`}
            >
              New task
            </Button>
          </>
        )
      }
    >
      {definition.isError && <ProblemAlert error={definition.error} onRetry={definition.refetch} />}
      {definition.isPending && !definition.isError && <Skeleton height={320} aria-busy="true" />}
      {d && (
        <Tabs value={tab} onChange={(t) => set({ tab: t && t !== 'graph' ? t : '' })} keepMounted={false}>
          <Tabs.List mb="md">
            {TABS.map((t) => (
              <Tabs.Tab key={t} value={t}>
                {t}
              </Tabs.Tab>
            ))}
          </Tabs.List>
          <Tabs.Panel value="graph">
            <Graph definition={d} selected={q.get('step') ?? ''} onSelect={(step) => set({ step })} />
          </Tabs.Panel>
          <Tabs.Panel value="steps">
            <Steps definition={d} />
          </Tabs.Panel>
          <Tabs.Panel value="statistics">
            <Statistics definition={d} />
          </Tabs.Panel>
          <Tabs.Panel value="body">
            <Body definition={d} />
          </Tabs.Panel>
        </Tabs>
      )}
    </Page>
  );
}

function Graph({
  definition: d,
  selected,
  onSelect,
}: {
  definition: Definition;
  selected: string;
  onSelect: (step: string) => void;
}) {
  const steps = d.steps.map((s) => ({ name: s.name, dependsOn: s.depends_on ?? [], note: s.handler }));
  const chosen = d.steps.find((s) => s.name === selected);
  return (
    <div className="definition-graph">
      <Suspense fallback={<Loader aria-label="Loading the graph" />}>
        <Dag
          steps={steps}
          selected={chosen?.name}
          onSelect={(name?: string) => onSelect(name ?? '')}
          label={`Graph of ${d.name}`}
        />
      </Suspense>
      {chosen && (
        <Panel title={chosen.name}>
          <Facts step={chosen} />
        </Panel>
      )}
    </div>
  );
}

function Facts({ step: s }: { step: Definition['steps'][number] }) {
  const facts: [string, string][] = [
    ['handler', s.handler],
    ['waits for', s.depends_on?.join(', ') || 'nothing'],
    ['executions at most', s.retry_limit ? String(s.retry_limit) : 'as by default'],
    ['timeout', s.timeout_ns ? duration(s.timeout_ns) : 'none'],
    ['dependent system', s.dependent_system ?? '–'],
    ['optional', s.optional ? 'yes: its failure does not fail the task' : 'no'],
    ['skippable', s.skippable ? 'yes' : 'no'],
  ];
  return (
    <>
      {s.description && <p>{s.description}</p>}
      <table className="table">
        <tbody>
          {facts.map(([k, v]) => (
            <tr key={k}>
              <th scope="row">{k}</th>
              <td>{v}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

/** Rows of a table that are drawn; a graph shows the rest. */
const MOST = 500;

function Steps({ definition: d }: { definition: Definition }) {
  return (
    <Scroll label="Steps">
      <table className="table">
        <thead>
          <tr>
            {['Step', 'Handler', 'Waits for', 'Executions', 'Timeout', 'System', 'About'].map((h) => (
              <th key={h} scope="col">
                {h}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {d.steps.slice(0, MOST).map((s) => (
            <tr key={s.name}>
              <th scope="row">{s.name}</th>
              <td>{s.handler}</td>
              <td>{few(s.depends_on ?? [])}</td>
              <td className="number">{s.retry_limit ?? '–'}</td>
              <td className="number">{s.timeout_ns ? duration(s.timeout_ns) : '–'}</td>
              <td>{s.dependent_system}</td>
              <td>
                {[s.optional && 'optional', s.skippable && 'skippable', s.description].filter(Boolean).join(' · ')}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {d.steps.length > MOST && (
        <p className="dimmed">… and {count(d.steps.length - MOST)} more: see the graph or the body.</p>
      )}
    </Scroll>
  );
}

const few = (names: string[]) =>
  names.length <= 6 ? names.join(', ') : `${names.slice(0, 5).join(', ')} and ${count(names.length - 5)} more`;

function Body({ definition: d }: { definition: Definition }) {
  const namespace = d.namespace === 'default' ? '' : ` --namespace ${d.namespace}`;
  return (
    <div className="page">
      {d.context_schema !== undefined && (
        <Panel title="Context schema">
          <JsonView value={d.context_schema} label="the context schema" />
        </Panel>
      )}
      <Panel title="As applied">
        <JsonView value={d.body} label="the definition" />
        <CommandBox command={`tasker definition show ${d.name}${namespace} --version ${d.version}`} />
      </Panel>
    </div>
  );
}

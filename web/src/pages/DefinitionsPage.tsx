import { Skeleton, TextInput } from '@mantine/core';
import { useState } from 'react';
import { Link } from 'wouter';
import { useDefinitions } from '../api/queries';
import type { DefinitionSummary } from '../api/types';
import { CommandBox } from '../components/CommandBox';
import { count } from '../components/format';
import { IconGraph, IconSearch } from '../components/icons';
import { Page, Panel, Scroll } from '../components/Page';
import { EmptyState, ProblemAlert } from '../components/Problem';

export default function DefinitionsPage() {
  const definitions = useDefinitions();
  const [text, setText] = useState('');
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const all = definitions.data ?? [];
  const found = all.filter((d) =>
    words.every((w) => `${d.namespace}/${d.name} ${d.description ?? ''}`.toLowerCase().includes(w)),
  );
  const namespaces = [...new Set(found.map((d) => d.namespace))].sort();
  return (
    <Page
      title="Definitions"
      lead={definitions.data && `${count(all.length)} registered, the highest version of each.`}
      actions={
        all.length > 5 && (
          <TextInput
            type="search"
            aria-label="Search definitions"
            placeholder="name or description"
            leftSection={<IconSearch />}
            value={text}
            onChange={(e) => setText(e.currentTarget.value)}
          />
        )
      }
    >
      {definitions.isError && <ProblemAlert error={definitions.error} onRetry={definitions.refetch} />}
      {definitions.isPending && !definitions.isError && <Skeleton height={200} aria-busy="true" />}
      {definitions.data && all.length === 0 && (
        <EmptyState title="There are no definitions yet" icon={<IconGraph size={28} />}>
          <p>A definition names the steps of a task and what they wait for. Write one, and apply it:</p>
          <CommandBox command="tasker definition apply order.yaml" />
        </EmptyState>
      )}
      {all.length > 0 && found.length === 0 && (
        <EmptyState title="No definition is like that">Search for less.</EmptyState>
      )}
      {namespaces.map((n) => (
        <Panel key={n} title={n}>
          <Scroll label={`Definitions of ${n}`}>
            <Table list={found.filter((d) => d.namespace === n)} />
          </Scroll>
        </Panel>
      ))}
    </Page>
  );
}

function Table({ list }: { list: DefinitionSummary[] }) {
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Version</th>
          <th scope="col" className="right">
            Steps
          </th>
          <th scope="col">Description</th>
          <th scope="col">
            <span className="visually-hidden">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {list.map((d) => (
          <tr key={`${d.name}@${d.version}`}>
            <td>
              <Link href={`/definitions/${encodeURIComponent(d.namespace)}/${encodeURIComponent(d.name)}`}>
                {d.name}
              </Link>
            </td>
            <td className="nowrap">{d.version}</td>
            <td className="right">{count(d.steps)}</td>
            <td className="wide">{d.description}</td>
            <td className="nowrap">
              <Link
                href={`/tasks/new?definition=${encodeURIComponent(`${d.namespace}/${d.name}`)}`}
                aria-label={`New task of ${d.name}`}
              >
                new task
              </Link>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

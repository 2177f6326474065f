import { Select, Skeleton } from '@mantine/core';
import { Link, useLocation, useSearch } from 'wouter';
import { useDefinition, useDefinitions } from '../../api/queries';
import { CommandBox } from '../../components/CommandBox';
import { Page } from '../../components/Page';
import { EmptyState, ProblemAlert } from '../../components/Problem';
import { SubmitForm } from './SubmitForm';

/** /tasks/new?definition=NAMESPACE/NAME&version=V */
export default function NewTaskPage() {
  const q = new URLSearchParams(useSearch());
  const [, go] = useLocation();
  const definitions = useDefinitions();
  const [namespace = '', name = ''] = q.get('definition')?.split('/') ?? [];
  const version = q.get('version') ?? '';
  const definition = useDefinition(namespace, name, version);
  const choose = (id: string, v = '') =>
    go(`/tasks/new?${new URLSearchParams({ definition: id, ...(v && { version: v }) })}`, { replace: true });

  const ids = (definitions.data ?? []).map((d) => `${d.namespace}/${d.name}`).sort();
  return (
    <Page title="New task" lead="Choose a definition, fill in its context, and submit.">
      {definitions.isError && <ProblemAlert error={definitions.error} onRetry={definitions.refetch} />}
      {definitions.isPending && !definitions.isError && <Skeleton height={60} aria-busy="true" />}
      {definitions.data?.length === 0 && (
        <EmptyState title="There are no definitions yet">
          <p>A task is one run of a definition. Apply one first:</p>
          <CommandBox command="tasker definition apply order.yaml" />
        </EmptyState>
      )}
      {ids.length > 0 && (
        <div className="two-columns">
          <Select
            label="Definition"
            placeholder="namespace/name"
            data={ids}
            value={name ? `${namespace}/${name}` : null}
            onChange={(id) => id && choose(id)}
            searchable
            nothingFoundMessage="No such definition"
            allowDeselect={false}
          />
          {definition.data && (
            <Select
              label="Version"
              data={definition.data.versions ?? [definition.data.version]}
              value={definition.data.version}
              onChange={(v) => v && choose(`${namespace}/${name}`, v)}
              allowDeselect={false}
            />
          )}
        </div>
      )}
      {definition.isError && <ProblemAlert error={definition.error} onRetry={definition.refetch} />}
      {definition.isLoading && <Skeleton height={240} aria-busy="true" />}
      {definition.data && (
        <>
          <p className="dimmed">
            {definition.data.description && `${definition.data.description} · `}
            {definition.data.steps.length} steps ·{' '}
            <Link href={`/definitions/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`}>
              see the definition
            </Link>
          </p>
          <SubmitForm
            key={`${namespace}/${name}@${definition.data.version}`}
            definition={definition.data}
            wantedVersion={version}
            onSubmitted={(receipt) => go(`/tasks/${receipt.id}`)}
          />
        </>
      )}
    </Page>
  );
}

import { Button, Group, Tabs, TagsInput, Textarea, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useMemo, useRef, useState } from 'react';
import { ApiError, api } from '../../api/client';
import type { Definition, Json, Receipt, Submission } from '../../api/types';
import { CommandBox } from '../../components/CommandBox';
import { Panel } from '../../components/Page';
import { ProblemAlert } from '../../components/Problem';
import { shellQuote } from '../../components/ReasonDialog';
import { parseObject } from '../../schema/parse';
import { SchemaForm } from '../../schema/SchemaForm';
import { fieldOf, initialValue, pointerOfLocation } from '../../schema/schema';
import { type Problems, validate } from '../../schema/validate';

const NO_PROBLEMS: Problems = new Map();

export function SubmitForm({
  definition,
  wantedVersion,
  onSubmitted,
}: {
  definition: Definition;
  wantedVersion: string;
  onSubmitted: (receipt: Receipt) => void;
}) {
  const schema = definition.context_schema;
  const hasForm = useMemo(() => fieldOf(schema, schema ?? {}).kind === 'object', [schema]);
  const [value, setValue] = useState<Json>(() => initialValue(schema, schema ?? {}) ?? {});
  const [text, setText] = useState(() => JSON.stringify(value, null, 2));
  const [tab, setTab] = useState<string | null>(hasForm ? 'form' : 'json');
  const [broken, setBroken] = useState('');
  const [tags, setTags] = useState<string[]>([]);
  const [key, setKey] = useState('');
  const [more, setMore] = useState({ initiator: '', reason: '', correlation: '' });
  const [tried, setTried] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const queries = useQueryClient();

  const submit = useMutation({
    mutationFn: () => {
      const { namespace, name } = definition;
      const body: Submission = { namespace, name, context: value, ...filled({ ...more, key, version: wantedVersion }) };
      if (tags.length > 0) body.tags = tags;
      return api<Receipt>(['tasks'], { method: 'POST', body, headers: key ? { 'Idempotency-Key': key } : {} });
    },
    onSuccess: (receipt) => {
      queries.invalidateQueries({ queryKey: ['tasks'] });
      notifications.show({
        message: receipt.created ? 'The task is stored and on its way.' : 'There was such a task already: here it is.',
        color: receipt.created ? 'teal' : 'yellow',
      });
      onSubmitted(receipt);
    },
  });

  const own = useMemo(() => (tried ? validate(schema, value) : NO_PROBLEMS), [tried, schema, value]);
  const problems = useMemo(() => withServers(own, submit.error), [own, submit.error]);
  const change = (next: Json | undefined) => {
    setValue(next ?? {});
    setText(JSON.stringify(next ?? {}, null, 2));
    setBroken('');
    if (submit.isError) submit.reset();
  };
  const go = () => {
    setTried(true);
    const found = validate(schema, value);
    if (broken || found.size > 0) {
      requestAnimationFrame(() => focusFirstProblem(form.current, found));
      return;
    }
    submit.mutate();
  };
  return (
    <form
      ref={form}
      noValidate
      className="submit-form"
      onSubmit={(e) => {
        e.preventDefault();
        if (!submit.isPending) go();
      }}
    >
      <Panel title="Context">
        <Tabs value={tab} onChange={setTab} keepMounted={false}>
          <Tabs.List mb="sm">
            <Tabs.Tab value="form" disabled={!hasForm}>
              Form
            </Tabs.Tab>
            <Tabs.Tab value="json">JSON</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="form">
            {schema !== undefined && <SchemaForm schema={schema} value={value} onChange={change} problems={problems} />}
          </Tabs.Panel>
          <Tabs.Panel value="json">
            <Textarea
              aria-label="Context as JSON"
              description={schema === undefined ? 'The definition has no schema: any object will do.' : undefined}
              classNames={{ input: 'mono' }}
              value={text}
              error={broken || undefined}
              onChange={(e) => {
                const typed = e.currentTarget.value;
                setText(typed);
                const parsed = parseObject(typed);
                if (typeof parsed === 'string') setBroken(parsed);
                else {
                  setBroken('');
                  setValue(parsed);
                }
                if (submit.isError) submit.reset();
              }}
              autosize
              minRows={8}
              maxRows={30}
              spellCheck={false}
            />
            <AllProblems problems={problems} />
          </Tabs.Panel>
        </Tabs>
      </Panel>
      <Panel title="About this task">
        <TagsInput
          label="Tags"
          description="Enter after each; lists can be filtered by them"
          value={tags}
          onChange={setTags}
          maxTags={50}
        />
        <TextInput
          label="Idempotency key"
          description="The same key gives the same task, however often it is submitted. Empty: as the definition says"
          value={key}
          onChange={(e) => setKey(e.currentTarget.value)}
          rightSectionWidth={92}
          rightSection={
            <Button
              size="compact-xs"
              variant="subtle"
              onClick={() => setKey(crypto.randomUUID?.() ?? `ui-${Date.now()}`)}
            >
              Make one
            </Button>
          }
          maxLength={256}
        />
        <div className="two-columns">
          <TextInput
            label="Initiator"
            value={more.initiator}
            onChange={(e) => setMore({ ...more, initiator: e.currentTarget.value })}
          />
          <TextInput
            label="Correlation"
            value={more.correlation}
            onChange={(e) => setMore({ ...more, correlation: e.currentTarget.value })}
          />
        </div>
        <TextInput
          label="Reason"
          value={more.reason}
          onChange={(e) => setMore({ ...more, reason: e.currentTarget.value })}
        />
      </Panel>
      {submit.isError && <ProblemAlert error={submit.error}>{unknownHint(submit.error, key)}</ProblemAlert>}
      {tried && (own.size > 0 || broken) && (
        <p role="alert" className="field-error">
          {broken
            ? `The JSON editor: ${broken}`
            : `${own.size} ${own.size === 1 ? 'field has' : 'fields have'} to be corrected first.`}
        </p>
      )}
      <Group>
        <Button type="submit" loading={submit.isPending}>
          Submit
        </Button>
      </Group>
      <CommandBox command={commandOf(definition, value, tags, key)} label="the same as a command" />
    </form>
  );
}

const filled = (o: Record<string, string>) => Object.fromEntries(Object.entries(o).filter(([, v]) => v.trim() !== ''));

/** What the page found and what the server said, by field; what belongs to no field is shown with the error itself. */
function withServers(own: Problems, error: unknown): Problems {
  if (!(error instanceof ApiError)) return own;
  const all = new Map(own);
  for (const e of error.errors) {
    const at = pointerOfLocation(e.location);
    if (at !== undefined) all.set(at, [...(all.get(at) ?? []), e.message]);
  }
  return all;
}

function AllProblems({ problems }: { problems: Problems }) {
  if (problems.size === 0) return null;
  return (
    <ul className="field-error">
      {[...problems].slice(0, 20).map(([at, messages]) => (
        <li key={at}>
          <code>{at || '/'}</code> {messages.join('; ')}
        </li>
      ))}
    </ul>
  );
}

function unknownHint(error: unknown, key: string) {
  if (!(error instanceof ApiError) || (error.status !== 0 && error.code !== 'outcome_unknown')) return null;
  return (
    <span className="small">
      {key
        ? 'With this key it is safe to submit again.'
        : 'It may be stored. Look into the list of tasks before you submit it again; with a key that is safe.'}
    </span>
  );
}

function focusFirstProblem(form: HTMLFormElement | null, problems: Problems) {
  const fields = [...(form?.querySelectorAll<HTMLElement>('[data-pointer]') ?? [])];
  for (const at of problems.keys()) {
    const found = fields.find((f) => f.dataset.pointer === at);
    const field = found?.matches('input, textarea')
      ? found
      : found?.querySelector<HTMLElement>('input, textarea, button');
    if (field) {
      field.focus();
      return;
    }
  }
}

function commandOf(d: Definition, value: Json, tags: string[], key: string): string {
  const namespace = d.namespace === 'default' ? [] : ['--namespace', shellQuote(d.namespace)];
  const more = [...tags.map((t) => `--tag ${shellQuote(t)}`), ...(key ? [`--key ${shellQuote(key)}`] : [])];
  return [
    'tasker submit',
    shellQuote(d.name),
    ...namespace,
    '--input',
    shellQuote(JSON.stringify(value)),
    ...more,
  ].join(' ');
}

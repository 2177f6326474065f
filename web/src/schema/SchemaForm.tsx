import './schema.css';
import { Button, Checkbox, Select, Textarea, TextInput } from '@mantine/core';
import { useId, useState } from 'react';
import type { Json, JsonObject } from '../api/types';
import { IconPlus, IconTrash } from '../components/icons';
import { type Field, fieldOf, initialValue, pointer, setAt, typedNumber } from './schema';
import type { Problems } from './validate';

type Path = readonly (string | number)[];

interface FormProps {
  schema: Json;
  value: Json | undefined;
  onChange: (value: Json | undefined) => void;
  problems: Problems;
}

interface FieldProps {
  root: Json;
  schema: Json;
  name: string;
  path: Path;
  value: Json | undefined;
  required: boolean;
  set: (path: Path, value: Json | undefined) => void;
  problems: Problems;
}

/** A form for a value of a JSON schema: a field for everything that a field can show, JSON for the rest. */
export function SchemaForm({ schema, value, onChange, problems }: FormProps) {
  const set = (path: Path, to: Json | undefined) => onChange(setAt(value, path, to));
  return (
    <OneField root={schema} schema={schema} name="" path={[]} value={value} required set={set} problems={problems} />
  );
}

function OneField(props: FieldProps) {
  const f = fieldOf(props.schema, props.root, props.name);
  switch (f.kind) {
    case 'object':
      return <ObjectField {...props} field={f} />;
    case 'list':
      return <ListField {...props} field={f} />;
    case 'boolean':
      return <BooleanField {...props} field={f} />;
    case 'choice':
      return <ChoiceField {...props} field={f} />;
    case 'json':
      return <JsonField {...props} field={f} />;
    case 'text':
    case 'number':
    case 'integer':
      return <TextField {...props} field={f} />;
  }
}

type KnownProps = FieldProps & { field: Field };

/** What every field of Mantine takes. */
function common({ field, path, required, problems }: KnownProps) {
  return {
    label: field.title || 'value',
    description: field.description || undefined,
    error: problems.get(pointer(path))?.join('; '),
    withAsterisk: required,
    'data-pointer': pointer(path),
  };
}

const INPUT_TYPES: Record<string, string> = { email: 'email', uri: 'url', date: 'date', time: 'time' };
const FORMATS: Record<string, string> = {
  'date-time': '2026-01-31T08:00:00Z',
  uuid: '01890a5d-ac96-774b-bcce-b302099a8058',
  duration: 'PT1H30M',
};

function TextField(props: KnownProps) {
  const { field: f, path, value, set } = props;
  const isNumber = f.kind !== 'text';
  const shown =
    value === undefined || value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
  // While somebody writes, "1." stays "1.", although the number is 1.
  const [typed, setTyped] = useState(shown);
  const text = isNumber && typedNumber(typed) === value ? typed : shown;
  const type = (next: string) => {
    setTyped(next);
    set(path, isNumber ? typedNumber(next) : next === '' ? undefined : next);
  };
  const more = { placeholder: f.example || FORMATS[f.format], value: text, spellCheck: false, autoComplete: 'off' };
  if (f.multiline)
    return (
      <Textarea
        {...common(props)}
        {...more}
        autosize
        minRows={2}
        maxRows={10}
        onChange={(e) => type(e.currentTarget.value)}
      />
    );
  return (
    <TextInput
      {...common(props)}
      {...more}
      type={(!isNumber && INPUT_TYPES[f.format]) || 'text'}
      inputMode={f.kind === 'integer' ? 'numeric' : isNumber ? 'decimal' : undefined}
      onChange={(e) => type(e.currentTarget.value)}
    />
  );
}

function BooleanField(props: KnownProps) {
  const { field: f, path, value, required, set } = props;
  if (required || f.default !== undefined) {
    const { withAsterisk: _, ...rest } = common(props);
    return <Checkbox {...rest} checked={value === true} onChange={(e) => set(path, e.currentTarget.checked)} />;
  }
  return (
    <Select
      {...common(props)}
      data={['true', 'false']}
      placeholder="not set"
      value={typeof value === 'boolean' ? String(value) : null}
      onChange={(v) => set(path, v === null ? undefined : v === 'true')}
      clearable
    />
  );
}

function ChoiceField(props: KnownProps) {
  const { field: f, path, value, required, set } = props;
  const data = f.choices.map((c) => ({
    value: JSON.stringify(c),
    label: typeof c === 'string' ? c : JSON.stringify(c),
  }));
  return (
    <Select
      {...common(props)}
      data={data}
      placeholder={required ? 'choose' : 'not set'}
      value={value === undefined ? null : JSON.stringify(value)}
      onChange={(v) => set(path, v === null ? undefined : (JSON.parse(v) as Json))}
      clearable={!required}
      searchable={data.length > 10}
    />
  );
}

function Errors({ at, problems, id }: { at: Path; problems: Problems; id?: string }) {
  const found = problems.get(pointer(at));
  if (!found) return null;
  return (
    <p className="field-error" id={id}>
      {found.join('; ')}
    </p>
  );
}

function ObjectField(props: KnownProps) {
  const { field: f, root, path, value, required, set, problems } = props;
  const top = path.length === 0;
  const is = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!is && !required && !top) {
    return <Adder {...props} title={f.title} onAdd={() => set(path, initialValue(props.schema, root, true) ?? {})} />;
  }
  const fields = f.properties.map(([name, schema]) => (
    <OneField
      key={name}
      root={root}
      schema={schema}
      name={name}
      path={[...path, name]}
      value={is ? (value as JsonObject)[name] : undefined}
      required={f.required.includes(name)}
      set={set}
      problems={problems}
    />
  ));
  if (top) {
    return (
      <div className="schema-fields">
        <Errors at={path} problems={problems} />
        {fields.length > 0 ? (
          fields
        ) : (
          <p className="dimmed">The schema names no fields; use the JSON editor if there is something to say.</p>
        )}
      </div>
    );
  }
  return (
    <fieldset className="schema-group">
      <legend>
        {f.title}
        {required && <span className="field-error"> *</span>}
      </legend>
      {f.description && <p className="dimmed small">{f.description}</p>}
      <Errors at={path} problems={problems} />
      <div className="schema-fields">{fields}</div>
      {!required && (
        <Button
          size="compact-xs"
          variant="subtle"
          color="red"
          leftSection={<IconTrash size={12} />}
          onClick={() => set(path, undefined)}
        >
          Leave out {f.title}
        </Button>
      )}
    </fieldset>
  );
}

function Adder({ path, problems, title, onAdd }: KnownProps & { title: string; onAdd: () => void }) {
  return (
    <div data-pointer={pointer(path)}>
      <Button size="compact-sm" variant="default" leftSection={<IconPlus size={12} />} onClick={onAdd}>
        {title}
      </Button>
      <Errors at={path} problems={problems} />
    </div>
  );
}

function ListField(props: KnownProps) {
  const { field: f, root, path, value, required, set, problems } = props;
  const list = Array.isArray(value) ? value : [];
  // Items have no names of their own: a key that stays with an item when one above it goes.
  const [keys, setKeys] = useState<number[]>([]);
  const next = keys.length > 0 ? Math.max(...keys) + 1 : 0;
  const known = [...keys.slice(0, list.length), ...list.slice(keys.length).map((_, i) => next + i)];
  const remove = (i: number) => {
    setKeys(known.filter((_, k) => k !== i));
    const rest = list.filter((_, k) => k !== i);
    set(path, rest.length === 0 && !required ? undefined : rest);
  };
  return (
    <fieldset className="schema-group" data-pointer={pointer(path)}>
      <legend>
        {f.title}
        {required && <span className="field-error"> *</span>}
      </legend>
      {f.description && <p className="dimmed small">{f.description}</p>}
      <Errors at={path} problems={problems} />
      {list.map((item, i) => (
        <div key={known[i]} className="schema-item">
          <div className="schema-item-field">
            <OneField
              root={root}
              schema={f.items}
              name={`${i + 1}`}
              path={[...path, i]}
              value={item ?? undefined}
              required
              set={set}
              problems={problems}
            />
          </div>
          <Button
            size="compact-sm"
            variant="subtle"
            color="red"
            aria-label={`Remove item ${i + 1} of ${f.title}`}
            disabled={list.length <= f.minItems}
            onClick={() => remove(i)}
          >
            <IconTrash size={14} />
          </Button>
        </div>
      ))}
      <Button
        size="compact-sm"
        variant="default"
        leftSection={<IconPlus size={12} />}
        disabled={list.length >= f.maxItems}
        onClick={() => {
          setKeys([...known, known.length > 0 ? Math.max(...known) + 1 : 0]);
          set([...path, list.length], initialValue(f.items, root, true) ?? null);
        }}
      >
        Add
      </Button>
    </fieldset>
  );
}

/** For what no field can show: any JSON, which is a part of the value as soon as it is JSON. */
function JsonField(props: KnownProps) {
  const { path, value, set } = props;
  const id = useId();
  const [typed, setTyped] = useState(value === undefined ? '' : JSON.stringify(value, null, 2));
  const [broken, setBroken] = useState('');
  const rest = common(props);
  return (
    <Textarea
      {...rest}
      id={id}
      error={broken || rest.error}
      description={rest.description ?? 'JSON'}
      classNames={{ input: 'mono' }}
      value={typed}
      autosize
      minRows={2}
      maxRows={14}
      spellCheck={false}
      onChange={(e) => {
        const text = e.currentTarget.value;
        setTyped(text);
        if (text.trim() === '') {
          setBroken('');
          set(path, undefined);
          return;
        }
        try {
          set(path, JSON.parse(text) as Json);
          setBroken('');
        } catch {
          setBroken('is no JSON yet: what was there before counts');
        }
      }}
    />
  );
}

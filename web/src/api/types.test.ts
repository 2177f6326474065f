// The wire types are written by hand, for their comments and their unions: here they are held against the OpenAPI document, field by
// field, so that they cannot drift from what the server says.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

interface SchemaObject {
  properties?: Record<string, { type?: string | string[] }>;
  required?: string[];
}
const read = (path: string) => readFileSync(join(import.meta.dirname, path), 'utf8');
const { schemas } = JSON.parse(read('../../../httpapi/openapi.json')).components as {
  schemas: Record<string, SchemaObject>;
};

/** The fields of every interface of types.ts, as they are written: name, optional, type. */
function interfaces(source: string): Map<string, { key: string; optional: boolean; type: string }[]> {
  const found = new Map<string, { key: string; optional: boolean; type: string }[]>();
  for (const [, name = '', , body = ''] of source.matchAll(/export interface (\w+)( extends [^{]+)? \{\n(.*?)\n\}/gs)) {
    const fields = [...body.matchAll(/^ {2}(\w+)(\??): ([^{]*?(?:\{.*?\n? *\}[^;\n]*|[^{;\n]*));?$/gms)];
    found.set(
      name,
      fields.map(([, key = '', optional, type = '']) => ({ key, optional: optional === '?', type })),
    );
  }
  return found;
}

const NAMES: Record<string, string> = {
  StepDetail: 'StepDetails',
  Stuck: 'StuckPage',
  DefinitionSummary: 'DefinitionRow',
  DefinitionStep: 'StepTemplate',
  Definition: 'DefinitionDetails',
  Submission: 'SubmissionBody',
  DeadLetter: 'Letter',
  DeadLetters: 'Letters',
  Subscriber: 'SubscriberRow',
  PartitionStatus: 'PartitionState',
  HandlerStatus: 'HandlerSlots',
  EngineStatus: 'EngineState',
  IndexStatus: 'IndexState',
  LiveEvent: 'EventData',
};
/** Lists that the schema calls nullable, as every slice of Go is, and that are never empty or are made by the server itself. */
const NEVER_NULL = [
  'Me.scopes', // a caller without any is refused
  'TaskPage.tasks', // useTaskList.ts takes care
  'StepLog.lines', // an event without lines is not stored
  'History.events', // a task begins with one
  'History.executions', // made by the fold of the history
  'Definition.steps', // a definition without steps is refused
  'Status.partitions', // there is one at least
];
/** Fields that are left out of other things of the same type. */
const ALWAYS = [
  'Explanation.task', // left out of what is about the index; pages ask about tasks
];
/** Fields that the engine's status has and the API passes on with its next change. */
const AWAITED = ['PartitionStatus.stored', 'Status.usage'];
const all = interfaces(read('./types.ts') + read('./systemTypes.ts'));

describe('the fields of a wire type', () => {
  it.each([...all.keys()])('%s are those of the server', (name) => {
    const schema = schemas[NAMES[name] ?? name];
    expect(schema, `httpapi/openapi.json has no ${NAMES[name] ?? name}`).toBeDefined();
    const properties = schema?.properties ?? {};
    for (const field of all.get(name) ?? []) {
      const where = `${name}.${field.key}`;
      const property = properties[field.key];
      if (property === undefined && AWAITED.includes(where)) continue;
      expect(property, `${where}: the server has no such field`).toBeDefined();
      if (!schema?.required?.includes(field.key) && !ALWAYS.includes(where))
        expect(field.optional, `${where}: the server may leave it out`).toBe(true);
      const isNull = !NEVER_NULL.includes(where) && Array.isArray(property?.type) && property.type.includes('null');
      if (isNull && !field.optional) expect(field.type, `${where}: the server may say null`).toContain('null');
    }
  });

  it('are all looked at', () => {
    expect(all.size).toBeGreaterThan(35);
    expect(all.get('Lag')?.map((f) => `${f.key}${f.optional ? '?' : ''}`)).toEqual([
      'covered',
      'commits',
      'behind_ns?',
    ]);
    expect(all.get('EngineStatus')?.map((f) => f.key)).toEqual(['name', 'version', 'executor', 'handlers']);
  });
});

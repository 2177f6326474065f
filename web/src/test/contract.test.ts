// The pages are tested on the mock: here its answers are held against what the server says that it answers.

import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Schema, Validator } from '@cfworker/json-schema';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error the mock is JavaScript
import { mockServer } from '../../mock/server.mjs';

interface Operation {
  responses: Record<string, { content?: Record<string, { schema?: object }> }>;
}
const document = JSON.parse(readFileSync(join(import.meta.dirname, '../../../httpapi/openapi.json'), 'utf8')) as {
  paths: Record<string, Record<string, Operation>>;
  components: object;
};

let server: Server;
let base = '';
let task = '';
beforeAll(async () => {
  ({ server } = mockServer({ rate: 0, start: Date.now() }) as { server: Server });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  task = (await (await fetch(`${base}/api/v1/tasks?state=error&limit=1`)).json()).tasks[0].id;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** What is wrong with an answer: for the status that came, in the schema of the operation. */
async function problems(method: string, template: string, path: string, body?: unknown): Promise<string[]> {
  const operation = document.paths[template]?.[method.toLowerCase()];
  if (!operation) return [`the server has no ${method} ${template}`];
  const answer = await fetch(base + path, {
    method,
    headers: { 'Content-Type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const want = operation.responses[answer.status] ?? (answer.ok ? undefined : operation.responses.default);
  if (!want) return [`${answer.status} is no answer of ${method} ${template}`];
  const schema = Object.values(want.content ?? {})[0]?.schema;
  if (!schema) return (await answer.text()) === '' ? [] : ['it has a body'];
  const validator = new Validator({ ...schema, components: document.components } as Schema, '2020-12', false);
  const { errors } = validator.validate(await answer.json());
  return errors
    .filter((e) => !['properties', '$ref', 'items'].includes(e.keyword))
    .map((e) => `${e.instanceLocation}: ${e.error}`)
    .slice(0, 10);
}

const OF_TASK = '/api/v1/tasks/{id}';
const OF_STEP = '/api/v1/tasks/{id}/steps/{step}';

describe('the mock answers as the server says that it answers', () => {
  it.each([
    ['/api/v1/me', ''],
    ['/api/v1/definitions', ''],
    ['/api/v1/definitions/{namespace}/{name}', '/api/v1/definitions/shop/process_order'],
    ['/api/v1/tasks', '/api/v1/tasks?limit=500'],
    ['/api/v1/tasks/count', ''],
    ['/api/v1/stuck', ''],
    ['/api/v1/steps', ''],
    ['/api/v1/dead-letters', ''],
    ['/api/v1/dead-letters/{sequence}', '/api/v1/dead-letters/19'],
    ['/api/v1/subscribers', ''],
    ['/api/v1/analytics', ''],
    ['/api/v1/status', ''],
    ['/api/v1/index', ''],
    ['/api/v1/definitions/{namespace}/{name}', '/api/v1/definitions/shop/none'],
  ])('GET %s %s', async (template, path) => {
    expect(await problems('GET', template, path || template)).toEqual([]);
  });

  it.each([
    [OF_TASK, ''],
    [`${OF_TASK}/history`, '/history'],
    [`${OF_TASK}/explain`, '/explain'],
    [`${OF_TASK}/steps`, '/steps'],
    [`${OF_TASK}/wait`, '/wait'],
    [OF_STEP, '/steps/pay_back'],
    [`${OF_STEP}/explain`, '/steps/pay_back/explain'],
  ])('GET %s', async (template, path) => {
    expect(await problems('GET', template, `/api/v1/tasks/${task}${path}`)).toEqual([]);
  });

  it('POST of tasks and verbs', async () => {
    const submission = { namespace: 'shop', name: 'refund', context: { payment: 'x', amount: 1 } };
    expect(await problems('POST', '/api/v1/tasks', '/api/v1/tasks', submission)).toEqual([]);
    expect(await problems('POST', '/api/v1/tasks', '/api/v1/tasks', { ...submission, context: {} })).toEqual([]);
    expect(
      await problems('POST', `${OF_STEP}/retry`, `/api/v1/tasks/${task}/steps/pay_back/retry`, { reason: 'x' }),
    ).toEqual([]);
    expect(await problems('POST', `${OF_TASK}/resume`, `/api/v1/tasks/${task}/resume`, {})).toEqual([]); // refused
    expect(
      await problems('POST', '/api/v1/dead-letters/{sequence}/requeue', '/api/v1/dead-letters/12/requeue', {}),
    ).toEqual([]);
    expect(await problems('DELETE', '/api/v1/dead-letters/{sequence}', '/api/v1/dead-letters/15')).toEqual([]);
  });
});

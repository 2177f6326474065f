// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  ApiError,
  address,
  api,
  problem,
  requestHeaders,
  retryDelay,
  retryRead,
  setToken,
  unauthorized,
} from './client';
import { connection, noteSuccess } from './connection';

const answer = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  vi.fn(
    async (..._: Parameters<typeof fetch>) =>
      new Response(status === 204 ? null : typeof body === 'string' ? body : JSON.stringify(body), { status, headers }),
  );

const failed = async (promise: Promise<unknown>): Promise<ApiError> => {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
};

beforeEach(() => {
  setToken('');
  noteSuccess();
});
afterEach(() => vi.unstubAllGlobals());

describe('an address', () => {
  it('escapes every piece of the path, repeats lists and leaves out what is empty', () => {
    expect(
      address(['tasks', 'a/b?c', 'steps'], {
        state: ['error', 'pending'],
        text: 'a b&c',
        name: '',
        limit: 0,
        paused: false,
        at: undefined,
      }),
    ).toBe('/api/v1/tasks/a%2Fb%3Fc/steps?state=error&state=pending&text=a+b%26c&limit=0&paused=false');
  });
});

describe('the headers of a request', () => {
  it('have the token, and say of a change that no form of another page made it', () => {
    setToken('secret');
    const h = requestHeaders('POST', true);
    expect([h.get('Authorization'), h.get('Content-Type'), h.get('Tasker-Request')]).toEqual([
      'Bearer secret',
      'application/json',
      '1',
    ]);
  });

  it('have no token when there is none, and a read says nothing of changes', () => {
    const h = requestHeaders('GET', false);
    expect([h.get('Authorization'), h.get('Content-Type'), h.get('Tasker-Request')]).toEqual([null, null, null]);
  });
});

describe('an answer', () => {
  it('is its JSON; without a body it is undefined', async () => {
    vi.stubGlobal('fetch', answer(200, { a: 1 }));
    expect(await api(['x'])).toEqual({ a: 1 });
    vi.stubGlobal('fetch', answer(204, ''));
    expect(await api(['x'], { method: 'DELETE' })).toBeUndefined();
  });

  it('that is no JSON is an error that says who may have answered', async () => {
    vi.stubGlobal('fetch', answer(200, '<html>'));
    const e = await failed(api(['x']));
    expect([e.code, e.temporary]).toEqual(['unreadable', false]);
    expect(e.hint).toContain('proxy');
  });

  it('with a problem gives its code, detail, hint and fields', async () => {
    const body = {
      status: 422,
      code: 'invalid_input',
      title: 'Invalid',
      detail: 'no such order',
      hint: 'correct it',
      id: 'r-7',
      errors: [{ location: 'body.context/order', message: 'is required' }, 7],
    };
    vi.stubGlobal('fetch', answer(422, body, { 'Content-Type': 'application/problem+json' }));
    const e = await failed(api(['tasks'], { method: 'POST', body: {} }));
    expect([e.status, e.code, e.message, e.hint, e.id]).toEqual([
      422,
      'invalid_input',
      'no such order',
      'correct it',
      'r-7',
    ]);
    expect(e.errors).toEqual([{ location: 'body.context/order', message: 'is required' }]);
  });

  it.each([
    ['text', 'text/plain', 'oops'],
    ['broken JSON', 'application/problem+json', '{"detail":'],
    ['JSON that is no object', 'application/json', '"oops"'],
    ['fields of other types', 'application/json', '{"detail":7,"errors":{},"code":null}'],
  ])('with %s in the place of a problem still says something', (_, type, text) => {
    const e = problem(500, new Headers({ 'Content-Type': type }), text);
    expect([e.code, e.message, e.errors]).toEqual(['http_500', 'The server answered 500 and did not say why.', []]);
  });

  it('401 tells who listens', async () => {
    const heard = vi.fn();
    unauthorized.addEventListener('unauthorized', heard, { once: true });
    vi.stubGlobal('fetch', answer(401, {}));
    await failed(api(['me']));
    expect(heard).toHaveBeenCalledOnce();
  });
});

describe('a server that does not answer', () => {
  it('is an error that says so, and the banner knows until it answers again', async () => {
    vi.stubGlobal('fetch', vi.fn().mockRejectedValue(new TypeError('Failed to fetch')));
    const e = await failed(api(['me']));
    expect([e.status, e.code]).toEqual([0, 'unreachable']);
    expect(connection().error).toBe(e);
    const { since } = connection();
    await failed(api(['me']));
    expect(connection().since).toBe(since); // of the first failure
    vi.stubGlobal('fetch', answer(404, {}));
    await failed(api(['me']));
    expect(connection().error).toBeUndefined(); // 404 is an answer
  });

  it('says of a change that its outcome is not known', async () => {
    vi.stubGlobal('fetch', vi.fn().mockRejectedValue(new TypeError('Failed to fetch')));
    expect((await failed(api(['tasks'], { method: 'POST', body: {} }))).message).toContain('not known');
    expect((await failed(api(['tasks']))).message).not.toContain('not known');
  });

  it('behind a proxy counts as gone', async () => {
    vi.stubGlobal('fetch', answer(502, 'bad gateway'));
    await failed(api(['me']));
    expect(connection().error?.status).toBe(502);
  });

  it('is given up after the time limit', async () => {
    vi.stubGlobal(
      'fetch',
      (_: string, init: RequestInit) =>
        new Promise((_resolve, reject) => init.signal?.addEventListener('abort', () => reject(init.signal?.reason))),
    );
    expect((await failed(api(['me'], { timeout: 1 }))).code).toBe('timeout');
  });

  it('is no error of the server when the page itself gave up', async () => {
    const abort = new AbortController();
    vi.stubGlobal(
      'fetch',
      (_: string, init: RequestInit) =>
        new Promise((_resolve, reject) => init.signal?.addEventListener('abort', () => reject(init.signal?.reason))),
    );
    const asked = api(['me'], { signal: abort.signal });
    abort.abort();
    await expect(asked).rejects.not.toBeInstanceOf(ApiError);
    expect(connection().error).toBeUndefined();
  });
});

describe('a read is tried again', () => {
  const of = (status: number, code = 'x', retryAfter?: number) =>
    new ApiError({ status, code, detail: '', retryAfter });
  it.each([
    [503, true],
    [429, true],
    [504, true],
    [404, false],
    [400, false],
    [401, false],
    [500, false],
    [0, false], // the banner tries by itself
  ])('after %i: %j', (status, again) => {
    expect(retryRead(0, of(status))).toBe(again);
  });

  it('when the index was behind, but three times at most', () => {
    expect(retryRead(2, of(409, 'behind'))).toBe(true);
    expect(retryRead(3, of(409, 'behind'))).toBe(false);
    expect(retryRead(0, of(409, 'refused'))).toBe(false);
    expect(retryRead(0, new Error('a fault of ours'))).toBe(false);
  });

  it('later and later, or when the server says, but in ten seconds at most', () => {
    expect([0, 1, 2].map((n) => retryDelay(n, of(503)))).toEqual([500, 1000, 2000]);
    expect(retryDelay(0, of(503, 'x', 3000))).toBe(3000);
    expect(retryDelay(0, of(503, 'x', 60_000))).toBe(10_000);
    expect(problem(503, new Headers({ 'Retry-After': '3' }), '').retryAfter).toBe(3000);
    expect(
      problem(503, new Headers({ 'Retry-After': 'Wed, 21 Oct 2015 07:28:00 GMT' }), '').retryAfter,
    ).toBeUndefined();
  });
});

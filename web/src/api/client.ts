// The way to the server: one function for every request, one kind of error, one place for the token.

import { noteFailure, noteSuccess } from './connection';

const TOKEN = 'tasker.token';

export function token(): string {
  try {
    return sessionStorage.getItem(TOKEN) ?? '';
  } catch {
    return ''; // storage is forbidden: then the token lasts as long as nobody needs it
  }
}

export function setToken(value: string): void {
  try {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // as above
  }
}

/** Heard when the server says 401: whoever listens asks for a token. */
export const unauthorized = new EventTarget();

export interface FieldProblem {
  location?: string;
  message: string;
  value?: unknown;
}

/** Every failed request ends in one. The texts are for people: what and why, and what to do about it. */
export class ApiError extends Error {
  /** of HTTP; 0 when there was no answer */
  readonly status: number;
  /** the stable snake_case constant of the server; ours: unreachable, timeout, unreadable */
  readonly code: string;
  readonly title: string;
  readonly hint: string;
  readonly errors: FieldProblem[];
  /** under which the server has logged it; "" when it is no fault of the server */
  readonly id: string;
  /** when the server says how long to wait, in milliseconds */
  readonly retryAfter: number | undefined;

  constructor(problem: {
    status: number;
    code: string;
    title?: string;
    detail: string;
    hint?: string;
    errors?: FieldProblem[];
    id?: string;
    retryAfter?: number;
  }) {
    super(problem.detail);
    this.name = 'ApiError';
    this.status = problem.status;
    this.code = problem.code;
    this.title = problem.title ?? '';
    this.hint = problem.hint ?? '';
    this.errors = problem.errors ?? [];
    this.id = problem.id ?? '';
    this.retryAfter = problem.retryAfter;
  }

  /** The same request may do better in a moment. */
  get temporary(): boolean {
    return this.status === 0 || [408, 425, 429, 502, 503, 504].includes(this.status) || this.code === 'behind';
  }
}

export type QueryValue = string | number | boolean | undefined | null | readonly string[];

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  query?: Record<string, QueryValue>;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Milliseconds until the request is given up; default 30,000. */
  timeout?: number;
}

export const API = '/api/v1';

/** Builds the address of an operation: every piece of the path is escaped, a list becomes repeated parameters. */
export function address(path: readonly string[], query: Record<string, QueryValue> = {}): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === '') continue;
    for (const one of Array.isArray(value) ? value : [value]) params.append(key, String(one));
  }
  const text = params.toString();
  return `${API}/${path.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

/** The headers of every request; what changes something says that it does not come from a form of another page. */
export function requestHeaders(method: string, withBody: boolean, more: Record<string, string> = {}): Headers {
  const h = new Headers({ Accept: 'application/json', ...more });
  if (withBody) h.set('Content-Type', 'application/json');
  if (method !== 'GET') h.set('Tasker-Request', '1');
  const t = token();
  if (t) h.set('Authorization', `Bearer ${t}`);
  return h;
}

export async function api<T>(path: readonly string[], options: RequestOptions = {}): Promise<T> {
  const { method = 'GET', body, signal, timeout = 30_000 } = options;
  const limit = AbortSignal.timeout(timeout);
  let response: Response;
  let text: string;
  try {
    response = await fetch(address(path, options.query), {
      method,
      headers: requestHeaders(method, body !== undefined, options.headers),
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      credentials: 'omit',
      cache: 'no-store',
    });
    text = await response.text();
  } catch (cause) {
    if (signal?.aborted) throw cause;
    const error = noAnswer(limit.aborted, timeout, method);
    noteFailure(error);
    throw error;
  }
  if (response.status !== 502 && response.status !== 504) noteSuccess(); // these are a proxy's, which cannot reach it either
  if (!response.ok) {
    const error = problem(response.status, response.headers, text);
    if (error.status === 502 || error.status === 504) noteFailure(error);
    if (error.status === 401) unauthorized.dispatchEvent(new Event('unauthorized'));
    throw error;
  }
  if (text === '') return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError({
      status: response.status,
      code: 'unreadable',
      detail: 'The answer is no JSON: something between this page and Tasker answers in its place.',
      hint: 'Look at the address in the browser, and at the proxy if there is one.',
    });
  }
}

function noAnswer(timedOut: boolean, timeout: number, method: string): ApiError {
  const outcome = method === 'GET' ? '' : ' Whether it was done is not known: look before you do it again.';
  return timedOut
    ? new ApiError({
        status: 0,
        code: 'timeout',
        detail: `The server did not answer within ${timeout / 1000} s.${outcome}`,
        hint: 'It is busy or the network is slow. Try again in a moment.',
      })
    : new ApiError({
        status: 0,
        code: 'unreachable',
        detail: `The server cannot be reached.${outcome}`,
        hint: 'Check that "tasker serve" is running and that the network is up.',
      });
}

/** Reads an application/problem+json answer, and makes the best of any other. */
export function problem(status: number, headers: Headers, text: string): ApiError {
  let body: Record<string, unknown> = {};
  if (/json/.test(headers.get('Content-Type') ?? '')) {
    try {
      const parsed: unknown = JSON.parse(text);
      if (parsed && typeof parsed === 'object') body = parsed as Record<string, unknown>;
    } catch {
      // what it says is not to be had
    }
  }
  const string = (key: string) => (typeof body[key] === 'string' ? (body[key] as string) : '');
  const seconds = Number(headers.get('Retry-After') ?? 'x');
  return new ApiError({
    status,
    code: string('code') || `http_${status}`,
    title: string('title'),
    detail: string('detail') || string('title') || fallback(status),
    hint: string('hint'),
    id: string('id'),
    errors: Array.isArray(body.errors) ? body.errors.filter(isFieldProblem) : [],
    retryAfter: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined,
  });
}

function isFieldProblem(x: unknown): x is FieldProblem {
  return typeof x === 'object' && x !== null && typeof (x as FieldProblem).message === 'string';
}

function fallback(status: number): string {
  switch (status) {
    case 401:
      return 'The server wants to know who you are.';
    case 403:
      return 'Your token may not do this.';
    case 404:
      return 'There is no such thing here.';
    default:
      return `The server answered ${status} and did not say why.`;
  }
}

/** How often a read is tried again, for the query client: what may do better in a moment, three times. */
export function retryRead(failures: number, error: unknown): boolean {
  return error instanceof ApiError && error.temporary && error.status !== 0 && failures < 3;
}

/** Milliseconds before try number failures + 1: what the server asks for, else 0.5 s, 1 s, 2 s. */
export function retryDelay(failures: number, error: unknown): number {
  const asked = error instanceof ApiError ? error.retryAfter : undefined;
  return Math.min(asked ?? 500 * 2 ** failures, 10_000);
}

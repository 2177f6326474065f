// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventStream, type StreamOptions, type StreamState } from './events';
import { SseParser } from './sse';
import type { LiveEvent } from './types';

describe('the parser of a stream', () => {
  const text =
    'id: c:00=1\nevent: task.created\ndata: {"a":1}\n\n: beat\n\nid: c:00=2\r\ndata: one\r\ndata: two\r\n\r\ndata:no blank\n\n';
  const want = [
    { id: 'c:00=1', event: 'task.created', data: '{"a":1}' },
    { id: 'c:00=2', event: 'message', data: 'one\ntwo' },
    { id: 'c:00=2', event: 'message', data: 'no blank' },
  ];

  it('gives the same however the text is cut', () => {
    for (let size = 1; size <= text.length; size++) {
      const parser = new SseParser();
      const got = [];
      for (let at = 0; at < text.length; at += size) got.push(...parser.feed(text.slice(at, at + size)));
      expect(got).toEqual(want);
    }
  });

  it('does not give what is not whole, nor an id with NUL, nor an event without data', () => {
    expect(new SseParser().feed('id: a\0b\nevent: x\n\ndata: y\n\ndata: not yet')).toEqual([
      { id: '', event: 'message', data: 'y' },
    ]);
  });

  it('hears how long to wait', () => {
    const parser = new SseParser();
    parser.feed('retry: 3000\nretry: soon\n');
    expect(parser.retry).toBe(3000);
  });
});

/** A server whose streams the test holds in its hands. */
class Streams {
  calls: { lastId: string | null; controller: ReadableStreamDefaultController<Uint8Array>; signal: AbortSignal }[] = [];
  refuse: Response | undefined;

  fetch = async (_: string, init: RequestInit) => {
    if (this.refuse) return this.refuse.clone();
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start(c) {
        controller = c;
      },
    });
    const signal = init.signal as AbortSignal;
    signal.addEventListener('abort', () => {
      try {
        controller.error(signal.reason);
      } catch {
        // it is closed
      }
    });
    this.calls.push({ lastId: new Headers(init.headers).get('Last-Event-ID'), controller, signal });
    return new Response(body);
  };

  send(id: number) {
    const data = JSON.stringify({ id: `00-${id}-0`, type: 'task.created', at: '2026-01-01T00:00:00Z' });
    this.calls.at(-1)?.controller.enqueue(new TextEncoder().encode(`id: c:00=${id}\ndata: ${data}\n\n`));
  }

  end() {
    this.calls.at(-1)?.controller.close();
  }
}

describe('a stream of events', () => {
  let server: Streams;
  let got: LiveEvent[][];
  let dropped: number;
  let states: StreamState[];
  let gaps: number;
  let stream: EventStream;

  const open = (more: Partial<StreamOptions> = {}) => {
    stream = new EventStream({
      query: { type: ['task.*'] },
      onEvents: (events, lost) => {
        got.push(events);
        dropped += lost;
      },
      onState: (s) => states.push(s),
      onGap: () => gaps++,
      interval: 400,
      ...more,
    });
    stream.open();
  };
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
  const hide = (hidden: boolean) => {
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(hidden);
    document.dispatchEvent(new Event('visibilitychange'));
  };

  beforeEach(() => {
    vi.useFakeTimers();
    server = new Streams();
    vi.stubGlobal('fetch', vi.fn(server.fetch));
    [got, states, dropped, gaps] = [[], [], 0, 0];
  });
  afterEach(() => {
    stream.close();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it('gives many events at once, at most once in the interval', async () => {
    open();
    await pass(0);
    for (let i = 1; i <= 50; i++) server.send(i);
    await pass(0);
    expect(got).toEqual([]);
    await pass(400);
    expect(got.map((g) => g.length)).toEqual([50]);
    server.send(51);
    await pass(399);
    expect(got).toHaveLength(1);
    await pass(1);
    expect(got.map((g) => g.length)).toEqual([50, 1]);
  });

  it('goes on after the last event when the server ends it', async () => {
    open();
    await pass(0);
    expect(server.calls[0]?.lastId).toBeNull();
    server.send(1);
    server.send(2);
    await pass(0);
    server.end();
    await pass(1_000);
    expect(server.calls).toHaveLength(2);
    expect(server.calls[1]?.lastId).toBe('c:00=2');
    server.send(3);
    await pass(400);
    expect(got.flat().map((e) => e.id)).toEqual(['00-1-0', '00-2-0', '00-3-0']);
  });

  it('waits longer after every failure, and briefly again after an event', async () => {
    open();
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      await pass(0);
      server.end();
      await pass(0);
      const before = server.calls.length;
      let waited = 0;
      while (server.calls.length === before && waited < 20_000) {
        await pass(50);
        waited += 50;
      }
      waits.push(waited);
    }
    expect(waits[0]).toBeLessThanOrEqual(500);
    expect(waits[3]).toBeGreaterThan(1_900);
    expect(Math.max(...waits)).toBeLessThanOrEqual(15_050);
    server.send(1);
    await pass(0);
    server.end();
    await pass(550);
    expect(stream.state).toBe('live');
  });

  it('ends a stream that is silent for too long and opens another', async () => {
    open({ silence: 40_000 });
    await pass(39_000);
    expect(server.calls).toHaveLength(1);
    await pass(2_000);
    expect(server.calls).toHaveLength(2);
    expect(server.calls[0]?.signal.aborted).toBe(true);
  });

  it('lives on heartbeats alone', async () => {
    open({ silence: 40_000 });
    for (let i = 0; i < 10; i++) {
      await pass(15_000);
      server.calls.at(-1)?.controller.enqueue(new TextEncoder().encode(': beat\n\n'));
    }
    expect(server.calls).toHaveLength(1);
    expect(stream.state).toBe('live');
    expect(got).toEqual([]);
  });

  it('rests while the page is hidden, goes on after the last event, and says that there is a gap', async () => {
    open();
    await pass(0);
    server.send(1);
    await pass(400);
    hide(true);
    expect(stream.state).toBe('paused');
    expect(server.calls[0]?.signal.aborted).toBe(true);
    await pass(60_000);
    expect(server.calls).toHaveLength(1);
    hide(false);
    await pass(0);
    expect(server.calls[1]?.lastId).toBe('c:00=1');
    expect(gaps).toBe(1);
  });

  it('keeps so many events and counts the rest', async () => {
    open({ keep: 10 });
    await pass(0);
    for (let i = 1; i <= 35; i++) server.send(i);
    await pass(400);
    expect(got[0]?.map((e) => e.id)).toEqual(Array.from({ length: 10 }, (_, i) => `00-${26 + i}-0`));
    expect(dropped).toBe(25);
  });

  it('does not ask again what is refused for good', async () => {
    server.refuse = new Response('{"code":"forbidden"}', {
      status: 403,
      headers: { 'Content-Type': 'application/json' },
    });
    open();
    await pass(60_000);
    expect(stream.state).toBe('refused');
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it('asks again where there were too many streams', async () => {
    server.refuse = new Response('{"code":"too_many_streams"}', {
      status: 429,
      headers: { 'Content-Type': 'application/json' },
    });
    open();
    await pass(1_000);
    server.refuse = undefined;
    await pass(5_000);
    expect(stream.state).toBe('live');
  });

  it('begins at now when its position is gone, and says that there is a gap', async () => {
    open();
    await pass(0);
    server.send(1);
    await pass(0);
    server.end();
    server.refuse = new Response('{"code":"trimmed"}', {
      status: 410,
      headers: { 'Content-Type': 'application/json' },
    });
    await pass(600);
    server.refuse = undefined;
    await pass(3_000);
    expect(gaps).toBe(1);
    expect(server.calls.at(-1)?.lastId).toBeNull();
  });

  it('passes over what it cannot read, and what the server says when it ends a stream', async () => {
    open();
    await pass(0);
    server.calls[0]?.controller.enqueue(
      new TextEncoder().encode(
        'data: {broken\n\ndata: 7\n\ndata: {"x":1}\n\nevent: error\ndata: {"type":"about:blank","code":"slow_client"}\n\n',
      ),
    );
    server.send(1);
    await pass(400);
    expect(got.flat()).toHaveLength(1);
  });

  it('gives nothing after it was closed, and asks for nothing', async () => {
    open();
    await pass(0);
    server.send(1);
    await pass(0);
    stream.close();
    hide(true);
    hide(false);
    await pass(60_000);
    expect([got, server.calls.length, stream.state]).toEqual([[], 1, 'closed']);
  });
});

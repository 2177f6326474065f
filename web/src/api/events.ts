// Live events: a stream over fetch, which unlike EventSource sends the token as a header. It goes on where it ended (Last-Event-ID),
// waits longer after every failure, ends a stream that is silent for too long, and rests while the page is not seen.

import { address, problem, type QueryValue, requestHeaders } from './client';
import { noteSuccess } from './connection';
import { SseParser } from './sse';
import type { LiveEvent } from './types';

export type StreamState = 'connecting' | 'live' | 'waiting' | 'paused' | 'refused' | 'closed';

export interface StreamOptions {
  /** task, namespace, name, type (repeated), from */
  query: Record<string, QueryValue>;
  /** Called with what came in since the last call, at most once in `interval`; never with an empty list. */
  onEvents: (events: LiveEvent[], dropped: number) => void;
  onState?: (state: StreamState) => void;
  /** Called when events may be missing: the position is not in the log any more, or the page was hidden for long. Read anew then. */
  onGap?: () => void;
  /** Milliseconds between two calls of onEvents; default 400. */
  interval?: number;
  /** Events that are kept for the next call; what is more is dropped, the oldest first, and counted. Default 2,000. */
  keep?: number;
  /** Milliseconds of silence after which the stream is taken for dead; the server says something every 15 s. Default 40,000. */
  silence?: number;
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

export class EventStream {
  readonly #options: StreamOptions;
  #lastId = '';
  #kept: LiveEvent[] = [];
  #dropped = 0;
  #failures = 0;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #waitTimer: ReturnType<typeof setTimeout> | undefined;
  #silenceTimer: ReturnType<typeof setTimeout> | undefined;
  #abort: AbortController | undefined;
  #state: StreamState = 'closed';

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  get state(): StreamState {
    return this.#state;
  }

  /** The cursor that the next connection goes on after; "" before the first event. */
  get position(): string {
    return this.#lastId;
  }

  open(): void {
    if (this.#state !== 'closed') return;
    document.addEventListener('visibilitychange', this.#onVisibility);
    if (document.hidden) this.#set('paused');
    else this.#connect();
  }

  /** Ends it for good; what waits is not delivered. */
  close(): void {
    document.removeEventListener('visibilitychange', this.#onVisibility);
    this.#disconnect();
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    this.#kept = [];
    this.#set('closed');
  }

  #set(state: StreamState) {
    if (state === this.#state) return;
    this.#state = state;
    this.#options.onState?.(state);
  }

  #disconnect() {
    this.#abort?.abort();
    this.#abort = undefined;
    clearTimeout(this.#waitTimer);
    clearTimeout(this.#silenceTimer);
  }

  readonly #onVisibility = () => {
    if (document.hidden) {
      this.#disconnect();
      this.#set('paused');
    } else if (this.#state === 'paused') {
      this.#failures = 0;
      this.#connect();
      this.#options.onGap?.(); // what happened meanwhile comes as events where the log has them; a list is read faster
    }
  };

  async #connect() {
    this.#disconnect();
    const abort = new AbortController();
    this.#abort = abort;
    this.#set('connecting');
    try {
      await this.#read(abort);
      if (!abort.signal.aborted) this.#later(); // the server ended it: it stops, or we were too slow
    } catch {
      if (this.#abort === abort) this.#later();
    }
  }

  async #read(abort: AbortController) {
    const headers = requestHeaders('GET', false, { Accept: 'text/event-stream' });
    if (this.#lastId) headers.set('Last-Event-ID', this.#lastId);
    this.#listen(abort);
    const response = await fetch(address(['events'], this.#options.query), {
      headers,
      signal: abort.signal,
      credentials: 'omit',
      cache: 'no-store',
    });
    if (!response.ok || !response.body) {
      this.#refused(problem(response.status, response.headers, await response.text()), abort);
      return;
    }
    noteSuccess();
    this.#set('live');
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || abort.signal.aborted) return;
      this.#listen(abort);
      this.#failures = 0;
      for (const m of parser.feed(decoder.decode(value, { stream: true }))) {
        if (m.id) this.#lastId = m.id;
        if (m.event !== 'error') this.#take(m.data); // else the server says why it ends the stream; we go on after the last id
      }
    }
  }

  /** A stream is refused for good by 4xx, but for those that say "later", and for a position that is gone. */
  #refused(error: ReturnType<typeof problem>, abort: AbortController) {
    if (error.code === 'trimmed' || error.status === 410) {
      this.#lastId = '';
      this.#options.onGap?.();
    } else if (error.status >= 400 && error.status < 500 && !error.temporary) {
      abort.abort();
      this.#disconnect();
      this.#set('refused');
    }
  }

  /** Starts the time again after which silence means that the stream is dead. */
  #listen(abort: AbortController) {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => {
      if (this.#abort !== abort) return;
      this.#disconnect();
      this.#later();
    }, this.#options.silence ?? 40_000);
  }

  #later() {
    if (this.#state === 'closed' || this.#state === 'paused' || this.#state === 'refused') return;
    clearTimeout(this.#silenceTimer);
    this.#set('waiting');
    const longest = Math.min(FIRST_WAIT * 2 ** this.#failures++, LONGEST_WAIT);
    // A part of chance, so that the pages of a whole team do not come back at the same moment.
    this.#waitTimer = setTimeout(() => this.#connect(), longest * (0.5 + Math.random() / 2));
  }

  #take(data: string) {
    let event: LiveEvent;
    try {
      event = JSON.parse(data) as LiveEvent;
    } catch {
      return; // of a newer server
    }
    if (typeof event?.type !== 'string') return;
    const keep = this.#options.keep ?? 2_000;
    this.#kept.push(event);
    if (this.#kept.length > keep * 2) {
      // In one cut of many, not one shift for every event.
      this.#dropped += this.#kept.length - keep;
      this.#kept = this.#kept.slice(-keep);
    }
    this.#flushTimer ??= setTimeout(() => this.#flush(), this.#options.interval ?? 400);
  }

  #flush() {
    this.#flushTimer = undefined;
    const keep = this.#options.keep ?? 2_000;
    const events = this.#kept.length > keep ? this.#kept.slice(-keep) : this.#kept;
    const dropped = this.#dropped + this.#kept.length - events.length;
    this.#kept = [];
    this.#dropped = 0;
    if (events.length > 0) this.#options.onEvents(events, dropped);
  }
}

import { isBefore, type TaskEvent } from './fold';

/** How many of a task's events the page keeps while it follows them; older ones are read again on demand. */
export const keepDefault = 5_000;

export interface LogState {
  /** The oldest first. */
  events: readonly TaskEvent[];
  /** Events before them that are not kept. */
  older: number;
  /** Live events are missing before the newest: reading the history again brings them. */
  hole: boolean;
  /** The history has been read. */
  ready: boolean;
}

/**
 * The events of one task: those of its history, and the live ones behind them. Bounded: of more than `keep` the oldest
 * are let go, so that a page that is open for hours stays small.
 */
export class EventLog {
  #state: LogState = { events: [], older: 0, hole: false, ready: false };
  #early: TaskEvent[] = []; // live ones that came before the history was read
  readonly #listeners = new Set<() => void>();
  keep = keepDefault;

  readonly subscribe = (changed: () => void): (() => void) => {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  };

  readonly state = (): LogState => this.#state;

  /** Takes the history; what was live before and is not in it yet follows behind. */
  read(history: readonly TaskEvent[]): void {
    const known = this.#state.ready ? this.#state.events : this.#early;
    const last = history.at(-1);
    const later = last === undefined ? known : known.filter((e) => isBefore(last.id, e.id));
    this.#early = [];
    this.#set([...history, ...later], 0, false);
  }

  /** Takes live events; those that are there already are passed over. */
  append(live: readonly TaskEvent[], dropped: number): void {
    const events = this.#state.ready ? this.#state.events : this.#early;
    const last = events.at(-1);
    const fresh = last === undefined ? live : live.filter((e) => isBefore(last.id, e.id));
    if (!this.#state.ready) {
      this.#early = [...this.#early, ...fresh].slice(-this.keep);
      return;
    }
    if (fresh.length === 0 && dropped === 0) return;
    this.#set([...events, ...fresh], this.#state.older, this.#state.hole || dropped > 0);
  }

  /** Events may be missing: the history has to be read again. */
  doubt(): void {
    if (this.#state.ready && !this.#state.hole) this.#set(this.#state.events, this.#state.older, true);
  }

  #set(events: readonly TaskEvent[], older: number, hole: boolean): void {
    const excess = events.length - this.keep;
    // Cut in large pieces, so that not every batch copies the whole list once more.
    const cut = excess > this.keep / 5 ? excess : 0;
    this.#state = { events: cut ? events.slice(cut) : events, older: older + cut, hole, ready: true };
    for (const l of this.#listeners) l();
  }
}

/**
 * Reads again what has changed, but not for every change: while it is being read, and for a rest that is several times
 * as long as reading took, changes only add up. So a thousand events a second cost no more than a few reads.
 */
export class Refresher {
  readonly #read: () => Promise<unknown>;
  readonly #least: number;
  readonly #most: number;
  #dirty = false;
  #busy = false;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `least` and `most` bound the rest, in milliseconds. */
  constructor(read: () => Promise<unknown>, least = 250, most = 5_000) {
    this.#read = read;
    this.#least = least;
    this.#most = most;
  }

  /** Something has changed. */
  touch(): void {
    if (this.#closed) return;
    this.#dirty = true;
    if (!this.#busy) void this.#run();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    this.#busy = true;
    this.#dirty = false;
    const began = performance.now();
    try {
      await this.#read();
    } catch {
      // whoever shows the answer shows the error, too
    }
    const rest = Math.min(this.#most, Math.max(this.#least, (performance.now() - began) * 5));
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#busy = false;
      if (this.#dirty) void this.#run();
    }, rest);
  }
}

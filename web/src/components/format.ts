// How numbers, times and durations are written. Nothing here depends on the locale, so that a text can be compared and searched for.

const NS = { us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3_600e9, d: 86_400e9 };

/** 1.24 ms, 3.5 s, 2 m 5 s, 3 h 4 m, 2 d 3 h; of nanoseconds. */
export function duration(ns: number): string {
  if (!Number.isFinite(ns)) return '–';
  if (ns < 0) return `-${duration(-ns)}`;
  if (ns < NS.us) return `${Math.round(ns)} ns`;
  if (ns < NS.ms) return `${short(ns / NS.us)} µs`;
  if (ns < NS.s) return `${short(ns / NS.ms)} ms`;
  if (ns < NS.m) return `${short(ns / NS.s)} s`;
  if (ns < NS.h) return pair(ns, NS.m, 'm', NS.s, 's');
  if (ns < NS.d) return pair(ns, NS.h, 'h', NS.m, 'm');
  return pair(ns, NS.d, 'd', NS.h, 'h');
}

function short(n: number): string {
  return n >= 100
    ? String(Math.floor(n))
    : String(Math.floor(n * 100) / 100)
        .slice(0, 4)
        .replace(/\.$/, '');
}

function pair(ns: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((ns % large) / small);
  return `${Math.floor(ns / large)} ${largeName}${rest ? ` ${rest} ${smallName}` : ''}`;
}

/** "3 m 2 s ago", "in 5 s", "now": of two times in milliseconds. */
export function relative(at: number, now: number): string {
  const ms = at - now;
  if (Math.abs(ms) < 1_000) return 'now';
  const [large] = duration(Math.floor(Math.abs(ms) / 1_000) * 1e9).split(/(?<=[a-z]) /);
  return ms < 0 ? `${large} ago` : `in ${large}`;
}

/** 2026-01-02 03:04:05.678, in the time zone of the browser, or in UTC. */
export function exact(iso: string, utc = false): string {
  const d = new Date(iso);
  if (Number.isNaN(d.getTime())) return iso;
  const local = utc ? d : new Date(d.getTime() - d.getTimezoneOffset() * 60_000);
  return local
    .toISOString()
    .replace('T', ' ')
    .replace('Z', utc ? ' UTC' : '');
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(n: number): string {
  let unit = 0;
  let size = n;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(size < 10 ? 2 : 1)} ${UNITS[unit]}`;
}

/** 12,345 */
export function count(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** 12.3k, for places where there is little room */
export function few(n: number): string {
  if (n < 10_000) return count(n);
  if (n < 1_000_000) return `${(n / 1_000).toFixed(n < 100_000 ? 1 : 0)}k`;
  return `${(n / 1_000_000).toFixed(1)}M`;
}

/** 99.3 %; never 100 % of what has failed once. */
export function percent(part: number): string {
  const floor = Math.floor(part * 1_000) / 10;
  return `${floor === 100 ? '100' : floor.toFixed(1)} %`;
}

export function shortId(id: string): string {
  return id.length > 13 ? `…${id.slice(-8)}` : id;
}

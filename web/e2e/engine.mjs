// The engine that the browser tests look at: the real binary, with a data directory of its own.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const e2e = import.meta.dirname;
const root = join(e2e, '..', '..');

/** 5,000 steps: a root, 4,998 workers, a join. */
export function fanOf(steps) {
  const workers = Array.from({ length: steps - 2 }, (_, i) => `worker_${String(i).padStart(4, '0')}`);
  const log = (name, depends_on) => ({ name, depends_on, handler: 'log', handler_config: { message: 'done' } });
  return {
    name: 'fan',
    namespace: 'big',
    version: '1.0.0',
    steps: [log('root', []), ...workers.map((w) => log(w, ['root'])), log('join', workers)],
  };
}

/** Chains of sleeps: `wide` of them, each of `long` sleeps of a second. Every second each of them ends and begins a step. */
export function chainsOf(wide, long) {
  const steps = [];
  for (let w = 0; w < wide; w++) {
    for (let l = 0; l < long; l++) {
      steps.push({
        name: `c${w}_${l}`,
        depends_on: l === 0 ? [] : [`c${w}_${l - 1}`],
        handler: 'sleep',
        handler_config: { duration: l === 0 ? `${1000 + Math.floor((1000 * w) / wide)}ms` : '1s' },
      });
    }
  }
  return { name: `load_${wide}x${long}`, namespace: 'big', version: '1.0.0', steps };
}

/** Builds the binary, or takes TASKER_BINARY, and starts it; gives its address and what ends it. */
export async function startEngine({ long = false } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'tasker-e2e-'));
  const binary = process.env.TASKER_BINARY ?? join(dir, 'tasker');
  if (!process.env.TASKER_BINARY) {
    const built = spawnSync('go', ['build', '-o', binary, './cmd/tasker'], { cwd: root, stdio: 'inherit' });
    if (built.status !== 0) throw new Error('go build ./cmd/tasker failed: see above');
  }
  const definitions = join(dir, 'definitions');
  mkdirSync(definitions);
  cpSync(join(e2e, 'definitions'), definitions, { recursive: true });
  const write = (d) => writeFileSync(join(definitions, `${d.name}.yaml`), JSON.stringify(d));
  write(fanOf(5_000));
  write(chainsOf(500, long ? 30 : 12));

  const flags = ['--data', join(dir, 'data'), '--definitions', definitions, '--allow-exec', '--http', '127.0.0.1:0'];
  const engine = spawn(binary, ['serve', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const url = await new Promise((resolve, reject) => {
    const hear = (chunk) => {
      said += chunk;
      const found = /http\s+(https?:\/\/[\d.]+:\d+)/.exec(said);
      if (found) resolve(found[1]);
    };
    engine.stdout.on('data', hear);
    engine.stderr.on('data', hear);
    engine.once('exit', (code) => reject(new Error(`tasker serve ended with ${code}:\n${said}`)));
    setTimeout(() => reject(new Error(`tasker serve printed no address within 60 s:\n${said}`)), 60_000).unref();
  });
  return {
    url,
    said: () => said.slice(-4_000),
    stop: async () => {
      if (engine.exitCode === null) {
        engine.kill('SIGTERM');
        const stopped = await Promise.race([
          once(engine, 'exit'),
          new Promise((r) => setTimeout(r, 15_000, 'late').unref()),
        ]);
        if (stopped === 'late') engine.kill('SIGKILL');
      }
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A request to the API; what is no success is an error that says what came. */
export async function call(url, path, { method = 'GET', body } = {}) {
  const response = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: method === 'GET' ? {} : { 'Content-Type': 'application/json', 'Tasker-Request': '1' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

export const submit = (url, namespace, name, context = {}) =>
  call(url, '/tasks', { method: 'POST', body: { namespace, name, context } });

/** Asks until the answer is as wanted; the time is generous, because machines may be slow. */
export async function until(what, ask, limit = 60_000) {
  const end = Date.now() + limit;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${limit / 1000} s for ${what}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

export const inState = (url, id, ...states) =>
  until(`task ${id} to be ${states.join(' or ')}`, async () => {
    const task = await call(url, `/tasks/${id}`);
    return states.includes(task.state) ? task : undefined;
  });

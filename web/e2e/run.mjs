// Runs the browser tests against the real engine:
//
//   node e2e/run.mjs [--long] [--keep-server] [file ...]     default: every *.test.mjs
//
// TASKER_E2E_URL looks at a server that runs already. Screenshots and summary.json are in e2e/out.

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startEngine } from './engine.mjs';

const e2e = import.meta.dirname;
const out = join(e2e, 'out');
const { values, positionals } = parseArgs({
  options: { long: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium';
if (!existsSync(chromium)) {
  console.error(`There is no browser at ${chromium}: install chromium, or name one with CHROMIUM=/path/to/chromium.`);
  process.exit(1);
}
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const began = Date.now();
const engine = process.env.TASKER_E2E_URL ? undefined : await startEngine({ long: values.long });
const url = process.env.TASKER_E2E_URL ?? engine.url;
const files = positionals.length
  ? positionals.map((f) => resolve(f))
  : readdirSync(e2e)
      .filter((f) => f.endsWith('.test.mjs'))
      .sort()
      .map((f) => join(e2e, f));

const tests = spawn(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', ...files], {
  stdio: 'inherit',
  env: { ...process.env, TASKER_E2E_URL: url, TASKER_E2E_LONG: values.long ? '1' : '' },
});
const stop = () => tests.kill('SIGTERM');
process.once('SIGINT', stop);
process.once('SIGTERM', stop);
const code = await new Promise((done) => tests.once('exit', (c) => done(c ?? 1)));
if (code !== 0 && engine) console.error(`The engine said last:\n${engine.said()}`);
await engine?.stop();

let numbers = {};
try {
  numbers = JSON.parse(readFileSync(join(out, 'numbers.json'), 'utf8'));
} catch {
  // no test had any
}
const summary = { passed: code === 0, seconds: Math.round((Date.now() - began) / 1000), long: values.long, ...numbers };
writeFileSync(join(out, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
console.log(JSON.stringify(summary, null, 2));
process.exit(code);

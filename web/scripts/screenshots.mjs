// Takes a picture of every page, in both schemes, wide and narrow, into screenshots/; says which pages are wider than the window and what
// the browser complains about. Uses the mock server, or TASKER_URL.
//
//   node scripts/screenshots.mjs [page ...]     e.g. tasks stuck

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { mockServer } from '../mock/server.mjs';

const web = join(import.meta.dirname, '..');
const out = join(web, 'screenshots');
mkdirSync(out, { recursive: true });

let base = process.env.TASKER_URL;
let mock;
if (!base) {
  mock = mockServer({ dist: join(web, 'dist') });
  await new Promise((ready) => mock.server.listen(0, '127.0.0.1', ready));
  base = `http://127.0.0.1:${mock.server.address().port}`;
}

const first = (q) =>
  fetch(`${base}/api/v1/tasks?limit=1&${q}`)
    .then((r) => r.json())
    .then((a) => a.tasks[0]?.id);
const definitions = await fetch(`${base}/api/v1/definitions`).then((r) => r.json());
const d = definitions.definitions.find((x) => x.name === 'process_order') ?? definitions.definitions[0];
const pages = {
  tasks: '/tasks',
  'tasks-none': '/tasks?text=nothing+like+it',
  'tasks-filtered': '/tasks?state=error&sort=duration&waiting=retry_backoff',
  new: '/tasks/new',
  'new-form': `/tasks/new?definition=${d?.namespace}/${d?.name}`,
  stuck: '/stuck',
  definitions: '/definitions',
  definition: `/definitions/${d?.namespace}/${d?.name}`,
  analytics: '/analytics',
  'dead-letters': '/dead-letters',
  subscribers: '/subscribers',
  system: '/system',
  login: '/login',
  task: `/tasks/${await first('state=error')}`,
  missing: '/no/such/page',
};
const wanted = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
let bad = 0;
for (const [size, width, height] of [
  ['wide', 1280, 800],
  ['narrow', 360, 740],
]) {
  for (const theme of ['light', 'dark']) {
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme: theme,
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    page.on('console', (m) => m.type() === 'error' && console.log(`${page.url()}: ${m.text()}`));
    page.on('pageerror', (e) => console.log(`${page.url()}: ${e.stack}`));
    for (const [name, path] of Object.entries(pages)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      await page.goto(base + path);
      await page.waitForSelector('h1');
      await page
        .waitForFunction(() => !document.querySelector('[aria-busy="true"], [aria-label^="Loading"]'), null, {
          timeout: 10_000,
        })
        .catch(() => {});
      await page.evaluate(() => document.fonts.ready);
      const over = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      if (over > 0) {
        bad++;
        console.log(`${name} (${size}, ${theme}): ${over} pixels wider than the window`);
      }
      await page.screenshot({ path: join(out, `${name}-${size}-${theme}.png`), fullPage: name !== 'tasks' });
    }
    await context.close();
  }
}
await browser.close();
mock?.server.close();
mock?.server.closeAllConnections();
process.exit(bad ? 1 : 0);

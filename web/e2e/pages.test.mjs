// Every page, in both themes, wide and narrow: a picture, nothing serious for axe, nothing wider than the window, no complaint.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { accessibility, browser, closeBrowser, newPage, picture, record, url } from './browser.mjs';
import { call, inState, submit } from './engine.mjs';

const pages = {};

before(async () => {
  await browser();
  const failed = (await submit(url, 'shop', 'checkout', { order: 'P-1', card: 'bad' })).id;
  const done = (await submit(url, 'shop', 'checkout', { order: 'P-2' })).id;
  await submit(url, 'data', 'nightly');
  const paused = (await submit(url, 'data', 'nightly')).id;
  await inState(url, failed, 'error');
  await inState(url, done, 'complete');
  await call(url, `/tasks/${paused}/pause`, { method: 'POST', body: { reason: 'the warehouse is closed' } });
  await call(url, `/tasks/${failed}/annotate`, { method: 'POST', body: { kind: 'ticket', annotation: { id: 12 } } });
  const { events } = await call(url, `/tasks/${failed}/history`);
  Object.assign(pages, {
    tasks: '/tasks',
    'tasks-filtered': '/tasks?state=error',
    'tasks-none': '/tasks?text=nothing+like+it',
    'new-task': '/tasks/new?definition=shop/checkout',
    task: `/tasks/${failed}`,
    'task-step': `/tasks/${failed}?step=pay`,
    'task-timeline': `/tasks/${failed}?tab=timeline`,
    'task-events': `/tasks/${failed}?tab=events`,
    'task-data': `/tasks/${done}?tab=data`,
    'task-past': `/tasks/${failed}?at=${events[Math.floor(events.length / 2)].id}`,
    'task-paused': `/tasks/${paused}`,
    'task-missing': '/tasks/01890a5d-ac96-774b-bcce-b302099a8057',
    stuck: '/stuck',
    definitions: '/definitions',
    definition: '/definitions/shop/checkout',
    analytics: '/analytics',
    'dead-letters': '/dead-letters',
    subscribers: '/subscribers',
    system: '/system',
    login: '/login',
    nowhere: '/no/such/page',
  });
});

after(closeBrowser);

/** Nothing is being loaded any more, and the graph, if there is one, is drawn. */
async function quiet(page) {
  await page.locator('h1').first().waitFor();
  await page.waitForFunction(() => {
    const loading = document.querySelector('[aria-label^="Loading"], [aria-label^="Reading"], [aria-busy="true"]');
    const graph = document.querySelector('.dag-canvas');
    return !loading && (!graph || graph.dataset.painted);
  });
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

const looks = [
  ['wide', 1280, 900],
  ['narrow', 360, 740],
].flatMap(([size, width, height]) => ['light', 'dark'].map((theme) => ({ size, width, height, theme })));

describe('pages', () => {
  for (const look of looks) {
    test(`${look.size} and ${look.theme}`, { timeout: 240_000 }, async (t) => {
      const { page, complaints, close } = await newPage(look);
      const found = [];
      for (const [name, path] of Object.entries(pages)) {
        for (let tries = 1; ; tries++) {
          try {
            await page.goto(path);
            await quiet(page);
            break;
          } catch (error) {
            if (tries === 2) throw new Error(`${name}: ${error.message}`);
            t.diagnostic(`${name} tried again, because: ${error.message}`);
          }
        }
        await picture(page, `${name}-${look.size}-${look.theme}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) found.push(`${name}: ${wide} pixels wider than the window`);
        for (const v of await accessibility(page)) found.push(`${name}: ${v}`);
        if (!(await page.title()).includes('Tasker')) found.push(`${name}: the title is "${await page.title()}"`);
      }
      await close();
      record({ [`axe_${look.size}_${look.theme}`]: found.length });
      assert.deepEqual([...found, ...complaints], []);
    });
  }
});

// A real browser, and what every scenario needs of it.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { chromium } from 'playwright-core';

const e2e = import.meta.dirname;
export const out = join(e2e, 'out');
export const url = process.env.TASKER_E2E_URL ?? '';
export const long = process.env.TASKER_E2E_LONG === '1';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Generous, because machines may be slow: nothing waits for a time, everything for something to happen. */
export const patience = 45_000;

let launched;

export async function browser() {
  launched ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--enable-precise-memory-info'],
  });
  return launched;
}

export async function closeBrowser() {
  await launched?.close();
  launched = undefined;
}

/** What a browser says about a request that was meant to fail. */
const expected = /Failed to load resource|net::ERR_ABORTED/;

/** A page of its own. What the page complains about fails the scenario when it ends. */
export async function newPage({ theme = 'light', width = 1280, height = 900 } = {}) {
  const context = await (await browser()).newContext({
    viewport: { width, height },
    colorScheme: theme,
    reducedMotion: 'reduce',
    baseURL: url,
  });
  context.setDefaultTimeout(patience);
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (m) => {
    if (m.type() === 'error' && !expected.test(m.text())) complaints.push(m.text());
  });
  page.on('pageerror', (e) => complaints.push(e.stack ?? String(e)));
  return { page, complaints, close: () => context.close() };
}

/** A scenario: tried once more as a whole when it fails, with the reason of the first failure printed. */
export function scenario(name, run, options = {}) {
  test(name, { timeout: long ? 1_200_000 : 240_000 }, async (t) => {
    for (let tries = 1; ; tries++) {
      const window = await newPage(options);
      try {
        await run(window.page, t);
        assert.deepEqual(window.complaints, [], 'the page complained');
        return;
      } catch (error) {
        mkdirSync(out, { recursive: true });
        const shot = join(out, `failed-${name.replaceAll(/\W+/g, '-')}-${tries}.png`);
        await window.page.screenshot({ path: shot, fullPage: true }).catch(() => {});
        if (tries === 2) throw error;
        t.diagnostic(`tried again, because: ${error.message} (see ${shot})`);
      } finally {
        await window.close();
      }
    }
  });
}

/** What axe finds on a page that is serious or critical. */
export async function accessibility(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, {
      resultTypes: ['violations'],
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],
    }),
  );
  return violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map(
      (v) =>
        `${v.impact}: ${v.id}: ${v.help}: ${v.nodes
          .map((n) => n.target.join(' '))
          .slice(0, 5)
          .join(', ')}`,
    );
}

export const picture = (page, name) => {
  mkdirSync(out, { recursive: true });
  return page.screenshot({ path: join(out, `${name}.png`), fullPage: true });
};

/** Numbers for the summary, which run.mjs puts together. */
export function record(numbers) {
  const file = join(out, 'numbers.json');
  mkdirSync(out, { recursive: true });
  let known = {};
  try {
    known = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // the first ones
  }
  writeFileSync(file, `${JSON.stringify({ ...known, ...numbers }, null, 2)}\n`);
}

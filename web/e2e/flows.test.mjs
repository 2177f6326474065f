// What people do: submit, watch, repair, look back, fork.

import assert from 'node:assert/strict';
import { after, describe } from 'node:test';
import { closeBrowser, picture, scenario, url } from './browser.mjs';
import { call, inState, submit, until } from './engine.mjs';

after(closeBrowser);

const state = (page, text) => page.getByTestId('task-state').getByText(text, { exact: true }).waitFor();
const row = (page, step) => page.locator(`.step-table [data-step="${step}"]`);
const idOf = (page) => new URL(page.url()).pathname.split('/').pop();

describe('flows', () => {
  scenario('submit by the form, and watch the task go through its DAG live', async (page) => {
    await page.goto('/tasks/new?definition=shop/checkout');
    await page.getByLabel('order', { exact: false }).first().fill('A-1001');
    await picture(page, 'flow-1-form');
    await page
      .getByRole('button', { name: /submit/i })
      .last()
      .click();
    await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
    // The page is not loaded again: what is seen has come over the stream.
    await page.getByTestId('live').getByText('live', { exact: true }).waitFor();
    const seen = new Set();
    await page.exposeFunction('sawState', (text) => seen.add(text));
    await page.evaluate(() => {
      const look = () => {
        for (const r of document.querySelectorAll('.step-table [data-step="pack"]')) window.sawState(r.textContent);
      };
      look();
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
    });
    await state(page, 'complete');
    await row(page, 'ship').getByText('complete').waitFor();
    assert.ok(
      [...seen].some((s) => s.includes('in progress')),
      `the step that sleeps was never seen in progress, only as: ${[...seen].join(' | ')}`,
    );
    await page.locator('[data-testid="dag"] .dag-canvas[data-painted]').waitFor();
    await picture(page, 'flow-2-complete');
  });

  scenario('a form that is filled in wrongly says so beside the field, and sends nothing', async (page) => {
    const before = (await call(url, '/tasks/count')).total;
    await page.goto('/tasks/new?definition=shop/checkout');
    await page.getByLabel('order', { exact: false }).first().fill('A');
    await page
      .getByRole('button', { name: /submit/i })
      .last()
      .click();
    await page.locator('[aria-invalid="true"]').first().waitFor();
    assert.equal((await call(url, '/tasks/count')).total, before);
  });

  scenario('a step fails: the page says why, and a retry repairs it', async (page) => {
    const { id } = await submit(url, 'shop', 'checkout', { order: 'A-1002', card: 'bad' });
    await inState(url, id, 'error');
    await page.goto(`/tasks/${id}`);
    await state(page, 'error');
    await page.getByTestId('explain-task').getByText(/pay/).first().waitFor();
    await row(page, 'pay').click();
    const panel = page.getByTestId('step-panel');
    await panel.getByText('the bank refuses the card').first().waitFor();
    await panel.getByText('charging a bad card, attempt 1').first().waitFor();
    await picture(page, 'flow-3-failed');
    await panel.getByRole('button', { name: 'Retry', exact: true }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Reason').fill('the bank is back');
    await picture(page, 'flow-4-retry');
    await dialog.getByRole('button', { name: 'Retry the step' }).click();
    await state(page, 'complete');
    await panel.getByText('try 2').first().waitFor();
    const history = await call(url, `/tasks/${id}/history`);
    const retry = history.events.find((e) => e.type === 'step.retry_requested');
    assert.equal(retry.data.reason, 'the bank is back');
    assert.match(retry.actor, /^operator/);
  });

  scenario('a refusal of the server is shown where the reason was given', async (page) => {
    const { id } = await submit(url, 'shop', 'checkout', { order: 'A-1003', card: 'bad' });
    await inState(url, id, 'error');
    await page.goto(`/tasks/${id}`);
    await page.getByTestId('task-actions').getByRole('button', { name: 'Retry', exact: true }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Retry the task' }).waitFor();
    await call(url, `/tasks/${id}/cancel`, { method: 'POST', body: { reason: 'somebody was faster' } });
    await dialog.getByRole('button', { name: 'Retry the task' }).click();
    await dialog
      .getByRole('alert')
      .getByText(/cancelled/)
      .first()
      .waitFor();
    await page.keyboard.press('Escape');
    await state(page, 'cancelled');
  });

  scenario('slide through time: the graph is what the server says for every event', async (page) => {
    const { id } = await submit(url, 'shop', 'checkout', { order: 'A-1004', card: 'bad' });
    await inState(url, id, 'error');
    await page.goto(`/tasks/${id}`);
    await page.getByRole('button', { name: 'Time machine' }).click();
    await page
      .getByTestId('time-banner')
      .getByText(/You look at the past/)
      .waitFor();
    const { events } = await call(url, `/tasks/${id}/history`);
    const slider = page.getByRole('slider', { name: 'Event of the history' });
    // Twice: first the server's answers are held back, so that the page has nothing but the events to go by.
    for (const held of [true, false]) {
      if (held) await page.route(/[?&]at=/, () => {});
      else await page.unroute(/[?&]at=/);
      await slider.focus();
      await page.keyboard.press('Home');
      for (const [i, event] of events.entries()) {
        await page
          .getByTestId('time-banner')
          .getByText(`Event ${event.id}, ${i + 1} of ${events.length}`)
          .waitFor();
        const then = await call(url, `/tasks/${id}?at=${event.id}`);
        await until(`the ${held ? 'folded' : 'answered'} steps after ${event.id}`, async () => {
          const shown = await page.evaluate(() =>
            Object.fromEntries(
              [...document.querySelectorAll('.step-table [data-step]')].map((r) => [r.dataset.step, r.textContent]),
            ),
          );
          return then.steps.every((s) => shown[s.name]?.includes(words(s, held)));
        });
        if (!held && i === Math.floor(events.length / 2)) await picture(page, 'flow-5-past');
        await page.keyboard.press('ArrowRight');
      }
    }
    assert.equal(
      await page.getByTestId('task-actions').getByRole('button', { name: 'Cancel' }).getAttribute('aria-disabled'),
      'true',
    );
    await page.getByRole('button', { name: 'Back to now' }).click();
    await page.getByTestId('live').waitFor();
    assert.equal(new URL(page.url()).searchParams.get('at'), null);
  });

  scenario('fork from a moment of the past, with another context', async (page) => {
    const { id } = await submit(url, 'shop', 'checkout', { order: 'A-1005', card: 'bad' });
    await inState(url, id, 'error');
    const { events } = await call(url, `/tasks/${id}/history`);
    const at = events.find((e) => e.type === 'step.completed' && e.step === 'check').id;
    await page.goto(`/tasks/${id}?at=${at}`);
    await page.getByRole('button', { name: 'Fork from here' }).click();
    const dialog = page.getByRole('dialog');
    const context = dialog.getByLabel('Context (JSON)');
    await context.fill('{"order": ');
    await dialog
      .getByText(/This is no JSON/)
      .first()
      .waitFor();
    assert.ok(await dialog.getByRole('button', { name: 'Fork the task' }).isDisabled());
    await context.fill(JSON.stringify({ order: 'A-1005', card: 'good', items: 2 }));
    await dialog.getByLabel('Reason').fill('the right card');
    await picture(page, 'flow-6-fork');
    await dialog.getByRole('button', { name: 'Fork the task' }).click();
    await page.waitForURL((u) => u.pathname.startsWith('/tasks/') && !u.pathname.includes(id));
    await state(page, 'complete');
    await page.getByText('forked from').waitFor();
    const fork = await call(url, `/tasks/${idOf(page)}`);
    assert.equal(fork.context.card, 'good');
    assert.equal(fork.steps.find((s) => s.name === 'check').inherited, true);
    assert.equal((await call(url, `/tasks/${id}`)).state, 'error');
    await picture(page, 'flow-7-forked');
  });

  scenario('everything works with the keyboard alone', async (page) => {
    const { id } = await submit(url, 'shop', 'checkout', { order: 'A-1006' });
    await inState(url, id, 'complete');
    await page.goto(`/tasks/${id}`);
    await page.locator('[data-testid="dag"] .dag-canvas[data-painted]').waitFor();
    await page.getByTestId('dag').focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await until('a step behind the first', () =>
      ['pack', 'pay'].includes(new URL(page.url()).searchParams.get('step') ?? ''),
    );
    await page.keyboard.press('Escape');
    await until('no step', () => new URL(page.url()).searchParams.get('step') === null);
    await page.getByRole('grid').focus();
    await page.keyboard.press('End');
    await page.getByTestId('step-panel').getByRole('heading', { name: 'ship' }).waitFor();
    await page.getByRole('tab', { name: 'Graph' }).focus();
    await page.keyboard.press('ArrowRight');
    await page.getByRole('region', { name: 'Timeline of the steps' }).waitFor();
  });

  scenario('what is away says so: no such task, no such event, a server that does not answer', async (page) => {
    await page.goto('/tasks/01890a5d-ac96-774b-bcce-b302099a8057');
    await page.getByRole('heading', { name: 'There is no such task' }).waitFor();
    const { id } = await submit(url, 'shop', 'checkout', { order: 'A-1007' });
    await inState(url, id, 'complete');
    await page.goto(`/tasks/${id}?at=00-1-999`);
    await page.getByText('The history of this task has no event 00-1-999.').waitFor();
    await page.getByRole('button', { name: 'Back to now' }).click();
    await state(page, 'complete');
    await page.route('**/api/**', (r) => r.abort());
    await page.getByRole('tab', { name: 'Events' }).click();
    await page
      .getByText(/cannot be reached/)
      .first()
      .waitFor();
    await state(page, 'complete'); // what was there stays
    await page.unroute('**/api/**');
    await page
      .getByRole('button', { name: /try again/i })
      .first()
      .click();
    await page.getByText('task.created').first().waitFor();
  });
});

/** The words by which the table shows a step; events alone do not say that one is ready. */
function words(s, folded) {
  if (s.skipped) return 'skipped';
  if (s.state === 'error' && s.retry_at) return 'retrying';
  if (s.state === 'pending') return s.ready && !folded ? 'ready' : 'pending';
  return { in_progress: 'in progress', resolved_manually: 'resolved' }[s.state] ?? s.state;
}

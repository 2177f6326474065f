// @vitest-environment jsdom
import { fireEvent, screen, waitFor, within } from '@testing-library/react';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Mock, renderAt, startMock } from '../test/app';
import DeadLettersPage from './DeadLettersPage';
import NewTaskPage from './newtask/NewTaskPage';
import StuckPage from './stuck/StuckPage';

let mock: Mock;
beforeAll(async () => {
  mock = await startMock();
});
afterAll(() => mock.close());
beforeEach(() => {
  mock.asked.length = 0;
});

const posts = () => mock.asked.filter((a) => !a.request.startsWith('GET'));
const type = (label: RegExp | string, text: string) =>
  fireEvent.change(screen.getByLabelText(label), { target: { value: text } });

describe('the form of a new task', () => {
  it('says beside the fields what is missing, and submits nothing', async () => {
    renderAt('/tasks/new?definition=shop/process_order', <NewTaskPage />);
    fireEvent.click(await screen.findByRole('button', { name: 'Submit' }));
    expect(await screen.findByText('4 fields have to be corrected first.')).toBeTruthy();
    expect(screen.getAllByText('is required')).toHaveLength(4); // order, customer, sku, city
    expect(posts()).toEqual([]);
    await waitFor(() => expect(document.activeElement?.getAttribute('data-pointer')).toBe('/order'));
  });

  it('submits what was filled in with its key, and goes to the task', async () => {
    const { history } = renderAt('/tasks/new?definition=shop/process_order', <NewTaskPage />);
    await screen.findByRole('button', { name: 'Submit' });
    type(/^Order/, 'SO-7');
    type(/^customer/, 'ann@example.org');
    type(/^sku/, 'lamp-01');
    type(/^quantity/, '3');
    type(/^Idempotency key/, 'order-7');
    fireEvent.click(screen.getByRole('button', { name: 'Leave out address' }));
    fireEvent.click(screen.getByRole('button', { name: 'Submit' }));
    await waitFor(() => expect(history.at(-1)).toMatch(/^\/tasks\/[0-9a-f-]{36}$/));
    expect(posts()).toHaveLength(1);
    expect(posts()[0]?.headers.get('Idempotency-Key')).toBe('order-7');
    expect(posts()[0]?.body).toEqual({
      namespace: 'shop',
      name: 'process_order',
      key: 'order-7',
      context: {
        order: 'SO-7',
        customer: 'ann@example.org',
        priority: 'normal',
        gift: false,
        discount: 0,
        items: [{ sku: 'lamp-01', quantity: 3 }],
      },
    });
  });

  it('has one value in the form and in the editor', async () => {
    renderAt('/tasks/new?definition=shop/process_order', <NewTaskPage />);
    await screen.findByRole('button', { name: 'Submit' });
    type(/^Order/, 'SO-8');
    fireEvent.click(screen.getByRole('tab', { name: 'JSON' }));
    const editor = screen.getByLabelText('Context as JSON') as HTMLTextAreaElement;
    expect(JSON.parse(editor.value).order).toBe('SO-8');
    fireEvent.change(editor, { target: { value: '{"order": ' } });
    expect(screen.getByText(/^is no JSON/)).toBeTruthy();
    fireEvent.change(editor, { target: { value: '{"order": "SO-9"}' } });
    fireEvent.click(screen.getByRole('tab', { name: 'Form' }));
    expect((screen.getByLabelText(/^Order/) as HTMLInputElement).value).toBe('SO-9');
  });

  it('says of a definition that is not there what to do', async () => {
    renderAt('/tasks/new?definition=shop/none', <NewTaskPage />);
    expect(await screen.findByText('There is no definition shop.none.')).toBeTruthy();
    expect(screen.getByText('See GET /definitions.')).toBeTruthy();
  });
});

describe('the page of what is stuck', () => {
  it('has a line for every cause, and does what the command does, with a reason', async () => {
    renderAt('/stuck', <StuckPage />);
    const paused = await screen.findByRole('region', { name: /^task_paused/ });
    expect(within(paused).getByText(/the address is in doubt/)).toBeTruthy();
    fireEvent.click(within(paused).getByRole('button', { name: 'Resume the task' }));
    const dialog = await screen.findByRole('dialog');
    fireEvent.change(within(dialog).getByLabelText(/^Reason/), { target: { value: 'the address is right' } });
    expect(within(dialog).getByText(/tasker task resume .* --reason 'the address is right'/)).toBeTruthy();
    fireEvent.click(within(dialog).getByRole('button', { name: 'Resume the task' }));
    await waitFor(() => expect(posts()).toHaveLength(1));
    expect(posts()[0]?.request).toMatch(/^POST \/api\/v1\/tasks\/[0-9a-f-]{36}\/resume$/);
    expect(posts()[0]?.body).toEqual({ reason: 'the address is right' });
    await waitFor(() => expect(screen.queryByRole('region', { name: /^task_paused/ })).toBeNull());
  });
});

describe('all tasks of one cause', () => {
  it('are retried with one reason', async () => {
    renderAt('/stuck', <StuckPage />);
    const failed = await screen.findByRole('region', { name: /^task_failed/ });
    fireEvent.click(within(failed).getByRole('button', { name: /^Retry all \d+…/ }));
    const dialog = await screen.findByRole('dialog');
    fireEvent.change(within(dialog).getByLabelText(/^Reason/), { target: { value: 'the bank is back' } });
    fireEvent.click(within(dialog).getByRole('button', { name: 'Retry all' }));
    await waitFor(() => expect(screen.queryByRole('region', { name: /^task_failed/ })).toBeNull());
    const retries = posts();
    expect(retries.length).toBeGreaterThan(5);
    expect(new Set(retries.map((r) => r.request)).size).toBe(retries.length); // each once
    expect(retries.every((r) => (r.body as { reason: string }).reason === 'the bank is back')).toBe(true);
  });
});

describe('the page of dead letters', () => {
  it('sends a letter again with a corrected context', async () => {
    renderAt('/dead-letters?letter=12', <DeadLettersPage />);
    const context = (await screen.findByLabelText(/^Context/)) as HTMLTextAreaElement;
    expect(JSON.parse(context.value).order).toBe('1042');
    fireEvent.change(context, { target: { value: context.value.replace('1042', 'SO-1042') } });
    fireEvent.click(screen.getByRole('button', { name: 'Requeue with this context' }));
    await waitFor(() => expect(posts()).toHaveLength(1));
    expect(posts()[0]).toMatchObject({
      request: 'POST /api/v1/dead-letters/12/requeue',
      body: { input: { order: 'SO-1042' } },
    });
    await waitFor(() => expect(screen.queryByRole('button', { name: 'Open dead letter 12' })).toBeNull());
  });

  it('offers no requeue of an event, and asks before it drops', async () => {
    renderAt('/dead-letters?letter=19', <DeadLettersPage />);
    fireEvent.click(await screen.findByRole('button', { name: 'Drop…' }));
    expect(screen.queryByRole('button', { name: /^Requeue/ })).toBeNull();
    expect(posts()).toEqual([]);
    fireEvent.click(screen.getByRole('button', { name: 'Drop it for good' }));
    await waitFor(() => expect(posts()[0]?.request).toBe('DELETE /api/v1/dead-letters/19'));
  });
});

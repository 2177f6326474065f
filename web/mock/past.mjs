// What has happened before the mock started: enough that every page has something to show.

import { definitions } from './definitions.mjs';
import { World } from './world.mjs';

const TAGS = ['eu', 'us', 'vip', 'campaign:spring', 'retry'];

export function newWorld(start = Date.now()) {
  const w = new World(start - 40 * 60_000);
  const [order, files, refund, nightly] = definitions;
  const some = (list) => list[Math.floor(w.random() * list.length)];
  for (let i = 0; i < 240; i++) {
    const def = w.random() < 0.7 ? order : w.random() < 0.8 ? refund : nightly;
    const tags = w.random() < 0.6 ? [some(TAGS), some(TAGS)].filter((t, j, all) => all.indexOf(t) === j) : [];
    w.submit(def, { context: contextOf(def, i), tags, initiator: some(['shop', 'ann', 'cron']) });
    w.tick(9_000);
  }
  const big = w.submit(files, { context: { bucket: 'incoming' }, tags: ['big'] });
  big.def.steps.forEach((s) => {
    s.retry_limit = 6;
  });
  w.tick(1_000);
  const paused = w.submit(order, { context: contextOf(order, 999), tags: ['vip'] });
  w.append(paused, [{ type: 'task.paused', data: { reason: 'the address is in doubt' } }], 'operator:ann');
  for (let i = 0; i < 12; i++) w.tick(500);
  w.now = start;
  return w;
}

export function contextOf(def, i) {
  if (def.name === 'process_order') {
    return {
      order: `SO-${1000 + i}`,
      customer: `ann${i}@example.org`,
      priority: 'normal',
      items: [{ sku: 'lamp-01', quantity: (i % 3) + 1 }],
      address: { city: 'Kiel', country: 'DE' },
    };
  }
  if (def.name === 'refund') return { payment: '7f0c2d1e-3a4b-4c5d-8e6f-0a1b2c3d4e5f', amount: 12.5 + i };
  return {};
}

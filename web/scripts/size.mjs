// Fails when the first load is over its budget: index.html and everything that it names, each compressed as a server sends it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUDGET = 300_000; // bytes
const dist = join(import.meta.dirname, '..', 'dist');
const html = readFileSync(join(dist, 'index.html'), 'utf8');
const files = [...html.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((m) => m[1]);

let total = 0;
for (const file of ['index.html', ...files]) {
  const size = gzipSync(readFileSync(join(dist, file)), { level: 6 }).length;
  total += size;
  console.log(`${String(size).padStart(8)}  ${file}`);
}
console.log(`${String(total).padStart(8)}  first load, compressed; the budget is ${BUDGET}`);

const inline = /<script(?![^>]*\bsrc=)[^>]*>|\son\w+=|javascript:/i.exec(html);
if (inline) {
  console.error(`index.html has inline script (${inline[0]}), which the content security policy forbids`);
  process.exit(1);
}
const foreign = /(?:src|href)="(?:https?:)?\/\//i.exec(html);
if (foreign) {
  console.error(`index.html loads from another host (${foreign[0]}): everything has to come from the binary`);
  process.exit(1);
}
if (total > BUDGET) {
  console.error(
    `the first load is ${total - BUDGET} bytes over its budget: load what is not needed at once with import()`,
  );
  process.exit(1);
}

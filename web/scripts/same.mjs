// Fails when dist/, which is checked in, is not what the source builds to. Builds into a folder of its own.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const web = join(import.meta.dirname, '..');
const fresh = mkdtempSync(join(tmpdir(), 'tasker-web-'));
process.on('exit', () => rmSync(fresh, { recursive: true, force: true }));

const built = spawnSync('npx', ['vite', 'build', '--outDir', fresh, '--emptyOutDir', '--logLevel', 'error'], {
  cwd: web,
  stdio: 'inherit',
});
if (built.status !== 0) process.exit(built.status ?? 1);

const list = (folder) => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
const names = (folder) => list(folder).map((f) => join(f.parentPath, f.name).slice(folder.length + 1));
const dist = join(web, 'dist');
const [have, want] = [names(dist), names(fresh)];
const wrong = [
  ...want.filter((f) => !have.includes(f)).map((f) => `${f} is missing`),
  ...have.filter((f) => !want.includes(f)).map((f) => `${f} is left over`),
  ...want
    .filter((f) => have.includes(f) && !readFileSync(join(dist, f)).equals(readFileSync(join(fresh, f))))
    .map((f) => `${f} differs`),
];
if (wrong.length > 0) {
  console.error(`dist/ is not what the source builds to (make ui builds it anew):\n  ${wrong.join('\n  ')}`);
  process.exit(1);
}
console.log(`dist/ is what the source builds to: ${want.length} files`);

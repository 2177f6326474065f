// Builds dist/ beside the old one and then takes its place, so that a `go build` meanwhile finds one or the other.

import { spawnSync } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const web = join(import.meta.dirname, '..');
const [dist, fresh, old] = ['dist', '.dist-new', '.dist-old'].map((d) => join(web, d));

const built = spawnSync('npx', ['vite', 'build', '--outDir', fresh, '--emptyOutDir'], { cwd: web, stdio: 'inherit' });
if (built.status !== 0) process.exit(built.status ?? 1);
rmSync(old, { recursive: true, force: true });
try {
  renameSync(dist, old);
} catch (error) {
  if (error.code !== 'ENOENT') throw error;
}
renameSync(fresh, dist);
rmSync(old, { recursive: true, force: true });

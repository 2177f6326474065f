import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// Where `npm run dev` sends /api: a running engine, or the mock server.
const server = process.env.TASKER_URL ?? 'http://127.0.0.1:8090';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2023',
    outDir: 'dist',
    emptyOutDir: true,
    // The pages' style is small and shared; one file less is one request less for the first load.
    cssCodeSplit: true,
    // Nothing is put into the document as data: or inline script, so that the content security policy may forbid both.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': server, '/openapi.json': server } },
  // A test that needs a document says so in its first line: // @vitest-environment jsdom
  test: {
    environment: 'node',
    testTimeout: 60_000,
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/test/setup.ts'],
  },
});

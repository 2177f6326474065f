import '@mantine/core/styles.css';
import '@mantine/notifications/styles.css';
import './app.css';
import { MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { newQueryClient } from './api/queries';
import { DEFAULT_SCHEME, FORCED, schemeManager } from './layout/scheme';
import { theme } from './theme';

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no element #root');

createRoot(root).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      colorSchemeManager={schemeManager}
      defaultColorScheme={DEFAULT_SCHEME}
      forceColorScheme={FORCED}
    >
      <QueryClientProvider client={newQueryClient()}>
        <Notifications position="bottom-right" autoClose={6_000} />
        <App />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);

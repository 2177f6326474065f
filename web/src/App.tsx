import { Loader } from '@mantine/core';
import { type ComponentType, lazy, Suspense } from 'react';
import { Redirect, Route, Switch } from 'wouter';
import { Page } from './components/Page';
import { EmptyState } from './components/Problem';
import { Faults } from './layout/Faults';
import { Shell } from './layout/Shell';

// Every page is a chunk of its own: who looks at the list of tasks does not load the graph.
const pages: [string, ComponentType][] = [
  ['/tasks', lazy(() => import('./pages/tasks/TasksPage'))],
  ['/tasks/new', lazy(() => import('./pages/newtask/NewTaskPage'))],
  ['/stuck', lazy(() => import('./pages/stuck/StuckPage'))],
  ['/definitions', lazy(() => import('./pages/DefinitionsPage'))],
  ['/definitions/:ns/:name', lazy(() => import('./pages/definition/DefinitionPage'))],
  ['/analytics', lazy(() => import('./pages/analytics/AnalyticsPage'))],
  ['/dead-letters', lazy(() => import('./pages/DeadLettersPage'))],
  ['/subscribers', lazy(() => import('./pages/SubscribersPage'))],
  ['/system', lazy(() => import('./pages/system/SystemPage'))],
  ['/login', lazy(() => import('./pages/LoginPage'))],
];
const TaskPage = lazy(() => import('./task'));

export function App() {
  return (
    <Shell>
      <Faults>
        <Suspense fallback={<Loader aria-label="Loading the page" />}>
          <Switch>
            <Route path="/">
              <Redirect to="/tasks" replace />
            </Route>
            {pages.map(([path, Component]) => (
              <Route key={path} path={path}>
                <Component />
              </Route>
            ))}
            <Route path="/tasks/:id">{({ id }) => <TaskPage key={id} id={id} />}</Route>
            <Route>
              <Page title="There is no such page">
                <EmptyState title="Nothing is at this address">
                  Choose a page from the menu, or go to <a href="/tasks">the tasks</a>.
                </EmptyState>
              </Page>
            </Route>
          </Switch>
        </Suspense>
      </Faults>
    </Shell>
  );
}

import {
  ActionIcon,
  AppShell,
  Burger,
  Group,
  Modal,
  Tooltip,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useEffect, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { setToken, token, unauthorized } from '../api/client';
import { useMe } from '../api/queries';
import {
  IconAlert,
  IconChart,
  IconFeed,
  IconGraph,
  IconKey,
  IconList,
  IconMail,
  IconMoon,
  IconPlus,
  IconServer,
  IconSun,
} from '../components/icons';
import { ConnectionBanner } from './ConnectionBanner';
import { PLACES, useKeys } from './keys';

const ICONS = [IconList, IconPlus, IconAlert, IconGraph, IconChart, IconMail, IconFeed, IconServer];

/** The frame of every page: where one can go, who one is, whether the server answers. */
export function Shell({ children }: { children: ReactNode }) {
  const [opened, menu] = useDisclosure(false);
  const [help, helpDialog] = useDisclosure(false);
  const [path, go] = useLocation();
  useLoginWhenAsked();
  useKeys({
    ...Object.fromEntries(PLACES.map((p) => [p.keys, () => go(p.href)])),
    '?': helpDialog.open,
  });
  useEffect(() => {
    if (path) menu.close();
  }, [path, menu.close]);
  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 208, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding={{ base: 'sm', sm: 'md' }}
    >
      <AppShell.Header>
        <a className="skip-link" href="#content">
          Skip to the content
        </a>
        <Group h="100%" px="md" gap="sm" wrap="nowrap">
          <Burger
            opened={opened}
            onClick={menu.toggle}
            hiddenFrom="sm"
            size="sm"
            aria-label={opened ? 'Close the menu' : 'Open the menu'}
            aria-expanded={opened}
          />
          <Link href="/tasks" className="brand">
            <img src="/favicon.svg" width={24} height={24} alt="" />
            Tasker
          </Link>
          <Group ml="auto" gap="xs" wrap="nowrap">
            <Who />
            <Tooltip label="Keys (?)" withArrow>
              <ActionIcon variant="default" size="md" onClick={helpDialog.open} aria-label="Show the keys">
                ?
              </ActionIcon>
            </Tooltip>
            <SchemeToggle />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs">
        <nav aria-label="Pages">
          {PLACES.map((p, i) => {
            const Icon = ICONS[i] ?? IconList;
            return (
              <Link
                key={p.href}
                href={p.href}
                className="nav-link"
                aria-current={isAt(path, p.href) ? 'page' : undefined}
              >
                <Icon />
                {p.name}
              </Link>
            );
          })}
        </nav>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <ConnectionBanner />
        {children}
      </AppShell.Main>
      <KeyHelp opened={help} onClose={helpDialog.close} />
    </AppShell>
  );
}

function isAt(path: string, href: string): boolean {
  if (href === '/tasks')
    return path === '/tasks' || path === '/' || (path.startsWith('/tasks/') && path !== '/tasks/new');
  return path === href || path.startsWith(`${href}/`);
}

/** Leads to /login when the server asks who one is, and remembers the way back. */
function useLoginWhenAsked() {
  const [, go] = useLocation();
  useEffect(() => {
    const ask = () => {
      if (location.pathname === '/login') return;
      go(`/login?next=${encodeURIComponent(location.pathname + location.search)}`, { replace: true });
    };
    unauthorized.addEventListener('unauthorized', ask);
    return () => unauthorized.removeEventListener('unauthorized', ask);
  }, [go]);
}

function Who() {
  const me = useMe();
  const queries = useQueryClient();
  const [, go] = useLocation();
  if (!me.data || me.data.auth === 'off') return null;
  const { name, scopes } = me.data;
  return (
    <Group gap={6} wrap="nowrap" maw={220}>
      <span className="small dimmed cut" title={`${name}: ${scopes.join(', ')}`}>
        {name}
      </span>
      {token() && (
        <Tooltip label="Forget the token" withArrow>
          <ActionIcon
            variant="default"
            aria-label="Forget the token"
            onClick={() => {
              setToken('');
              queries.clear();
              go('/login');
            }}
          >
            <IconKey />
          </ActionIcon>
        </Tooltip>
      )}
    </Group>
  );
}

function SchemeToggle() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light') === 'dark';
  const label = dark ? 'Light colours' : 'Dark colours';
  return (
    <Tooltip label={label} withArrow>
      <ActionIcon variant="default" onClick={() => setColorScheme(dark ? 'light' : 'dark')} aria-label={label}>
        {dark ? <IconSun /> : <IconMoon />}
      </ActionIcon>
    </Tooltip>
  );
}

const PAGE_KEYS: [string, string][] = [
  ['/', 'search'],
  ['j k', 'next and previous row'],
  ['Enter', 'open the row'],
  ['n', 'show new rows'],
  ['Esc', 'leave a field, close a dialog'],
  ['?', 'this list'],
];

function KeyHelp({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const [rows] = useState(() => [...PLACES.map((p): [string, string] => [p.keys, p.name]), ...PAGE_KEYS]);
  return (
    <Modal opened={opened} onClose={onClose} title="Keys" centered>
      <table className="table">
        <tbody>
          {rows.map(([keys, name]) => (
            <tr key={keys}>
              <th scope="row">
                {keys.split(' ').map((k) => (
                  <span key={k}>
                    <kbd>{k}</kbd>{' '}
                  </span>
                ))}
              </th>
              <td>{name}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Modal>
  );
}

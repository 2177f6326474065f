import { localStorageColorSchemeManager, type MantineColorScheme } from '@mantine/core';

/** The scheme that the address asks for (?theme=dark), for links and screenshots; it is kept for the visit only. */
export const FORCED: 'light' | 'dark' | undefined = (() => {
  const asked = new URLSearchParams(location.search).get('theme');
  return asked === 'dark' || asked === 'light' ? asked : undefined;
})();

export const schemeManager = localStorageColorSchemeManager({ key: 'tasker.theme' });

export const DEFAULT_SCHEME: MantineColorScheme = 'auto';

// The few pictures of the UI, drawn here: 16 units wide, stroked with the text's colour, hidden from screen readers.

import type { ReactNode, SVGProps } from 'react';

export type IconProps = SVGProps<SVGSVGElement> & { size?: number };

function Picture({ size = 16, children, ...rest }: IconProps & { children: ReactNode }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.6}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
      {...rest}
    >
      {children}
    </svg>
  );
}

const icon = (paths: ReactNode) => (props: IconProps) => <Picture {...props}>{paths}</Picture>;

export const IconCheck = icon(<path d="M3 8.5 6.5 12 13 4.5" />);
export const IconCross = icon(<path d="m4 4 8 8M12 4l-8 8" />);
export const IconAlert = icon(
  <>
    <path d="M8 2 1.5 13.5h13Z" />
    <path d="M8 6.5v3M8 11.6v.1" />
  </>,
);
export const IconInfo = icon(
  <>
    <circle cx="8" cy="8" r="6.2" />
    <path d="M8 7.5v3.5M8 5v.1" />
  </>,
);
export const IconRun = icon(<path d="M5 3.2 12.5 8 5 12.8Z" fill="currentColor" />);
export const IconClock = icon(
  <>
    <circle cx="8" cy="8" r="6.2" />
    <path d="M8 4.5V8l2.5 1.5" />
  </>,
);
export const IconBan = icon(
  <>
    <circle cx="8" cy="8" r="6.2" />
    <path d="m3.8 3.8 8.4 8.4" />
  </>,
);
export const IconPerson = icon(
  <>
    <circle cx="8" cy="5" r="2.6" />
    <path d="M2.8 14c.5-3 2.6-4.4 5.2-4.4s4.7 1.4 5.2 4.4" />
  </>,
);
export const IconPause = icon(<path d="M5.5 3.5v9M10.5 3.5v9" strokeWidth={2.2} />);
export const IconSkip = icon(
  <>
    <path d="M3 3.5 9 8l-6 4.5Z" />
    <path d="M12.5 3.5v9" />
  </>,
);
export const IconRetry = icon(
  <>
    <path d="M13 8a5 5 0 1 1-1.5-3.5" />
    <path d="M13 2v3h-3" />
  </>,
);
export const IconCopy = icon(
  <>
    <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" />
    <path d="M10.5 5.5v-2a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h2" />
  </>,
);
export const IconSun = icon(
  <>
    <circle cx="8" cy="8" r="3" />
    <path d="M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1" />
  </>,
);
export const IconMoon = icon(<path d="M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z" />);
export const IconSearch = icon(
  <>
    <circle cx="7" cy="7" r="4.5" />
    <path d="m10.5 10.5 3.5 3.5" />
  </>,
);
export const IconList = icon(<path d="M2.5 4h11M2.5 8h11M2.5 12h11" />);
export const IconPlus = icon(<path d="M8 3v10M3 8h10" />);
export const IconGraph = icon(
  <>
    <circle cx="3.5" cy="8" r="1.8" />
    <circle cx="12.5" cy="3.8" r="1.8" />
    <circle cx="12.5" cy="12.2" r="1.8" />
    <path d="M5.2 7.2 10.8 4.6M5.2 8.8l5.6 2.6" />
  </>,
);
export const IconChart = icon(<path d="M2.5 13.5h11M4.5 11V8M8 11V3.5M11.5 11V6" strokeWidth={2} />);
export const IconMail = icon(
  <>
    <rect x="2" y="3.5" width="12" height="9" rx="1.2" />
    <path d="m2.5 5 5.5 4 5.5-4" />
  </>,
);
export const IconFeed = icon(
  <>
    <path d="M3 8a5 5 0 0 1 5 5M3 3.5A9.5 9.5 0 0 1 12.5 13" />
    <circle cx="3.8" cy="12.2" r="1" fill="currentColor" />
  </>,
);
export const IconServer = icon(
  <>
    <rect x="2" y="2.5" width="12" height="4.5" rx="1" />
    <rect x="2" y="9" width="12" height="4.5" rx="1" />
    <path d="M4.5 4.8v.1M4.5 11.3v.1" />
  </>,
);
export const IconKey = icon(
  <>
    <circle cx="5" cy="11" r="2.8" />
    <path d="m7 9 6-6M11 5l2 2" />
  </>,
);
export const IconDown = icon(<path d="m4 6 4 4 4-4" />);
export const IconRight = icon(<path d="m6 4 4 4-4 4" />);
export const IconTrash = icon(<path d="M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.7 9h5.6l.7-9" />);

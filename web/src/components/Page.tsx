import type { ReactNode } from 'react';
import { usePageTitle } from './Time';

/** Every page: its title, also of the document, what can be done with the whole of it, and what is below. */
export function Page({
  title,
  documentTitle,
  actions,
  lead,
  children,
}: {
  title: ReactNode;
  /** when the title is not a text */
  documentTitle?: string;
  actions?: ReactNode;
  lead?: ReactNode;
  children: ReactNode;
}) {
  usePageTitle(documentTitle ?? (typeof title === 'string' ? title : ''));
  return (
    <div className="page">
      <header className="page-head">
        <div className="page-title">
          <h1>{title}</h1>
          {lead && <p className="dimmed">{lead}</p>}
        </div>
        {actions && <div className="page-actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

/** A part of a page with a heading. */
export function Panel({ title, actions, children }: { title: ReactNode; actions?: ReactNode; children: ReactNode }) {
  return (
    <section className="panel">
      <div className="panel-head">
        <h2>{title}</h2>
        {actions && <div className="panel-actions">{actions}</div>}
      </div>
      {children}
    </section>
  );
}

/** What scrolls sideways in a narrow window, so that the page does not. */
export function Scroll({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard
    <section className="scroll" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}

/** Figures in a row: a name over a value. */
export function Figures({ items }: { items: { name: string; value: ReactNode; hint?: ReactNode; bad?: boolean }[] }) {
  return (
    <dl className="figures">
      {items.map((i) => (
        <div key={i.name} className={i.bad ? 'figure bad' : 'figure'}>
          <dt>{i.name}</dt>
          <dd>{i.value}</dd>
          {i.hint && <dd className="figure-hint">{i.hint}</dd>}
        </div>
      ))}
    </dl>
  );
}

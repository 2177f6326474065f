import { ActionIcon, Button, CopyButton, Tooltip } from '@mantine/core';
import { useMemo, useState } from 'react';
import type { Json } from '../api/types';
import { bytes, count } from './format';
import { IconCheck, IconCopy, IconDown, IconRight } from './icons';

/** Children of one node that are shown before "more" is asked for. */
const PAGE = 100;
/** Characters of one string that are shown before "more" is asked for. */
const LONG_STRING = 400;
/** Characters of the whole text up to which everything is open from the start. */
const SMALL = 1_200;

/**
 * A JSON value to read: what is large is closed, long lists and strings come in parts, so that a value of a megabyte does not
 * stop the page. `open` is how many levels are open at first.
 */
export function JsonView({ value, open, label }: { value: Json | undefined; open?: number; label?: string }) {
  const text = useMemo(() => (value === undefined ? '' : JSON.stringify(value, null, 2)), [value]);
  if (value === undefined) return <span className="dimmed">nothing</span>;
  const levels = open ?? (text.length <= SMALL ? 99 : 1);
  return (
    <section className="json" aria-label={label ?? 'JSON'}>
      <div className="json-tools">
        {text.length > SMALL && <span className="dimmed small">{bytes(text.length)}</span>}
        <Copy text={text} what={label ?? 'JSON'} />
      </div>
      <Node value={value} open={levels} />
    </section>
  );
}

/** A button that copies a text. */
export function Copy({ text, what }: { text: string; what: string }) {
  return (
    <CopyButton value={text} timeout={1_500}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? 'Copied' : `Copy ${what}`} withArrow>
          <ActionIcon
            variant="subtle"
            color="gray"
            size="sm"
            onClick={copy}
            aria-label={copied ? 'Copied' : `Copy ${what}`}
          >
            {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

function Node({ value, open, name, last = true }: { value: Json; open: number; name?: string; last?: boolean }) {
  const comma = last ? '' : ',';
  if (value === null || typeof value !== 'object') {
    return (
      <div className="json-line">
        <Name name={name} />
        <Leaf value={value} />
        {comma}
      </div>
    );
  }
  return <Branch value={value} open={open} name={name} comma={comma} />;
}

function Name({ name }: { name: string | undefined }) {
  if (name === undefined) return null;
  return (
    <>
      <span className="json-key">{JSON.stringify(name)}</span>
      {': '}
    </>
  );
}

function Leaf({ value }: { value: null | boolean | number | string }) {
  const [whole, setWhole] = useState(false);
  if (typeof value !== 'string') return <span className="json-word">{String(value)}</span>;
  const cut = value.length > LONG_STRING && !whole;
  return (
    <>
      <span className="json-string">{JSON.stringify(cut ? value.slice(0, LONG_STRING) : value)}</span>
      {cut && (
        <Button size="compact-xs" variant="subtle" onClick={() => setWhole(true)}>
          … {count(value.length - LONG_STRING)} more characters
        </Button>
      )}
    </>
  );
}

function Branch({
  value,
  open,
  name,
  comma,
}: {
  value: Json[] | { [key: string]: Json };
  open: number;
  name: string | undefined;
  comma: string;
}) {
  const [isOpen, setOpen] = useState(open > 0);
  const [shown, setShown] = useState(PAGE);
  const list = Array.isArray(value);
  const keys = list ? undefined : Object.keys(value);
  const size = keys?.length ?? (value as Json[]).length;
  const [begin, end] = list ? '[]' : '{}';
  if (size === 0) {
    return (
      <div className="json-line">
        <Name name={name} />
        {begin}
        {end}
        {comma}
      </div>
    );
  }
  const what = `${count(size)} ${list ? (size === 1 ? 'item' : 'items') : size === 1 ? 'field' : 'fields'}`;
  const visible = Math.min(size, shown);
  return (
    <div className="json-branch">
      <button type="button" className="json-toggle" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        {isOpen ? <IconDown size={11} /> : <IconRight size={11} />}
        <Name name={name} />
        {begin}
        {!isOpen && (
          <span className="dimmed">
            {' '}
            {what} {end}
            {comma}
          </span>
        )}
      </button>
      {isOpen && (
        <>
          <div className="json-children">
            {Array.from({ length: visible }, (_, i) => {
              const key = keys?.[i];
              const child = key === undefined ? (value as Json[])[i] : (value as { [key: string]: Json })[key];
              return <Node key={key ?? i} value={child as Json} name={key} open={open - 1} last={i === size - 1} />;
            })}
            {visible < size && (
              <Button size="compact-xs" variant="subtle" onClick={() => setShown(shown + 10 * PAGE)}>
                … {count(size - visible)} more
              </Button>
            )}
          </div>
          <div className="json-line">
            {end}
            {comma}
          </div>
        </>
      )}
    </div>
  );
}

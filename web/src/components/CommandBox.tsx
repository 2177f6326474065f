import { Copy } from './Json';

/** A command of the command line that does the same as the page, to copy. */
export function CommandBox({ command, label = 'command' }: { command: string; label?: string }) {
  return (
    <div className="command">
      <span aria-hidden="true" className="dimmed">
        $
      </span>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard */}
      <code tabIndex={0}>{command}</code>
      <Copy text={command} what={label} />
    </div>
  );
}

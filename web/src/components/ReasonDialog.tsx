import { Button, Group, Modal, Stack, Textarea } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { CommandBox } from './CommandBox';
import { ProblemAlert } from './Problem';

export interface ReasonDialogProps<T> {
  opened: boolean;
  onClose: () => void;
  /** "Cancel this task?" */
  title: string;
  /** what the verb does, and what it cannot undo */
  children?: ReactNode;
  /** "Cancel the task": the button */
  action: string;
  danger?: boolean;
  /** Whether the button waits for a reason; default false. */
  reasonRequired?: boolean;
  /** The verb takes no reason. */
  noReason?: boolean;
  /** the same for the command line, made with the reason */
  command?: (reason: string) => string;
  /** What else has to be right: the button is off while this says what is wrong. */
  invalid?: string;
  run: (reason: string) => Promise<T>;
  onDone?: (result: T) => void;
  /** The notice afterwards; default: the action and "done". */
  done?: (result: T) => string;
}

/** Asks for a reason and does it; a refusal is shown where the reason was given, and nothing is lost. */
export function ReasonDialog<T>(props: ReasonDialogProps<T>) {
  return (
    <Modal opened={props.opened} onClose={props.onClose} title={props.title} size="lg" centered>
      {props.opened && <ReasonForm {...props} />}
    </Modal>
  );
}

function ReasonForm<T>(props: ReasonDialogProps<T>) {
  const [reason, setReason] = useState('');
  const run = useMutation({
    mutationFn: () => props.run(reason.trim()),
    onSuccess: (result) => {
      notifications.show({ message: props.done?.(result) ?? `${props.action}: done`, color: 'teal' });
      props.onDone?.(result);
      props.onClose();
    },
  });
  const blocked = run.isPending || (props.reasonRequired && reason.trim() === '') || Boolean(props.invalid);
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (!blocked) run.mutate();
      }}
    >
      <Stack gap="sm">
        {props.children}
        {!props.noReason && (
          <Textarea
            label="Reason"
            description="It is kept with the event, for whoever looks later."
            value={reason}
            onChange={(e) => setReason(e.currentTarget.value)}
            maxLength={1_000}
            autosize
            minRows={2}
            maxRows={6}
            required={props.reasonRequired}
            data-autofocus
          />
        )}
        {props.command && <CommandBox command={props.command(reason.trim())} />}
        {props.invalid && (
          <p role="status" className="field-error">
            {props.invalid}
          </p>
        )}
        {run.isError && <ProblemAlert error={run.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={props.onClose} disabled={run.isPending}>
            Back
          </Button>
          <Button type="submit" color={props.danger ? 'red' : undefined} loading={run.isPending} disabled={blocked}>
            {props.action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** A word for the command line of a shell, quoted when it has to be. */
export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** " --reason '…'" when there is one. */
export function reasonFlag(reason: string): string {
  return reason ? ` --reason ${shellQuote(reason)}` : '';
}

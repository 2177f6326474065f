import { Button } from '@mantine/core';
import { Component, type ReactNode } from 'react';
import { ProblemAlert } from '../components/Problem';

/** Shows a fault of a page in its place; the rest of the UI goes on. A chunk that is gone means a newer UI: load that. */
export class Faults extends Component<{ children: ReactNode }, { error: unknown }> {
  override state: { error: unknown } = { error: undefined };
  #path = location.pathname;

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override componentDidUpdate() {
    if (location.pathname === this.#path) return;
    this.#path = location.pathname;
    if (this.state.error !== undefined) this.setState({ error: undefined });
  }

  override render() {
    if (this.state.error === undefined) return this.props.children;
    return (
      <ProblemAlert error={this.state.error}>
        <Button size="xs" onClick={() => location.reload()}>
          Reload
        </Button>
      </ProblemAlert>
    );
  }
}

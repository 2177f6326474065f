import { type Counts, STATES, type State } from '../../api/types';
import { few } from '../../components/format';
import { STATE_TEXT, StateIcon } from '../../components/StateBadge';

/** A switch for every state, with how many tasks are in it. */
export function StateChips({
  counts,
  chosen,
  onChange,
}: {
  counts: Counts | undefined;
  chosen: State[];
  onChange: (states: State[]) => void;
}) {
  const total = counts && `${few(counts.total)}${counts.at_least ? '+' : ''}`;
  return (
    <fieldset className="chips state-chips">
      <legend className="visually-hidden">States</legend>
      <button type="button" className="chip" aria-pressed={chosen.length === 0} onClick={() => onChange([])}>
        all <span className="number">{total}</span>
      </button>
      {STATES.map((s) => {
        const on = chosen.includes(s);
        return (
          <button
            key={s}
            type="button"
            className={`chip state-${s}`}
            aria-pressed={on}
            onClick={() => onChange(on ? chosen.filter((x) => x !== s) : [...chosen, s])}
          >
            <StateIcon state={s} />
            {STATE_TEXT[s]} <span className="number">{counts ? few(counts.states[s] ?? 0) : ''}</span>
          </button>
        );
      })}
    </fieldset>
  );
}

import { count } from '../../components/format';

/** The last values as a line; the text says the newest and the highest. */
export function Sparkline({ values, label }: { values: number[]; label: string }) {
  const most = Math.max(1, ...values);
  const width = 110;
  const points = values.map((v, i) => `${(i * width) / Math.max(1, values.length - 1)},${22 - (20 * v) / most}`);
  return (
    <svg
      width="100%"
      height={24}
      viewBox={`0 0 ${width} 24`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${label}: now ${count(values.at(-1) ?? 0)}, at most ${count(Math.max(0, ...values))}`}
    >
      {points.length > 1 && (
        <polyline
          points={points.join(' ')}
          fill="none"
          stroke="var(--s-in_progress)"
          strokeWidth={1.5}
          vectorEffect="non-scaling-stroke"
        />
      )}
    </svg>
  );
}

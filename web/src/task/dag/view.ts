/** What part of a plane is seen: screen = plane * k + (x, y). */
export interface View {
  x: number;
  y: number;
  k: number;
}

export const limits = { least: 0.005, most: 3 };

/** Zooms about a point of the screen. */
export function zoomed(v: View, factor: number, at: { x: number; y: number }): View {
  const k = Math.min(limits.most, Math.max(limits.least, v.k * factor));
  return { k, x: at.x - ((at.x - v.x) / v.k) * k, y: at.y - ((at.y - v.y) / v.k) * k };
}

/** All of a plane in the middle of a screen, not larger than life. */
export function fitted(
  plane: { width: number; height: number },
  screen: { width: number; height: number },
  margin = 16,
): View {
  const room = { width: Math.max(1, screen.width - 2 * margin), height: Math.max(1, screen.height - 2 * margin) };
  const k = Math.min(1, room.width / Math.max(1, plane.width), room.height / Math.max(1, plane.height));
  return { k, x: (screen.width - plane.width * k) / 2, y: (screen.height - plane.height * k) / 2 };
}

export interface Gestures {
  view: () => View;
  move: (v: View) => void;
  tap: (x: number, y: number) => void;
}

const slop = 4; // pixels that a finger may tremble before a tap becomes a drag

/** Drag, wheel and pinch on an element. Gives what ends it. */
export function listen(element: HTMLElement, g: Gestures): () => void {
  const down = new Map<number, { x: number; y: number }>();
  let travelled = 0;
  const at = (e: MouseEvent) => {
    const box = element.getBoundingClientRect();
    return { x: e.clientX - box.left, y: e.clientY - box.top };
  };
  const press = (e: PointerEvent) => {
    if (down.size === 0) travelled = 0;
    down.set(e.pointerId, at(e));
    element.setPointerCapture(e.pointerId);
  };
  const drag = (e: PointerEvent) => {
    const before = down.get(e.pointerId);
    if (!before) return;
    const now = at(e);
    const view = g.view();
    const other = [...down].find(([id]) => id !== e.pointerId)?.[1];
    travelled += Math.hypot(now.x - before.x, now.y - before.y);
    down.set(e.pointerId, now);
    if (travelled < slop) return;
    if (other) {
      const apart = (p: { x: number; y: number }) => Math.max(1, Math.hypot(p.x - other.x, p.y - other.y));
      g.move(zoomed(view, apart(now) / apart(before), other));
    } else g.move({ ...view, x: view.x + now.x - before.x, y: view.y + now.y - before.y });
  };
  const release = (e: PointerEvent) => {
    const last = down.get(e.pointerId);
    down.delete(e.pointerId);
    if (last && e.type === 'pointerup' && down.size === 0 && travelled < slop) g.tap(last.x, last.y);
  };
  const wheel = (e: WheelEvent) => {
    e.preventDefault();
    g.move(zoomed(g.view(), Math.exp(-e.deltaY * (e.deltaMode === 1 ? 0.05 : 0.002)), at(e)));
  };
  element.addEventListener('pointerdown', press);
  element.addEventListener('pointermove', drag);
  element.addEventListener('pointerup', release);
  element.addEventListener('pointercancel', release);
  element.addEventListener('wheel', wheel, { passive: false });
  return () => {
    element.removeEventListener('pointerdown', press);
    element.removeEventListener('pointermove', drag);
    element.removeEventListener('pointerup', release);
    element.removeEventListener('pointercancel', release);
    element.removeEventListener('wheel', wheel);
  };
}

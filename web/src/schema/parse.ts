import type { Json, JsonObject } from '../api/types';

/** The object that somebody typed, or what is wrong with it. */
export function parseObject(typed: string): JsonObject | string {
  let parsed: Json;
  try {
    parsed = JSON.parse(typed) as Json;
  } catch (e) {
    return `is no JSON: ${e instanceof Error ? e.message : e}`;
  }
  return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? parsed : 'has to be an object: {…}';
}

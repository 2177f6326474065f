// What a form has to know of a JSON schema. Only what a field can show is understood here; whether a value fits is the validator's
// to say (validate.ts), which knows all of JSON Schema.

import type { Json, JsonObject } from '../api/types';

export type Kind = 'text' | 'number' | 'integer' | 'boolean' | 'choice' | 'object' | 'list' | 'json';

/** A schema as a form sees it. */
export interface Field {
  kind: Kind;
  title: string;
  description: string;
  /** of kind choice */
  choices: Json[];
  /** of kind object, in the order of the schema */
  properties: [string, Json][];
  required: string[];
  /** of kind list */
  items: Json;
  minItems: number;
  maxItems: number;
  format: string;
  multiline: boolean;
  default: Json | undefined;
  example: string;
  nullable: boolean;
}

const isObject = (x: Json | undefined): x is JsonObject => typeof x === 'object' && x !== null && !Array.isArray(x);
const text = (x: Json | undefined) => (typeof x === 'string' ? x : '');
const number = (x: Json | undefined, otherwise: number) => (typeof x === 'number' ? x : otherwise);

/** Follows local references ("#/$defs/x"), at most a few deep; what cannot be followed is any value. */
export function resolve(schema: Json | undefined, root: Json, depth = 0): JsonObject {
  if (!isObject(schema)) return {};
  const ref = schema.$ref;
  if (typeof ref !== 'string') return schema;
  if (!ref.startsWith('#') || depth > 16) return {};
  let at: Json | undefined = root;
  for (const part of ref.slice(1).split('/').filter(Boolean)) {
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    at = isObject(at) || Array.isArray(at) ? (at as JsonObject)[key] : undefined;
  }
  const { $ref: _, ...beside } = schema;
  return { ...resolve(at, root, depth + 1), ...beside };
}

export function fieldOf(schema: Json | undefined, root: Json, name = ''): Field {
  const s = resolve(schema, root);
  const types = Array.isArray(s.type) ? s.type : [s.type];
  const nullable = types.includes('null');
  const examples = Array.isArray(s.examples) ? s.examples : [];
  const properties = isObject(s.properties) ? Object.entries(s.properties) : [];
  const choices = Array.isArray(s.enum) ? s.enum : s.const !== undefined ? [s.const] : [];
  return {
    kind: kindOf(
      s,
      types.filter((t) => t !== 'null'),
    ),
    title: text(s.title) || name,
    description: text(s.description),
    choices,
    properties,
    required: Array.isArray(s.required) ? s.required.filter((r): r is string => typeof r === 'string') : [],
    items: s.items ?? {},
    minItems: number(s.minItems, 0),
    maxItems: number(s.maxItems, Number.POSITIVE_INFINITY),
    format: text(s.format),
    multiline: number(s.maxLength, 0) > 200,
    default: s.default,
    example:
      examples.length > 0 ? String(typeof examples[0] === 'object' ? JSON.stringify(examples[0]) : examples[0]) : '',
    nullable,
  };
}

function kindOf(s: JsonObject, types: (Json | undefined)[]): Kind {
  if (s.oneOf || s.anyOf || s.allOf || s.not || s.if) return 'json';
  if (Array.isArray(s.enum) || s.const !== undefined) return 'choice';
  const [type] = types;
  if (types.length > 1) return 'json';
  switch (type) {
    case 'string':
      return 'text';
    case 'number':
    case 'integer':
    case 'boolean':
      return type;
    case 'object':
      return isObject(s.properties) && !isObject(s.additionalProperties) && !s.patternProperties ? 'object' : 'json';
    case 'array':
      return s.items !== undefined && !s.prefixItems && !Array.isArray(s.items) ? 'list' : 'json';
    case undefined:
      return isObject(s.properties) ? 'object' : 'json';
    default:
      return 'json';
  }
}

/** What a form begins with: the defaults, and the objects and items that are required. undefined: nothing. */
export function initialValue(schema: Json | undefined, root: Json, required = true, depth = 0): Json | undefined {
  const f = fieldOf(schema, root);
  if (f.default !== undefined) return structuredClone(f.default);
  if (depth > 8) return undefined;
  if (f.kind === 'object') {
    const entries = f.properties
      .map(([name, s]) => [name, initialValue(s, root, f.required.includes(name), depth + 1)] as const)
      .filter(([, v]) => v !== undefined);
    return required || entries.length > 0 ? (Object.fromEntries(entries) as JsonObject) : undefined;
  }
  if (f.kind === 'list' && required && f.minItems > 0) {
    return Array.from({ length: Math.min(f.minItems, 20) }, () => initialValue(f.items, root, true, depth + 1) ?? null);
  }
  if (f.kind === 'choice' && required && f.choices.length === 1) return f.choices[0];
  return undefined;
}

/** The value with another one at the path; undefined takes a field away, an item of a list becomes null. */
export function setAt(
  value: Json | undefined,
  path: readonly (string | number)[],
  to: Json | undefined,
): Json | undefined {
  const [key, ...rest] = path;
  if (key === undefined) return to;
  if (typeof key === 'number') {
    const list = Array.isArray(value) ? [...value] : [];
    list[key] = setAt(list[key], rest, to) ?? null;
    return list;
  }
  const object: JsonObject = isObject(value) ? { ...value } : {};
  const next = setAt(object[key], rest, to);
  if (next === undefined) delete object[key];
  else object[key] = next;
  return object;
}

/** JSON pointer of a path (RFC 6901). */
export function pointer(path: readonly (string | number)[]): string {
  return path.map((p) => `/${String(p).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** What somebody typed as a number: the number, or the text as it is, of which the validator says that it is none. */
export function typedNumber(typed: string): number | string | undefined {
  const trimmed = typed.trim();
  if (trimmed === '') return undefined;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed) ? Number(trimmed) : typed;
}

/**
 * The pointer into the context of where the server found something: "body.context/items/0" is /items/0. undefined: it is not about
 * the context.
 */
export function pointerOfLocation(location: string | undefined): string | undefined {
  const inside = /^(?:body\.)?context([/.].*)?$/.exec(location ?? '');
  if (!inside) return location?.startsWith('/') ? location : undefined;
  const rest = inside[1] ?? '';
  if (rest.startsWith('/')) return rest;
  return rest.replaceAll(/\[(\d+)\]/g, '.$1').replaceAll('.', '/');
}

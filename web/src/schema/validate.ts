// Whether a value fits its schema, in words for who fills in a form. The server has the last word: what its validator sees otherwise,
// it says when the task is submitted.

import { type Schema, Validator } from '@cfworker/json-schema';
import type { Json, JsonObject } from '../api/types';
import { resolve } from './schema';

/** Problems by JSON pointer; "" is the whole value. */
export type Problems = Map<string, string[]>;

export function validate(schema: Json | undefined, value: Json): Problems {
  const problems: Problems = new Map();
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return problems;
  let errors: { instanceLocation: string; keyword: string; keywordLocation: string; error: string }[];
  try {
    errors = new Validator(schema as Schema, '2020-12', false).validate(value).errors;
  } catch {
    return problems; // a schema that cannot be read here: the server will say
  }
  for (const e of errors) {
    const at = e.instanceLocation.replace(/^#/, '');
    const rule = ruleAt(schema as JsonObject, e.keywordLocation);
    for (const [where, message] of words(e.keyword, e.error, at, rule)) {
      const there = problems.get(where) ?? [];
      if (!there.includes(message)) problems.set(where, [...there, message]);
    }
  }
  return problems;
}

/** What the schema says at the place of a keyword: 3 of "minLength": 3. */
function ruleAt(schema: JsonObject, location: string): Json | undefined {
  let at: Json | undefined = schema;
  for (const part of location.replace(/^#\/?/, '').split('/').filter(Boolean)) {
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    if (key === '$ref') continue; // resolved with the next step
    if (typeof at !== 'object' || at === null) return undefined;
    const here: JsonObject = Array.isArray(at) ? (at as unknown as JsonObject) : resolve(at, schema);
    at = here[key];
  }
  return at;
}

// Keywords that only say that something below them is wrong, which is said by itself.
const CONTAINERS = new Set([
  'properties',
  'items',
  'prefixItems',
  '$ref',
  'allOf',
  'if',
  'then',
  'else',
  'additionalProperties',
  'false',
]);

function words(keyword: string, error: string, at: string, rule: Json | undefined): [string, string][] {
  const n = typeof rule === 'number' ? rule : 0;
  switch (keyword) {
    case 'required': {
      const name = /required property "(.*)"/.exec(error)?.[1];
      return name === undefined
        ? [[at, error]]
        : [[`${at}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, 'is required']];
    }
    case 'additionalProperties':
    case 'unevaluatedProperties': {
      const name = /Property "(.*?)" does not match/.exec(error)?.[1];
      return name === undefined ? [] : [[at, `"${name}" is not known here`]];
    }
    case 'type':
      return [[at, `has to be ${[rule].flat().join(' or ')}`]];
    case 'enum':
      return [[at, `has to be one of ${JSON.stringify(rule)}`]];
    case 'const':
      return [[at, `has to be ${JSON.stringify(rule)}`]];
    case 'minLength':
      return [[at, `has to have ${n} characters at least`]];
    case 'maxLength':
      return [[at, `may have ${n} characters at most`]];
    case 'minItems':
      return [[at, `needs ${n} ${n === 1 ? 'item' : 'items'} at least`]];
    case 'maxItems':
      return [[at, `may have ${n} ${n === 1 ? 'item' : 'items'} at most`]];
    case 'uniqueItems':
      return [[at, 'has the same item twice']];
    case 'minimum':
      return [[at, `has to be ${n} or more`]];
    case 'exclusiveMinimum':
      return [[at, `has to be more than ${n}`]];
    case 'maximum':
      return [[at, `has to be ${n} or less`]];
    case 'exclusiveMaximum':
      return [[at, `has to be less than ${n}`]];
    case 'multipleOf':
      return [[at, `has to be a multiple of ${n}`]];
    case 'pattern':
      return [[at, `has to look like ${String(rule)}`]];
    case 'format':
      return [[at, `is no ${String(rule)}`]];
    default:
      return CONTAINERS.has(keyword) ? [] : [[at, error]];
  }
}

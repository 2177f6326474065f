import { describe, expect, it } from 'vitest';
import { fieldOf, initialValue, pointer, pointerOfLocation, resolve, setAt, typedNumber } from './schema';
import { validate } from './validate';

const order = {
  type: 'object',
  required: ['order', 'items'],
  properties: {
    order: { type: 'string', pattern: '^SO-\\d+$' },
    priority: { type: 'string', enum: ['low', 'high'], default: 'low' },
    gift: { type: 'boolean' },
    items: { type: 'array', minItems: 1, items: { $ref: '#/$defs/item' } },
    address: {
      type: 'object',
      required: ['city'],
      properties: { city: { type: 'string' }, country: { type: 'string', maxLength: 2 } },
    },
    note: { type: ['string', 'null'], maxLength: 500 },
    either: { oneOf: [{ type: 'string' }, { type: 'number' }] },
    free: { type: 'object', additionalProperties: { type: 'string' } },
  },
  additionalProperties: false,
  $defs: {
    item: {
      type: 'object',
      required: ['sku'],
      properties: { sku: { type: 'string', minLength: 3 }, quantity: { type: 'integer', default: 1 } },
    },
  },
};

describe('a field of a schema', () => {
  it.each([
    ['order', 'text'],
    ['priority', 'choice'],
    ['gift', 'boolean'],
    ['items', 'list'],
    ['address', 'object'],
    ['note', 'text'],
    ['either', 'json'],
    ['free', 'json'],
  ] as const)('%s is shown as %s', (name, kind) => {
    expect(fieldOf(order.properties[name], order, name).kind).toBe(kind);
  });

  it('is written in several lines when it may be long, and knows that null is allowed', () => {
    expect(fieldOf(order.properties.note, order)).toMatchObject({ multiline: true, nullable: true });
  });

  it('is followed through references, with what stands beside them', () => {
    expect(resolve({ $ref: '#/$defs/item', title: 'Item' }, order)).toMatchObject({ title: 'Item', required: ['sku'] });
  });

  it('that refers to itself, to nothing or elsewhere ends as any value', () => {
    expect(fieldOf({ $ref: '#' }, { $ref: '#' }).kind).toBe('json');
    expect(fieldOf({ $ref: '#/$defs/none' }, order).kind).toBe('json');
    expect(fieldOf({ $ref: 'https://example.org/x' }, order).kind).toBe('json');
  });
});

describe('the first value of a form', () => {
  it('has the defaults and what is required, and nothing else', () => {
    expect(initialValue(order, order)).toEqual({ priority: 'low', items: [{ quantity: 1 }] });
  });

  it('of a schema that contains itself ends', () => {
    const tree = { type: 'object', required: ['child'], properties: { child: { $ref: '#' } } };
    expect(JSON.stringify(initialValue(tree, tree)).length).toBeLessThan(200);
  });

  it('does not share the default with the schema', () => {
    const schema = { type: 'object', properties: { a: { type: 'array', items: {}, default: [1] } } };
    const value = initialValue(schema, schema) as { a: number[] };
    value.a.push(2);
    expect(schema.properties.a.default).toEqual([1]);
  });
});

describe('a change of a value', () => {
  it('makes what is on the way and leaves the old value alone', () => {
    const old = { a: { b: [1, 2] } };
    expect(setAt(old, ['a', 'b', 1], 3)).toEqual({ a: { b: [1, 3] } });
    expect(setAt(undefined, ['x', 0, 'y'], true)).toEqual({ x: [{ y: true }] });
    expect(old).toEqual({ a: { b: [1, 2] } });
  });

  it('takes a field away that is emptied', () => {
    expect(setAt({ a: 1, b: 2 }, ['a'], undefined)).toEqual({ b: 2 });
  });

  it('escapes names in pointers', () => {
    expect(pointer(['a/b', 0, 'c~d'])).toBe('/a~1b/0/c~0d');
  });
});

describe('a typed number', () => {
  it.each([
    ['12', 12],
    ['-0.5', -0.5],
    ['1e3', 1000],
    ['', undefined],
    ['0x10', '0x10'],
    ['twelve', 'twelve'],
    ['1,5', '1,5'],
    ['Infinity', 'Infinity'],
  ])('%j is %j', (typed, value) => {
    expect(typedNumber(typed)).toBe(value);
  });
});

describe('what the server says', () => {
  it.each([
    ['body.context/items/0', '/items/0'],
    ['body.context.items[0].sku', '/items/0/sku'],
    ['body.context', ''],
    ['/order', '/order'],
    ['body.name', undefined],
    ['body.contextual', undefined],
    [undefined, undefined],
  ])('about %j is shown at %j', (location, at) => {
    expect(pointerOfLocation(location)).toBe(at);
  });
});

describe('a value that does not fit', () => {
  const problems = (value: Parameters<typeof validate>[1]) => Object.fromEntries(validate(order, value));

  it('says what is missing at the field that is empty', () => {
    expect(problems({})).toEqual({ '/order': ['is required'], '/items': ['is required'] });
    expect(problems({ order: 'SO-1', items: [{}], address: {} })).toEqual({
      '/items/0/sku': ['is required'],
      '/address/city': ['is required'],
    });
  });

  it('says what a field has to be, with the rule', () => {
    expect(problems({ order: 'X', items: [], priority: 'urgent', note: 7 })).toEqual({
      '/order': ['has to look like ^SO-\\d+$'],
      '/items': ['needs 1 item at least'],
      '/priority': ['has to be one of ["low","high"]'],
      '/note': ['has to be string or null'],
    });
    expect(problems({ order: 'SO-1', items: [{ sku: 'ab', quantity: 1.5 }] })).toEqual({
      '/items/0/sku': ['has to have 3 characters at least'],
      '/items/0/quantity': ['has to be integer'],
    });
  });

  it('names a field that the schema does not know', () => {
    expect(problems({ order: 'SO-1', items: [{ sku: 'abc' }], colour: 'red' })).toEqual({
      '': ['"colour" is not known here'],
    });
  });

  it('that fits has none', () => {
    expect(problems({ order: 'SO-1', items: [{ sku: 'abc', quantity: 2 }], note: null, either: 3 })).toEqual({});
  });

  it('has none without a schema', () => {
    expect(validate(undefined, { a: 1 }).size).toBe(0);
    expect(validate(true, { a: 1 }).size).toBe(0);
  });
});

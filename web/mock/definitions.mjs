// The definitions of the mock: a small DAG, one of 200 steps, one that fails, one with a schema of every kind of field.

const order = {
  namespace: 'shop',
  name: 'process_order',
  version: '1.2.0',
  description: 'Check, pay, pack and send an order',
  schema: {
    type: 'object',
    required: ['order', 'customer', 'items'],
    properties: {
      order: {
        type: 'string',
        title: 'Order',
        description: 'as the shop numbers it',
        pattern: '^[A-Z]{2}-\\d+$',
        examples: ['SO-1042'],
      },
      customer: { type: 'string', format: 'email' },
      priority: { type: 'string', enum: ['low', 'normal', 'high'], default: 'normal' },
      gift: { type: 'boolean', default: false, description: 'Wrap it and leave out the price' },
      discount: { type: 'number', minimum: 0, maximum: 1, default: 0 },
      deliver_on: { type: 'string', format: 'date' },
      items: {
        type: 'array',
        minItems: 1,
        items: {
          type: 'object',
          required: ['sku', 'quantity'],
          properties: { sku: { type: 'string', minLength: 3 }, quantity: { type: 'integer', minimum: 1, default: 1 } },
          additionalProperties: false,
        },
      },
      address: {
        type: 'object',
        required: ['city'],
        properties: {
          street: { type: 'string' },
          city: { type: 'string' },
          country: { type: 'string', default: 'DE', maxLength: 2 },
        },
      },
      note: { type: ['string', 'null'], maxLength: 500 },
    },
    additionalProperties: false,
  },
  steps: [
    { name: 'validate', handler: 'validate_order', description: 'The order is complete and the customer exists' },
    { name: 'reserve_stock', handler: 'http', depends_on: ['validate'], dependent_system: 'stock', retry_limit: 5 },
    {
      name: 'charge',
      handler: 'payment',
      depends_on: ['validate'],
      dependent_system: 'psp',
      retry_limit: 3,
      timeout_ns: 30e9,
    },
    { name: 'pack', handler: 'warehouse', depends_on: ['reserve_stock', 'charge'] },
    { name: 'send_mail', handler: 'mail', depends_on: ['charge'], optional: true, skippable: true },
    { name: 'ship', handler: 'carrier', depends_on: ['pack'], dependent_system: 'carrier', retry_limit: 4 },
  ],
};

const importFiles = {
  namespace: 'data',
  name: 'import_files',
  version: '2.0.0',
  description: 'List, copy 197 files at once, and add up',
  schema: {
    type: 'object',
    properties: { bucket: { type: 'string', default: 'incoming' }, dry_run: { type: 'boolean' } },
  },
  steps: [
    { name: 'list', handler: 's3_list' },
    ...Array.from({ length: 197 }, (_, i) => ({
      name: `copy_${String(i + 1).padStart(3, '0')}`,
      handler: 's3_copy',
      depends_on: ['list'],
    })),
    {
      name: 'sum',
      handler: 'sum',
      depends_on: Array.from({ length: 197 }, (_, i) => `copy_${String(i + 1).padStart(3, '0')}`),
    },
    { name: 'report', handler: 'mail', depends_on: ['sum'] },
  ],
};

const refund = {
  namespace: 'shop',
  name: 'refund',
  version: '0.9.0',
  description: 'Give money back; the bank is down more often than not',
  schema: {
    type: 'object',
    required: ['payment', 'amount'],
    properties: { payment: { type: 'string', format: 'uuid' }, amount: { type: 'number', exclusiveMinimum: 0 } },
  },
  steps: [
    { name: 'check', handler: 'validate_refund' },
    { name: 'pay_back', handler: 'bank', depends_on: ['check'], dependent_system: 'bank', retry_limit: 2, fails: 0.9 },
    { name: 'tell', handler: 'mail', depends_on: ['pay_back'] },
  ],
};

const nightly = {
  namespace: 'default',
  name: 'nightly_report',
  version: '1.0.0',
  description: 'Numbers of yesterday',
  steps: [
    { name: 'extract', handler: 'sql' },
    { name: 'transform', handler: 'spark', depends_on: ['extract'] },
    { name: 'approve', handler: 'approval_desk', depends_on: ['transform'], never: true },
    { name: 'publish', handler: 'http', depends_on: ['approve'] },
  ],
};

export const definitions = [order, importFiles, refund, nightly];

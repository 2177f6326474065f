// How the mock answers.

export class Problem extends Error {
  constructor(status, code, detail, hint, errors) {
    super(detail);
    Object.assign(this, { status, code, hint, errors });
  }
}

export const OVER = ['complete', 'cancelled', 'resolved_manually'];

export const json = (c, value, status = 200) => {
  c.res.writeHead(status, { 'Content-Type': 'application/json' });
  c.res.end(JSON.stringify(value));
};

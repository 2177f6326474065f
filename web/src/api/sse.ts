// The text of a stream of server-sent events (WHATWG HTML, section 9.2.6), parsed as it comes in.

export interface Message {
  /** the newest id, also of the messages before; "" = none yet */
  id: string;
  event: string;
  data: string;
}

/** Feeds on pieces of text, however they are cut, and gives what became whole. */
export class SseParser {
  #rest = '';
  #id = '';
  #event = '';
  #data: string[] = [];
  /** asked for by the server, in milliseconds */
  retry: number | undefined;

  feed(piece: string): Message[] {
    const messages: Message[] = [];
    const text = this.#rest + piece;
    let from = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c !== '\n' && c !== '\r') continue;
      if (c === '\r' && i === text.length - 1) break; // its \n may be in the next piece
      this.#line(text.slice(from, i), messages);
      if (c === '\r' && text[i + 1] === '\n') i++;
      from = i + 1;
    }
    this.#rest = text.slice(from);
    return messages;
  }

  #line(line: string, messages: Message[]) {
    if (line === '') {
      if (this.#data.length > 0) {
        messages.push({ id: this.#id, event: this.#event || 'message', data: this.#data.join('\n') });
      }
      this.#event = '';
      this.#data = [];
      return;
    }
    if (line.startsWith(':')) return; // a heartbeat
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    switch (field) {
      case 'id':
        if (!value.includes('\0')) this.#id = value;
        break;
      case 'event':
        this.#event = value;
        break;
      case 'data':
        this.#data.push(value);
        break;
      case 'retry':
        if (/^\d+$/.test(value)) this.retry = Number(value);
        break;
    }
  }
}

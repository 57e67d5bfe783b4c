import type { IncomingMessage } from 'node:http';

const headersOf = new WeakMap<IncomingMessage, Record<string, unknown>>();

/**
 * The response that engine.io 6 gives to its middlewares at a WebSocket handshake. Its headers are kept by the request,
 * with their letters as they were given, until the 101 is written; afterwards its methods throw.
 */
export class EngineResponse {
  readonly req: IncomingMessage;
  readonly socket: IncomingMessage['socket'];

  constructor(req: IncomingMessage) {
    this.req = req;
    this.socket = req.socket;
    headersOf.set(req, {});
  }

  setHeader(name: string, value: unknown): void {
    headersOf.get(this.req)![name] = value;
  }

  getHeader(name: string): unknown {
    return headersOf.get(this.req)![name];
  }

  removeHeader(name: string): void {
    Reflect.deleteProperty(headersOf.get(this.req)!, name);
  }

  writeHead(): void {
    // engine.io's does nothing.
  }

  end(): void {
    this.socket.destroy();
  }

  /** The 101 is written with these headers. */
  writeHandshake(): Record<string, unknown> {
    const headers = headersOf.get(this.req)!;
    headersOf.delete(this.req);
    return headers;
  }
}

import type { IncomingMessage, ServerResponse } from 'node:http';

/** What one path does. It answers, or rejects with an error for the app's error handler. */
export type Route = (req: IncomingMessage, res: ServerResponse, query: URLSearchParams) => Promise<void>;

/** Sends the browser on with a GET, whatever the method was. */
export function redirect(res: ServerResponse, url: string): void {
  res.statusCode = 303;
  res.setHeader('Location', url);
  res.end();
}

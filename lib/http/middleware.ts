import type { IncomingMessage, ServerResponse } from 'node:http';

/** Express's and Connect's `next`. */
export type Next = (error?: unknown) => void;

/** A middleware for Express, Connect and whatever calls `(req, res, next)`. */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void;

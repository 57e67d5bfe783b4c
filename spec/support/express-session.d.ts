// Its own types add a `session` to every Express request, which is what this package's opt-in types do as well.
declare module 'express-session' {
  import type { RequestHandler } from 'express';

  export default function session(options: Record<string, unknown>): RequestHandler;
}

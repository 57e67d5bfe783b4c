import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';

/** A body that is a string goes out as it is (HTML unless the headers say otherwise); anything else as JSON. */
export interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
}

/**
 * What goes wrong: a given answer in place of the real one; `reset`, the socket dies before the request is treated;
 * `hang`, the request is taken and never answered; `drop-after-rotation`, the request is treated, so that a refresh
 * token is spent, and the socket dies before a byte of the answer.
 */
export type Fault = Answer | 'reset' | 'hang' | 'drop-after-rotation';

export interface RecordedRequest {
  method: string;
  /** Path and query, as received. */
  url: string;
  headers: IncomingHttpHeaders;
  /** The body as received. */
  text: string;
  /** The body parsed: JSON or a form; empty when it is neither. */
  body: Record<string, string>;
}

export interface Hold {
  /** How many requests wait. */
  readonly waiting: number;
  /** Resolves as soon as `count` requests wait at the same time. */
  arrived: (count: number) => Promise<void>;
  /** Lets the `count` oldest go, and goes on holding; without a count lets all go and ends the hold. */
  release: (count?: number) => void;
  /** Lets the one at `index` of those that wait now go, and goes on holding. */
  releaseAt: (index: number) => void;
}

export interface HoldOptions {
  /** Hold requests before they are treated, so that a refresh token is rotated on release and not on arrival. */
  untreated?: boolean;
}

type Reply = (body: Record<string, unknown>, request: RecordedRequest) => unknown;

export interface Endpoint {
  readonly requests: RecordedRequest[];
  /** Resolves as soon as `count` requests were received since the start, whatever became of them. */
  received: (count: number) => Promise<void>;
  /** The next `times` requests meet `fault`. Replaces the fault set before. */
  fail: (fault: Fault, times?: number) => void;
  /** No fault, and `reply` as it was. */
  heal: () => void;
  hold: (options?: HoldOptions) => Hold;
  /** Changes the body of a 200 on its way out. */
  reply: Reply;
  handle: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
}

/** One endpoint of a fake server: records every request, answers with `respond`, fails and waits as it is told. */
export function createEndpoint(respond: (request: RecordedRequest) => Answer | Promise<Answer>): Endpoint {
  const unchanged: Reply = (body) => body;
  const requests: RecordedRequest[] = [];
  const arrivals = createCounter(() => requests.length);
  let failing: { fault: Fault; times: number } | undefined;
  let holding: { gate: Gate; untreated: boolean } | undefined;

  const nextFault = (): Fault | undefined => {
    if (!failing || failing.times <= 0) return undefined;
    failing.times -= 1;
    return failing.fault;
  };

  const treat = async (fault: Fault | undefined, request: RecordedRequest): Promise<Answer | undefined> => {
    if (fault === 'reset') return undefined;
    if (typeof fault === 'object') return fault;
    const answer = await respond(request);
    if (fault === 'drop-after-rotation') return undefined;
    if (answer.status !== 200) return answer;
    return { ...answer, body: endpoint.reply({ ...(answer.body as Record<string, unknown>) }, request) };
  };

  const endpoint: Endpoint = {
    requests,
    received: arrivals.reached,
    reply: unchanged,
    fail: (fault, times = Infinity) => {
      failing = { fault, times };
    },
    heal: () => {
      failing = undefined;
      endpoint.reply = unchanged;
    },
    hold: ({ untreated = false } = {}) => {
      const gate = createGate();
      holding = { gate, untreated };
      return gate;
    },
    handle: async (req, res) => {
      const request = await record(req);
      const fault = nextFault();
      const held = holding;
      requests.push(request);
      arrivals.changed();
      if (fault === 'hang') return;
      if (held?.untreated) await held.gate.pass();
      const answer = await treat(fault, request);
      if (held && !held.untreated) await held.gate.pass();
      if (answer) send(res, answer);
      else req.socket.destroy();
    },
  };

  return endpoint;
}

interface Gate extends Hold {
  pass: () => Promise<void>;
}

function createGate(): Gate {
  const queue: (() => void)[] = [];
  const arrivals = createCounter(() => queue.length);
  let open = false;

  return {
    get waiting() {
      return queue.length;
    },
    arrived: arrivals.reached,
    release: (count) => {
      if (count === undefined) open = true;
      for (const letGo of queue.splice(0, count ?? queue.length)) letGo();
    },
    releaseAt: (index) => {
      const [letGo] = queue.splice(index, 1);
      if (!letGo) throw new Error(`No request waits at index ${index}`);
      letGo();
    },
    pass: () =>
      new Promise((letGo) => {
        if (open) {
          letGo();
          return;
        }
        queue.push(letGo);
        arrivals.changed();
      }),
  };
}

/** Tells those who wait for a number to be reached. */
function createCounter(current: () => number) {
  let watchers: { count: number; tell: () => void }[] = [];
  return {
    reached: (count: number): Promise<void> =>
      new Promise((tell) => {
        if (current() >= count) tell();
        else watchers.push({ count, tell });
      }),
    changed: (): void => {
      for (const { count, tell } of watchers) if (current() >= count) tell();
      watchers = watchers.filter(({ count }) => current() < count);
    },
  };
}

async function record(req: IncomingMessage): Promise<RecordedRequest> {
  let text = '';
  req.setEncoding('utf8');
  for await (const chunk of req) text += chunk as string;
  const { method = '', url = '', headers } = req;
  return { method, url, headers, text, body: parse(text, headers['content-type'] ?? '') };
}

function parse(text: string, contentType: string): Record<string, string> {
  if (contentType.startsWith('application/x-www-form-urlencoded')) return Object.fromEntries(new URLSearchParams(text));
  try {
    return (JSON.parse(text) ?? {}) as Record<string, string>;
  } catch {
    return {};
  }
}

function send(res: ServerResponse, { status, headers = {}, body }: Answer): void {
  res.statusCode = status;
  res.setHeader('Content-Type', typeof body === 'string' ? 'text/html; charset=utf-8' : 'application/json');
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  res.end(typeof body === 'string' || body === undefined ? body : JSON.stringify(body));
}

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  cpSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const repository = path.resolve(import.meta.dirname, '../..');
const readme = readFileSync(path.join(repository, 'README.md'), 'utf8');
const { name: packageName, dependencies } = JSON.parse(readFileSync(path.join(repository, 'package.json'), 'utf8')) as {
  name: string;
  dependencies: Record<string, string>;
};

interface Source {
  readonly extension: string;
  readonly text: string;
}

/*
 * Each case is a file of a consumer's. It must compile without complaint, except where a line is announced as wrong:
 * `@ts-expect-error TS1234` demands of the line below this error and no other.
 */

const cases = sources('ts', {
  'takes process.env.X for what may come from there': `
    import { oidc, sessionRoutes, withSession, workos } from 'express-sealed-session';
    const { env } = process;
    withSession({ provider: workos({ clientId: env.ID, apiKey: env.KEY, baseUrl: env.URL }), password: env.PASSWORD });
    sessionRoutes({
      provider: oidc({ issuer: env.ISSUER, clientId: env.ID, clientSecret: env.SECRET, resource: env.API }),
      password: env.PASSWORD,
      baseUrl: env.BASE_URL,
      cookie: { domain: env.DOMAIN },
    });
  `,

  'demands the provider and the password': `
    import { oidc, withSession, workos } from 'express-sealed-session';
    // @ts-expect-error TS2345 nobody to refresh with
    withSession({ password: 'secret' });
    // @ts-expect-error TS2345 nothing to seal with
    withSession({ provider: workos({ clientId: 'id', apiKey: 'key' }) });
    // @ts-expect-error TS2345 no key
    workos({ clientId: 'id' });
    // @ts-expect-error TS2345 no issuer
    oidc({ clientId: 'id', clientSecret: 'secret' });
  `,

  'refuses options that do not exist': `
    import { oidc, requireSession, withSession, workos } from 'express-sealed-session';
    const base = { provider: workos({ clientId: 'id', apiKey: 'key' }), password: 'secret' };
    // @ts-expect-error TS2561 misspelt
    withSession({ ...base, passwords: 'secret' });
    // @ts-expect-error TS2353 always on, so there is no switch
    withSession({ ...base, cookie: { httpOnly: false } });
    // @ts-expect-error TS2561 misspelt
    withSession({ ...base, refresh: { graceSecond: 1 } });
    // @ts-expect-error TS2353 no such event
    withSession({ ...base, events: { expired: () => undefined } });
    // @ts-expect-error TS2322 no such choice
    withSession({ ...base, onTransient: 'allow-stale' });
    // @ts-expect-error TS2561 misspelt
    requireSession({ permission: 'billing:read' });
    // @ts-expect-error TS2353 an option of oidc()
    workos({ clientId: 'id', apiKey: 'key', scope: 'openid' });
    // @ts-expect-error TS2353 an option of workos()
    oidc({ issuer: 'https://id.example.com', clientId: 'id', clientSecret: 'secret', apiKey: 'key' });
  `,

  'takes a password, or a map of id to password': `
    import { type Password, withSession, workos } from 'express-sealed-session';
    const provider = workos({ clientId: 'id', apiKey: 'key' });
    withSession({ provider, password: { 2: 'newest', 1: 'older' } });
    // @ts-expect-error TS2353 the ids are numbers: the highest one seals
    const named: Password = { newest: 'secret' };
  `,

  'narrows a session by authenticated': `
    import type { Impersonator, Reason, Session, SignedInSession, SignedOutSession, User } from 'express-sealed-session';
    declare const session: Session;
    const either: User | null = session.user;
    if (session.authenticated) {
      const signedIn: SignedInSession = session;
      const user: User = session.user;
      const token: string = session.accessToken;
      const expiresAt: Date = session.expiresAt;
      const permissions: readonly string[] = session.permissions;
      const impersonator: Impersonator | undefined = session.impersonator;
      // @ts-expect-error TS2339 there is none for somebody who is signed in
      session.reason;
    } else {
      const signedOut: SignedOutSession = session;
      const nobody: null = session.user;
      const reason: Reason = session.reason;
      const retryable: boolean = session.retryable;
      // @ts-expect-error TS2339 nobody is signed in
      session.accessToken;
      // @ts-expect-error TS2339 nobody is signed in
      session.permissions;
    }
    // @ts-expect-error TS2339 not known yet whether there is one
    session.accessToken;
    // @ts-expect-error TS18047 not known yet whether there is one
    session.user.id;
  `,

  'has data on a signed-in session only': `
    import type { Session } from 'express-sealed-session';
    declare const session: Session;
    if (session.authenticated) {
      session.data.theme = 'dark';
      session.data = { theme: 'dark' };
      await session.save();
      // @ts-expect-error TS2540 who it is, is the provider's to say
      session.user = { id: 'somebody else' };
      // @ts-expect-error TS2339 a list is read-only
      session.roles.push('admin');
    } else {
      // @ts-expect-error TS2339 there is nothing to keep it in
      session.data;
      // @ts-expect-error TS2339 there is nothing to keep it in
      await session.save();
    }
  `,

  'offers the actions on every session': `
    import type { RefreshResult, Session, TokenSet } from 'express-sealed-session';
    declare const session: Session;
    declare const tokens: TokenSet;
    const result: RefreshResult = await session.refresh();
    if (!result.refreshed) result.reason satisfies string;
    await session.refresh({ organizationId: 'org_01' });
    await session.signIn(tokens);
    const url: string | undefined = await session.signOut({ returnTo: 'https://app.example.com/' });
    // @ts-expect-error TS2561 misspelt
    await session.refresh({ organization: 'org_01' });
  `,

  'tells a handler what it has, by way of getSession': `
    import type { IncomingMessage } from 'node:http';
    import express from 'express';
    import { getSession, requireSession, type Session, sessionRoutes, type SessionOptions, withSession } from 'express-sealed-session';
    declare const options: SessionOptions;
    const app = express();
    app.use(withSession(options));
    app.use(sessionRoutes(options));
    app.get('/account/:id', requireSession({ roles: 'admin' }), (req, res) => {
      const id: string = req.params.id;
      const session: Session = getSession(req);
      res.json({ id, user: session.user });
    });
    const router = express.Router();
    router.use(requireSession());
    const plain = (req: IncomingMessage) => getSession(req).authenticated;
  `,

  'leaves Express alone without the augmentation': `
    import express from 'express';
    import { getSession } from 'express-sealed-session';
    // As express-session's types have it.
    declare global {
      namespace Express {
        interface Request {
          session: { cookie: { maxAge?: number } };
        }
      }
    }
    express().get('/', (req) => {
      req.session.cookie.maxAge = 1;
      // @ts-expect-error TS2339 that is the other package's, not ours
      req.session.authenticated;
      getSession(req).authenticated satisfies boolean;
    });
  `,

  'lets a third provider be written outside the package': `
    import { type Provider, type TokenSet, withSession } from 'express-sealed-session';
    const readTokens = async (answer: Readonly<Record<string, unknown>>): Promise<TokenSet | undefined> =>
      typeof answer.access_token === 'string' ? { accessToken: answer.access_token } : undefined;
    const post = async (parameters: Record<string, string>) => ({
      url: 'https://id.example.com/token',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(parameters).toString(),
    });
    export const acme: Provider = {
      name: 'acme',
      id: 'acme client',
      cookieName: '__Host-acme',
      refreshTokens: 'single-use',
      accessToken: () => ({
        keysUrl: 'https://id.example.com/keys',
        algorithms: ['ES256'],
        issuer: ['https://id.example.com'],
        issuedToUs: (claims) => claims.client_id === 'client',
      }),
      refreshRequest: ({ refreshToken }) => post({ grant_type: 'refresh_token', refresh_token: refreshToken }),
      readRefresh: readTokens,
      terminalReason: (answer) => (answer.error === 'invalid_grant' ? 'invalid_grant' : undefined),
      authorizationUrl: ({ state }) => \`https://id.example.com/authorize?state=\${state}\`,
      codeRequest: (callback) => post({ grant_type: 'authorization_code', code: callback.get('code') ?? '' }),
      readSignIn: readTokens,
    };
    withSession({ provider: acme, password: process.env.PASSWORD });
    // @ts-expect-error TS2322 a word of the provider's own is not a reason
    const prose: Provider = { ...acme, terminalReason: () => 'your_session_is_over' };
    // @ts-expect-error TS2322 a provider must say whether a refresh token may be sent twice
    const vague: Provider = { ...acme, refreshTokens: undefined };
  `,

  'lets a coordinator and a sealer be written outside the package': `
    import { type Coordinator, ironSealer, memoryCoordinator, type Sealer, withSession, workos } from 'express-sealed-session';
    const inner = memoryCoordinator({ maxSessions: 100 });
    const coordinator: Coordinator = { ...inner, refresh: (ticket, lead) => inner.refresh(ticket, lead) };
    const sealer: Sealer = { ...ironSealer(), name: 'mine' };
    const provider = workos({ clientId: 'id', apiKey: 'key' });
    withSession({ provider, password: 'secret', sealer, refresh: { coordinator } });
  `,

  'takes the clients of node-redis and ioredis': `
    import { memoryCoordinator } from 'express-sealed-session';
    import { redisCoordinator } from 'express-sealed-session/redis';
    import { Cluster, Redis } from 'ioredis';
    import { createClient, createCluster, createSentinel } from 'redis';
    redisCoordinator({ client: createClient() });
    redisCoordinator({ client: createCluster({ rootNodes: [] }) });
    redisCoordinator({ client: createSentinel({ name: 'main', sentinelRootNodes: [] }) });
    redisCoordinator({ client: new Redis(), prefix: 'app:', leaseMs: 5_000, timeoutMs: 100, maxSessions: 100 });
    redisCoordinator({ client: new Cluster([]) }) satisfies ReturnType<typeof memoryCoordinator>;
    // @ts-expect-error TS2322 an address is no client
    redisCoordinator({ client: 'redis://localhost' });
  `,

  'types each event by its name': `
    import type { EventCallbacks, RefreshSource, RetryableReason, TerminalReason } from 'express-sealed-session';
    export const events: EventCallbacks = {
      refreshed: ({ source, durationMs }) => [source satisfies RefreshSource, durationMs satisfies number],
      refreshFailed: (failure) => {
        if (failure.kind === 'terminal') failure.reason satisfies TerminalReason;
        else failure.reason satisfies RetryableReason;
      },
      signedOut: async ({ sessionId }) => sessionId satisfies string | undefined,
      // @ts-expect-error TS2339 no event carries a token
      signedIn: ({ accessToken }) => accessToken,
    };
  `,

  'has errors to tell apart by code': `
    import { SessionConfigError, SessionError, type SessionErrorCode, SessionUnavailableError } from 'express-sealed-session';
    export function statusOf(error: unknown): number {
      if (error instanceof SessionUnavailableError) return error.retryAfterSeconds;
      if (error instanceof SessionConfigError) return error.problems.length;
      if (!(error instanceof SessionError)) return 0;
      const code: SessionErrorCode = error.code;
      // @ts-expect-error TS2367 no such code
      if (error.code === 'ERR_SESSION_EXPIRED') return 1;
      return code === 'ERR_SESSION_REQUIRED' ? error.status : error.statusCode;
    }
  `,

  'types a session without HTTP': `
    import { createSessionManager, type SessionOptions } from 'express-sealed-session';
    declare const options: SessionOptions;
    const sessions = createSessionManager(options);
    const session = sessions.load(undefined);
    const answer = await session.authenticate();
    if (answer.authenticated) answer.user.id satisfies string;
    else answer.reason satisfies string;
    const renewed = await session.refresh({ organizationId: 'org_01', password: process.env.PASSWORD });
    if (renewed.authenticated) renewed.sealedSession satisfies string;
    else renewed.sealedSession satisfies string | undefined;
    // @ts-expect-error TS2540 only a refresh changes the seal
    session.sealed = 'seal';
  `,
});

const augmentedOnly = sources('ts', {
  'puts an optional session on the request of Express': `
    import 'express-sealed-session/augment';
    import express from 'express';
    import { requireSession, type Session } from 'express-sealed-session';
    express().get('/', requireSession(), (req) => {
      const session: Session | undefined = req.session;
      req.session?.authenticated satisfies boolean | undefined;
      // @ts-expect-error TS18048 no type can know whether withSession has run
      req.session.authenticated;
    });
  `,
});

// TypeScript follows Node: what is required may be an ES module.
const commonJsCases = sources('cts', {
  'can be required by CommonJS': `
    import { type Session, withSession } from 'express-sealed-session';
    import sealed = require('express-sealed-session');
    export const same: typeof withSession = sealed.withSession;
    export type { Session };
  `,
});

/*
 * The README. A block with imports stands for itself; any other is a part of an app, and is put where it can see one.
 */

const appAround = `
  import type { Express, RequestHandler } from 'express';
  import type { SessionOptions, SignedInSession, SignedOutSession, User } from 'express-sealed-session';
  // JavaScript does not tell the two kinds of session apart: whatever either has can be written.
  type AnySession = Omit<SignedInSession, 'authenticated' | 'user'> &
    Omit<SignedOutSession, 'authenticated' | 'user'> & { authenticated: boolean; user: User | null };
  declare global {
    namespace Express {
      interface Request {
        session: AnySession;
      }
    }
  }
  export const app: Express;
  export const options: SessionOptions;
  export const showAccount: RequestHandler;
  export const showAdmin: RequestHandler;
  export const sealed: string | undefined;
  export const accessToken: string;
  export const refreshToken: string;
  export const user: User;
  export const store: (sealed: string) => Promise<void>;
`;

function partOfAnApp(text: string): string {
  return `
    import { app, options, showAccount, showAdmin, sealed, accessToken, refreshToken, user, store } from './app-around.js';
    import { createSessionManager, getSession, requireSession, sessionRoutes, withSession } from 'express-sealed-session';
    export async function part() {
      ${text}
    }
  `;
}

/*
 * What the README lists in tables, by the heading above and the first column, and the type whose members these are.
 */

const tables: Record<string, string> = {
  'Options: Option': `
    Exclude<keyof SessionOptions, 'cookie' | 'refresh'>
      | \`cookie.\${keyof CookieOptions}\`
      | \`refresh.\${keyof RefreshOptions}\`
      | \`cache.\${keyof CacheOptions}\``,
  'workos(options): Option': 'keyof WorkosOptions',
  'oidc(options): Option': 'keyof OidcOptions',
  'Several processes: Option': 'keyof RedisCoordinatorOptions',
  'onTransient: Value': "NonNullable<SessionOptions['onTransient']>",
  'Guards and rules: Part': 'keyof Rule',
  'req.session: Property': 'keyof SignedInSession | keyof SignedOutSession',
  'Events: Event': 'keyof SessionEvents',
  'Errors: Code': 'SessionErrorCode',
  'Reasons: Reason': 'Reason',
};

const tableTypes = `
  import type {
    CacheOptions, CookieOptions, OidcOptions, Reason, RefreshOptions, Rule, SessionErrorCode, SessionEvents,
    SessionOptions, SignedInSession, SignedOutSession, WorkosOptions,
  } from 'express-sealed-session';
  import type { RedisCoordinatorOptions } from 'express-sealed-session/redis';
  export interface Tables {
    ${Object.entries(tables)
      .map(([title, members]) => `'${title}': ${members};`)
      .join('\n')}
  }
`;

const settings: Record<string, ts.CompilerOptions> = {
  NodeNext: {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    exactOptionalPropertyTypes: true,
    lib: ['lib.es2023.d.ts'],
  },
  Bundler: {
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'],
  },
};

let temporary: string;
let consumer: string;

// The built package as an app would have it: with what it declares as its dependencies, and the types of what the app
// uses itself. A type from anything else of this repository is missed.
beforeAll(() => {
  if (!existsSync(path.join(repository, 'dist/index.d.ts'))) throw new Error('There is no dist/. Run: npm run build');
  temporary = realpathSync(mkdtempSync(path.join(tmpdir(), 'types-')));
  consumer = path.join(temporary, 'consumer');
  for (const part of ['dist', 'package.json']) {
    cpSync(path.join(repository, part), path.join(consumer, 'node_modules', packageName, part), { recursive: true });
  }
  const own = ['@types/node', '@types/express', 'redis', 'ioredis'];
  for (const name of [...Object.keys(dependencies), ...own]) {
    const link = path.join(consumer, 'node_modules', name);
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.join(repository, 'node_modules', name), link, 'dir');
  }
  writeFileSync(path.join(consumer, 'package.json'), '{ "type": "module" }');
});

afterAll(() => {
  rmSync(temporary, { recursive: true, force: true });
});

describe.each(Object.entries(settings))('types under %s', (setting, options) => {
  const plainCases = setting === 'NodeNext' ? { ...cases, ...commonJsCases } : cases;
  const augmentedCases = { ...augmentedOnly, ...readmeBlocks('ts') };
  const javascriptCases = readmeBlocks('js');

  let plain: Compiled;
  let augmented: Compiled;
  let javascript: Compiled;

  beforeAll(() => {
    plain = compile(plainCases, options, { 'tables.ts': tableTypes });
    augmented = compile(augmentedCases, options);
    javascript = compile(
      javascriptCases,
      { ...options, allowJs: true, checkJs: true, noImplicitAny: false },
      { 'app-around.d.ts': appAround },
    );
  }, 60_000);

  it.each(Object.keys(plainCases))('%s', (title) => {
    expect(plain.problemsOf(title)).toEqual([]);
  });

  it.each(Object.keys(augmentedCases))('with the augmentation: %s', (title) => {
    expect(augmented.problemsOf(title)).toEqual([]);
  });

  it.each(Object.keys(javascriptCases))('in JavaScript: %s', (title) => {
    expect(javascript.problemsOf(title)).toEqual([]);
  });

  it('are found, each of them, wherever the package is installed', () => {
    expect([plain, augmented, javascript].flatMap((compiled) => compiled.otherProblems())).toEqual([]);
  });

  it.each(Object.keys(tables))('have the members that the README lists under "%s"', (title) => {
    expect(namesInTable(title).sort()).toEqual(plain.membersOf('tables.ts', 'Tables', title).sort());
  });
});

it('README has no code that is not looked at here', () => {
  const languages = [...readme.matchAll(/^ *```(\S+)/gm)].map(([, language]) => language!);
  expect(languages.filter((language) => !['sh', 'js', 'ts'].includes(language))).toEqual([]);
  expect(languages.filter((language) => language !== 'sh')).toHaveLength(
    Object.keys(readmeBlocks('js')).length + Object.keys(readmeBlocks('ts')).length,
  );
});

function sources(extension: string, texts: Readonly<Record<string, string>>): Record<string, Source> {
  return Object.fromEntries(Object.entries(texts).map(([title, text]) => [title, { extension, text }]));
}

type Compiled = ReturnType<typeof compile>;

/** Compiles sources by title, and others by file name. */
function compile(
  titled: Readonly<Record<string, Source>>,
  options: ts.CompilerOptions,
  others: Readonly<Record<string, string>> = {},
) {
  const files = Object.fromEntries(
    Object.entries(titled).map(([title, { extension, text }], index) => {
      const file = path.join(consumer, `case-${index}.${extension}`);
      // Not in the compiler's own words, which let any error pass.
      writeFileSync(file, text.replaceAll('@ts-expect-error', 'expected'));
      return [title, file];
    }),
  );
  for (const [name, text] of Object.entries(others)) writeFileSync(path.join(consumer, name), text);
  const program = ts.createProgram({
    rootNames: [...Object.values(files), ...Object.keys(others).map((name) => path.join(consumer, name))],
    options: { target: ts.ScriptTarget.ES2022, strict: true, types: ['node'], noEmit: true, ...options },
  });
  const found = new Map(Object.values(files).map((file) => [file, diagnose(program, program.getSourceFile(file)!)]));
  // The compiler looks only now at what the cases lead it to.
  const elsewhere = [
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...program
      .getSourceFiles()
      .filter(({ fileName }) => fileName.startsWith(temporary) && !found.has(fileName))
      .flatMap((file) => diagnose(program, file)),
  ];

  return {
    problemsOf(title: string): string[] {
      const file = files[title]!;
      const expected = [...titled[title]!.text.matchAll(/@ts-expect-error (TS\d+)/g)].map(
        ({ 1: code, index }) => `line ${titled[title]!.text.slice(0, index).split('\n').length + 1}: ${code!}`,
      );
      const actual = found
        .get(file)!
        .map((problem) => [`line ${lineOf(problem)}: TS${problem.code}`, problem] as const);
      return [
        ...actual
          .filter(([where]) => !expected.includes(where))
          .map(([where, problem]) => `${where} ${prose(problem)}`),
        ...expected
          .filter((where) => !actual.some(([there]) => there === where))
          .map((where) => `${where} was expected and is not there`),
      ];
    },
    otherProblems: () =>
      elsewhere.map((problem) => `${problem.file?.fileName ?? 'options'}:${lineOf(problem)} ${prose(problem)}`),
    membersOf(name: string, interfaceName: string, property: string): string[] {
      const checker = program.getTypeChecker();
      const declaration = program
        .getSourceFile(path.join(consumer, name))!
        .statements.filter(ts.isInterfaceDeclaration)
        .find((statement) => statement.name.text === interfaceName)!;
      const symbol = checker.getTypeAtLocation(declaration).getProperty(property)!;
      const type = checker.getTypeOfSymbol(symbol);
      return (type.isUnion() ? type.types : [type]).map((member) => (member as ts.StringLiteralType).value);
    },
  };
}

function diagnose(program: ts.Program, file: ts.SourceFile): readonly ts.Diagnostic[] {
  return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
}

function lineOf({ file, start }: ts.Diagnostic): number {
  return file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
}

function prose({ messageText }: ts.Diagnostic): string {
  return ts.flattenDiagnosticMessageText(messageText, ' ');
}

/** The README's code in a language, by its place: each block as a module. */
function readmeBlocks(language: 'js' | 'ts'): Record<string, Source> {
  const found = [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)].filter((match) => match[1] === language);
  return Object.fromEntries(
    found.map(({ 2: text = '', index }) => {
      const before = readme.slice(0, index);
      const heading = before.slice(before.lastIndexOf('\n#')).split('\n')[1] ?? '';
      const source = /^import /m.test(text) ? text : partOfAnApp(text);
      return [`README, line ${before.split('\n').length}: ${heading}`, { extension: language, text: source }];
    }),
  );
}

/** The names in the first column of a table of the README's. */
function namesInTable(title: string): string[] {
  const [heading, column] = title.split(': ') as [string, string];
  const section = readme
    .split(/^#+ /m)
    .find((text) => text.split('\n', 1)[0]?.replaceAll('`', '') === heading)
    ?.split(/\n{2,}/)
    .find((paragraph) => new RegExp(`^\\| ${column} +\\|`).test(paragraph));
  const rows = section?.trim().split('\n').slice(2) ?? [];
  return rows.flatMap((row) => {
    const [, first = ''] = row.split('|');
    return [...first.matchAll(/`([^`]+)`/g)].map(([, name]) => name!.replace(/\(\)$|'/g, ''));
  });
}

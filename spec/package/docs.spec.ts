import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const repository = path.resolve(import.meta.dirname, '../..');
const onGitHub = 'https://github.com/express-sealed-session/express-sealed-session/';
const pages = [
  ...readdirSync(repository).filter((file) => file.endsWith('.md')),
  ...readdirSync(path.join(repository, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file.replaceAll(path.sep, '/')}`),
];
const read = (page: string) => readFileSync(path.join(repository, page), 'utf8');

/*
 * The code on the pages. A block with imports stands for itself. Any other is a part of an app, and is put where it can
 * see one. A block may import from './name.js' what an earlier block of its page exports as `name`.
 */

const appAround = `
  import type { IncomingMessage } from 'node:http';
  import type { Express, RequestHandler } from 'express';
  import type { SessionOptions, Sessions, TokenSet, User } from 'express-sealed-session';
  export const app: Express;
  export const options: SessionOptions;
  export const sessions: Sessions;
  export const showAccount: RequestHandler;
  export const showAdmin: RequestHandler;
  export const showInvoices: RequestHandler;
  export const req: IncomingMessage;
  export const test: import('express-sealed-session/testing').TestSessions;
  export const request: typeof import('supertest');
  export const sealed: string | undefined;
  export const accessToken: string;
  export const refreshToken: string;
  export const user: User;
  export const store: (sealed: string) => Promise<void>;
  export const authenticateWithPassword: (body: unknown) => Promise<TokenSet>;
  export const fromAppSession: (sessions: Sessions, secret: string | undefined) => { before: RequestHandler; after: RequestHandler };
  export const database: { add: (user: User) => Promise<boolean> };
  export const ours: string;
  export const oldCookies: { name: string }[];
`;

const namesAround = [...appAround.matchAll(/export const (\w+)/g)].map(([, name]) => name!);

interface Block {
  readonly language: string;
  readonly code: string;
  readonly line: number;
}

/** Blocks of code. Those in quotations are other people's. */
function blocksOf(page: string): Block[] {
  const text = read(page);
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(({ 1: language = '', 2: code = '', index }) => ({
    language,
    code,
    line: text.slice(0, index).split('\n').length,
  }));
}

function asModule({ code }: Block): string {
  if (/^export /m.test(code) || /^import .* from 'express-sealed-session/m.test(code)) return code;
  // What the block declares itself is not imported.
  const seen = namesAround.filter((name) => !new RegExp(`\\b(const|function) ${name}\\b`).test(code));
  const [imports, rest] = [code.match(/^import .*$/gm) ?? [], code.replace(/^import .*$/gm, '')];
  return `${imports.join('\n')}
    import { ${seen.join(', ')} } from '../app-around.js';
    import { createSessionManager, getSession, requireSession, withSession } from 'express-sealed-session';
    export async function part() { ${rest} }`;
}

let temporary: string;
let program: ts.Program;
const files = new Map<string, string>();
// `npm run matrix` runs these as they stand, each with a test runner of its own.
const isFileOfTrial = /^\/\/ [\w.]+\n/;
const blocks = pages.flatMap((page) =>
  blocksOf(page)
    .filter(({ language }) => language === 'ts' || language === 'js')
    .filter(({ code }) => page !== 'docs/guide/testing.md' || !isFileOfTrial.test(code))
    .map((block) => ({ page, block, title: `${page}, line ${block.line}` })),
);

beforeAll(() => {
  temporary = mkdtempSync(path.join(tmpdir(), 'docs-'));
  symlinkSync(path.join(repository, 'node_modules'), path.join(temporary, 'node_modules'), 'dir');
  writeFileSync(path.join(temporary, 'package.json'), '{ "type": "module" }');
  writeFileSync(path.join(temporary, 'app-around.d.ts'), appAround);
  for (const [index, { page, block, title }] of blocks.entries()) {
    const folder = path.join(temporary, page.replaceAll(/\W/g, '-'));
    mkdirSync(folder, { recursive: true });
    const exported = /^export (?:async )?(?:function|const) (\w+)/m.exec(block.code)?.[1];
    const isImported = exported !== undefined && read(page).includes(`from './${exported}.js'`);
    const file = path.join(folder, `${isImported ? exported : `block-${index}`}.${block.language}`);
    writeFileSync(file, asModule(block));
    files.set(title, file);
  }
  const paths = Object.fromEntries(
    ['index', 'redis', 'testing', 'augment'].map((entry) => [
      `express-sealed-session${entry === 'index' ? '' : `/${entry}`}`,
      [path.join(repository, `lib/${entry}.ts`)],
    ]),
  );
  const { config } = ts.readConfigFile(path.join(repository, 'tsconfig.json'), ts.sys.readFile.bind(ts.sys)) as {
    config: { compilerOptions: object };
  };
  const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, paths }, repository);
  program = ts.createProgram({
    rootNames: [...files.values(), path.join(repository, 'lib/index.ts'), path.join(repository, 'lib/redis.ts')],
    // An example may leave a name unused. JavaScript is checked as an editor checks it.
    options: {
      ...options,
      noUnusedLocals: false,
      noUnusedParameters: false,
      allowJs: true,
      checkJs: true,
      verbatimModuleSyntax: false,
    },
  });
}, 60_000);

afterAll(() => {
  rmSync(temporary, { recursive: true, force: true });
});

describe('code on the pages', () => {
  it.each(blocks.map(({ title }) => title))('compiles: %s', (title) => {
    const file = program.getSourceFile(files.get(title)!)!;
    // JavaScript cannot say the type of a parameter, or of a claim.
    const isUntyped = ({ code }: ts.Diagnostic) => file.fileName.endsWith('.js') && [7006, 7031, 18046].includes(code);
    const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
    expect(
      found.filter((each) => !isUntyped(each)).map((each) => ts.flattenDiagnosticMessageText(each.messageText, ' ')),
    ).toEqual([]);
  });

  it('is in a language that is checked here, or is typed into a shell or printed by a program', () => {
    const others = pages.flatMap((page) =>
      blocksOf(page)
        .filter(({ language }) => !['ts', 'js', 'sh', 'text'].includes(language))
        .filter(({ code }) => page !== 'docs/guide/testing.md' || !isFileOfTrial.test(code))
        .map(({ line }) => `${page}, line ${line}`),
    );
    expect(others).toEqual([]);
  });
});

/*
 * Lists of names. A list item `- \`name\`: …` stands for a member of a type; a heading `### \`name\`` for one with an
 * entry of its own.
 */

interface Member {
  readonly name: string;
  readonly isOptional: boolean;
  /** The sentence of its docstring that says the default. */
  readonly byDefault: string | undefined;
}

function sourceFile(file: string): ts.SourceFile {
  return program.getSourceFile(path.join(repository, 'lib', file))!;
}

function declarationOf(file: string, name: string): ts.InterfaceDeclaration | ts.TypeAliasDeclaration {
  const found = sourceFile(file).statements.find(
    (statement): statement is ts.InterfaceDeclaration | ts.TypeAliasDeclaration =>
      (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) && statement.name.text === name,
  );
  if (!found) throw new Error(`lib/${file} has no type ${name}.`);
  return found;
}

/** The members of an object type, inherited ones included. */
function membersOf(file: string, name: string): Member[] {
  const checker = program.getTypeChecker();
  const type = checker.getTypeAtLocation(declarationOf(file, name));
  return checker.getPropertiesOfType(type).map((symbol) => ({
    name: symbol.name,
    isOptional: (symbol.flags & ts.SymbolFlags.Optional) !== 0,
    byDefault: /Default[^:]*: (.*?)(?:[.;](?:\s|$)|$)/s.exec(
      ts.displayPartsToString(symbol.getDocumentationComment(checker)),
    )?.[1],
  }));
}

/** The values of a union of strings. */
function valuesOf(type: ts.Type): string[] {
  return (type.isUnion() ? type.types : [type]).map((each) => (each as ts.StringLiteralType).value);
}

function namedValues(file: string, name: string): string[] {
  return valuesOf(program.getTypeChecker().getTypeAtLocation(declarationOf(file, name)));
}

/** The part of a page below a heading, up to the next one of its kind or above. */
function section(page: string, heading: string): string {
  const lines = read(page).split('\n');
  const depthOf = (line: string) => /^(#+) /.exec(line)?.[1]?.length ?? Infinity;
  const start = lines.findIndex(
    (line) => line.replace(/^#+ /, '').replaceAll('`', '') === heading && depthOf(line) < Infinity,
  );
  if (start < 0) throw new Error(`${page} has no heading "${heading}".`);
  const end = lines.findIndex((line, index) => index > start && depthOf(line) <= depthOf(lines[start]!));
  return lines.slice(start + 1, end < 0 ? undefined : end).join('\n');
}

/** The items of a section's list, by name. */
function itemsOf(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^- `([^`]+?)(?:\(\))?`: (.+)$/gm)].map(([, name, rest]) => [name!, rest!]));
}

/** The entries of a section, by their headings. */
function entriesOf(text: string): Map<string, string> {
  const entries = text.split(/^### /m).slice(1);
  return new Map(entries.map((entry) => [entry.split('\n', 1)[0]!.replaceAll('`', ''), entry]));
}

describe('docs/reference/options.md', () => {
  const page = 'docs/reference/options.md';
  const sessionSections = ['Who', 'Routes', 'Cookie', 'Other ways to travel', 'How long', 'Machinery'];
  const groups: Record<string, string> = {
    routes: 'RouteOptions',
    signIn: 'SignInOptions',
    signOut: 'SignOutOptions',
    cookie: 'CookieOptions',
    lifetime: 'LifetimeOptions',
    refresh: 'RefreshOptions',
    cache: 'CacheOptions',
    deviceBound: 'DeviceBoundOptions',
  };
  const file = 'options/session-options.ts';
  const expected: Record<string, () => Member[]> = {
    'withSession(options)': () => [
      ...membersOf(file, 'SessionOptions'),
      ...Object.entries(groups).flatMap(([group, type]) =>
        membersOf(file, type).map((member) => ({ ...member, name: `${group}.${member.name}` })),
      ),
    ],
    'cookie.replaces': () => membersOf(file, 'ReplacedCookie'),
    'workos(options)': () => membersOf('provider/workos.ts', 'WorkosOptions'),
    'oidc(options)': () => membersOf('provider/oidc-options.ts', 'OidcOptions'),
    'redisFleet(options)': () => membersOf('fleet/redis-fleet.ts', 'RedisFleetOptions'),
    'Rules and guards': () => [
      ...membersOf('options/rule.ts', 'Rule'),
      ...membersOf('options/rule.ts', 'GuardOptions'),
    ],
  };

  function listed(title: string): Map<string, string> {
    const replaces = section(page, 'Cookie').split('Each cookie in `cookie.replaces` has:\n')[1]!;
    if (title === 'cookie.replaces') return itemsOf(replaces);
    if (title !== 'withSession(options)') return itemsOf(section(page, title));
    return new Map(sessionSections.flatMap((name) => [...itemsOf(section(page, name).replace(replaces, ''))]));
  }

  it.each(Object.keys(expected))('lists the options of %s, and no others', (title) => {
    const members = expected[title]!();
    expect([...listed(title).keys()].sort()).toEqual(members.map(({ name }) => name).sort());
  });

  it.each(Object.keys(expected))('says the defaults of %s as the types do', (title) => {
    const rows = listed(title);
    const wrong = expected[title]!().filter(({ name, byDefault }) => {
      const own = rows.get(name)!;
      const said = /Default: (.*)\.$/.exec(own)?.[1];
      // The literals of the docstring's sentence: names in backticks, numbers, true and false.
      const literals = (text = '') =>
        text.match(/`[^`]+`|\b\d[\d,]*\b|\b(?:true|false)\b/g)?.map((each) => each.replaceAll('`', '')) ?? [];
      return (
        byDefault !== undefined &&
        !(said !== undefined && literals(byDefault).every((literal) => literals(said).includes(literal)))
      );
    });
    expect(wrong).toEqual([]);
  });

  it('says of each required option that it is required, and of no other', () => {
    const required = ([, rest]: [string, string]) => /\bRequired(, or `\w+`)?\.$/.test(rest);
    for (const title of Object.keys(expected).filter((each) => each !== 'Rules and guards')) {
      const mandatory = expected[title]!()
        .filter(({ isOptional }) => !isOptional)
        .map(({ name }) => name);
      // One of two must be given, which the types cannot say.
      if (title === 'oidc(options)') mandatory.push('clientSecret');
      expect(
        [...listed(title)]
          .filter(required)
          .map(([name]) => name)
          .sort(),
      ).toEqual(mandatory.sort());
    }
  });
});

describe('docs/reference/session.md', () => {
  const page = 'docs/reference/session.md';
  const named = (...headings: string[]) =>
    headings.flatMap((heading) => [...itemsOf(section(page, heading)).keys()]).sort();

  it('lists what a signed-in session has', () => {
    expect(named('Signed in', 'Both')).toEqual(
      membersOf('request/session.ts', 'SignedInSession')
        .map(({ name }) => name)
        .sort(),
    );
  });

  it('lists what a session has where nobody is signed in', () => {
    expect(named('Not signed in', 'Both')).toEqual(
      membersOf('request/session.ts', 'SignedOutSession')
        .map(({ name }) => name)
        .sort(),
    );
  });

  it('lists what withSession() returns', () => {
    expect(named('Sessions')).toEqual(
      membersOf('with-session.ts', 'Sessions')
        .map(({ name }) => name)
        .sort(),
    );
  });
});

describe('docs/reference/events.md', () => {
  const entries = () => entriesOf(read('docs/reference/events.md'));

  it('has an entry for each event, and for nothing else', () => {
    expect([...entries().keys()].sort()).toEqual(
      membersOf('events.ts', 'SessionEvents')
        .map(({ name }) => name)
        .sort(),
    );
  });

  it('lists the fields of each event', () => {
    const checker = program.getTypeChecker();
    const type = checker.getTypeAtLocation(declarationOf('events.ts', 'SessionEvents'));
    const fields = checker.getPropertiesOfType(type).map(
      (event) =>
        [
          event.name,
          checker
            .getTypeOfSymbol(event)
            .getProperties()
            .map(({ name }) => name)
            .sort(),
        ] as const,
    );
    const listed = [...entries()].map(([name, entry]) => {
      const [own = ''] = entry.split('The `source` is one of:');
      return [name, [...itemsOf(own).keys()].sort()] as const;
    });
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(fields));
  });

  it('lists where refreshed tokens come from', () => {
    const [, sources = ''] = entries().get('refreshed')!.split('The `source` is one of:');
    expect([...itemsOf(sources).keys()].sort()).toEqual(namedValues('session/reasons.ts', 'RefreshSource').sort());
  });
});

describe('docs/reference/errors.md and reasons.md', () => {
  /** The codes of the warnings in events.ts: the arguments of its own `warn()`. */
  function warnings(): string[] {
    const found = new Set<string>();
    const visit = (node: ts.Node): void => {
      if (ts.isStringLiteral(node) && node.text.startsWith('WARN_')) found.add(node.text);
      ts.forEachChild(node, visit);
    };
    for (const file of program.getSourceFiles())
      if (file.fileName.startsWith(path.join(repository, 'lib'))) visit(file);
    return [...found];
  }
  /** The details of `rejected` that are neither of the seal nor of the token. */
  function otherDetails(): string[] {
    const named = ['SealProblem', 'TokenProblem'].flatMap((name) => namedValues('session/reasons.ts', name));
    return namedValues('session/reasons.ts', 'RejectedDetail').filter((detail) => !named.includes(detail));
  }
  const parts: [page: string, heading: string, names: () => string[], more: string[]][] = [
    ['errors', 'Codes', () => namedValues('errors.ts', 'SessionErrorCode'), ['Status', 'Class']],
    ['errors', 'Sign-in failures', () => namedValues('errors.ts', 'SignInFailure'), []],
    ['errors', 'Misconfigurations', () => namedValues('events.ts', 'Misconfiguration'), []],
    ['errors', 'Warnings', warnings, []],
    ['reasons', 'Reasons', () => namedValues('session/reasons.ts', 'Reason'), ['Retryable']],
    ['reasons', 'Seal problems', () => namedValues('session/reasons.ts', 'SealProblem'), []],
    ['reasons', 'Token problems', () => namedValues('session/reasons.ts', 'TokenProblem'), []],
    ['reasons', 'Other details', otherDetails, []],
  ];
  const entries = (page: string, heading: string) => {
    const text = read(`docs/reference/${page}.md`);
    // The page of the reasons has a title and a part of one name.
    return entriesOf(text.split(`\n## ${heading}\n`)[1]!.split(/^## /m)[0]!);
  };

  it.each(parts)('in %s.md: %s has an entry for each, and for nothing else', (page, heading, names, more) => {
    const found = entries(page, heading);
    expect(names().length).toBeGreaterThan(1);
    expect([...found.keys()].sort()).toEqual(names().sort());
    for (const entry of found.values()) {
      const labels = [...entry.matchAll(/^- \*\*([^:]+):\*\* \S/gm)].map(([, label]) => label);
      expect(labels).toEqual([...more, 'Meaning', 'Likely causes', 'What to do']);
    }
  });

  it('has words in snake_case for whatever a program compares', () => {
    const words = [
      ...['SignInFailure'].flatMap((name) => namedValues('errors.ts', name)),
      ...namedValues('events.ts', 'Misconfiguration'),
      ...['Reason', 'RejectedDetail', 'RefreshSource'].flatMap((name) => namedValues('session/reasons.ts', name)),
      ...namedValues('session/sign-in-check.ts', 'SignInCheck'),
    ];
    expect(words.length).toBeGreaterThan(80);
    expect(words.filter((word) => !/^[a-z]+(_[a-z0-9]+)*$/.test(word))).toEqual([]);
  });

  it('says which reasons are retryable', () => {
    const retryable = [...entries('reasons', 'Reasons')].filter(([, entry]) => entry.includes('**Retryable:** yes'));
    expect(retryable.map(([reason]) => reason).sort()).toEqual(
      namedValues('session/reasons.ts', 'RetryableReason').sort(),
    );
  });

  it('names the class of each code', () => {
    const checker = program.getTypeChecker();
    const union = checker.getTypeAtLocation(declarationOf('errors.ts', 'AnySessionError')) as ts.UnionType;
    const classes = union.types.flatMap((type) => {
      const code = checker.getTypeOfSymbol(type.getProperty('code')!);
      return valuesOf(code).map((each) => [each, type.symbol.name] as const);
    });
    const named = [...entries('errors', 'Codes')].map(
      ([code, entry]) => [code, /\*\*Class:\*\* `(\w+)`/.exec(entry)?.[1]] as const,
    );
    expect(Object.fromEntries(named)).toEqual(Object.fromEntries(classes));
  });
});

describe('every page', () => {
  /** A heading's fragment, as GitHub makes it. */
  const fragmentOf = (heading: string) =>
    heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-');
  const prose = (page: string) => read(page).replaceAll(/^(?:> )?```[\s\S]*?^(?:> )?```$/gm, '');
  const fragments = (page: string) =>
    [...prose(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => fragmentOf(heading!));

  it.each(pages)('%s links to what is there', (page) => {
    const targets = [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
    const broken = targets.filter((target) => {
      const own = target.startsWith(onGitHub)
        ? /^(?:blob|tree)\/main\/(.*)$/.exec(target.slice(onGitHub.length))?.[1]
        : target;
      // Another site, or a page of GitHub's own, such as its form for vulnerabilities.
      if (own === undefined || /^[a-z]+:/.test(own)) return false;
      const [relative = '', fragment] = own.split('#');
      const base = target === own ? path.dirname(page) : '';
      const file = relative === '' ? page : path.normalize(path.join(base, relative));
      if (!existsSync(path.join(repository, file))) return true;
      return fragment !== undefined && !fragments(file).includes(fragment);
    });
    expect(broken).toEqual([]);
  });

  // Wider ones scroll sideways on a phone, and hide their last column.
  it.each(pages.filter((page) => /^(README|docs\/(guide|reference)\/)/.test(page)))(
    '%s has no table wider than 100 characters',
    (page) => {
      expect(
        prose(page)
          .split('\n')
          .filter((line) => line.startsWith('|') && line.length > 100),
      ).toEqual([]);
    },
  );

  it('is listed in docs/README.md', () => {
    const listed = [...read('docs/README.md').matchAll(/\]\(([^)#]+)/g)].map(([, target]) => `docs/${target!}`);
    const others = pages.filter(
      (page) => page.startsWith('docs/') && !page.startsWith('docs/decisions/') && page !== 'docs/README.md',
    );
    expect(others.filter((page) => !listed.includes(page))).toEqual([]);
  });
});

describe('README.md', () => {
  it('has at most 8,192 bytes', () => {
    expect(Buffer.byteLength(read('README.md'))).toBeLessThanOrEqual(8_192);
  });

  it('links by full addresses: npm shows it without the files around it', () => {
    const targets = [...read('README.md').matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
    expect(targets.length).toBeGreaterThan(5);
    expect(targets.filter((target) => !target.startsWith('https://') && !target.startsWith('#'))).toEqual([]);
  });
});

describe('docs/guide/security.md', () => {
  it('names specs that are there', () => {
    const named = [...read('docs/guide/security.md').matchAll(/`(spec\/[^`]+)`/g)].map(([, file = '']) => file);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((file) => !existsSync(path.join(repository, file)))).toEqual([]);
  });
});
